//! An upstream that fails on request, and the gateways before it.
//!
//! Owns: the folder of one test, the simulator in it and the faults put into that, the questions
//! nobody asked before, and reading a gateway's own account of its parts.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::figures::{samples, simulator_calls};
use crate::support::gateway::{Plan, Running, simulate};
use crate::support::http::Connection;

/// A simulator and a folder.
pub(crate) struct Fixture {
    folder: TempDir,
    simulator: Running,
}

impl Fixture {
    /// A simulator without faults.
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let simulator = simulate(folder.path(), crate::catalogue_file::named().as_deref());
        Self { folder, simulator }
    }

    /// Where files lie.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A gateway before the simulator, without limits on clients.
    pub(crate) fn plan(&self) -> Plan {
        self.plan_in(self.folder.path())
    }

    /// The same with its files in another folder.
    pub(crate) fn plan_in(&self, folder: &Path) -> Plan {
        Plan::in_folder(folder).before(self.simulator.address).with("LOG_LEVEL", "warning")
    }

    /// Every call meets this fault from now on.
    pub(crate) fn upstream(&self, fault: &Value) {
        self.put_faults(&json!([fault]));
    }

    /// No faults any more.
    pub(crate) fn upstream_recovers(&self) {
        self.put_faults(&json!([]));
    }

    fn put_faults(&self, rules: &Value) {
        let mut control =
            self.simulator.connection().with_header("content-type", "application/json");
        let rules = rules.to_string();
        let answer = control.send("PUT", "/__simulator/faults", rules.as_bytes());
        let answer = answer.expect("the simulator answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Where the simulator answers.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.simulator.address
    }

    /// A connection to the simulator.
    pub(crate) const fn control(&self) -> Connection {
        self.simulator.connection()
    }

    /// Upstream calls so far.
    pub(crate) fn calls(&self) -> u64 {
        simulator_calls(&mut self.simulator.connection())
    }

    /// Stops the simulator.
    pub(crate) fn end(self) {
        self.simulator.stop();
    }
}

/// A search that brings something; the same for the same word and number, and another otherwise.
pub(crate) fn page(series: u32, number: u32) -> String {
    let most = 1_000 + u64::from(series) * 100_000 + u64::from(number);
    format!("/api/products/search?keywords=phone&max_sale_price={most}")
}

/// The word `/health/detailed` has for a component.
pub(crate) fn health_of(gateway: &Running, component: &str) -> String {
    let answer = gateway.connection().get("/health/detailed").expect("health is answered");
    let body = answer.json();
    let components = body["data"]["components"].as_array().cloned().unwrap_or_default();
    let found = components.iter().find(|found| found["name"] == component);
    let word = found.and_then(|found| found["status"].as_str().map(str::to_owned));
    word.unwrap_or_else(|| panic!("{component} is not in {body}"))
}

/// The sum of the samples of a metric family whose labels contain this text.
pub(crate) fn metric(gateway: &Running, family: &str, labels: &str) -> f64 {
    let text = gateway.connection().get("/metrics").expect("metrics answer").text();
    let fitting = samples(&text, family).into_iter().filter(|(of, _)| of.contains(labels));
    fitting.fold(0.0, |sum, (_, value)| sum + value)
}
