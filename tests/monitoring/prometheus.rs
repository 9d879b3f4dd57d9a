//! A real Prometheus of a test's own, with the rules of `monitoring/`, scraping every half second.
//!
//! Owns: its process, its files in a temporary folder, and its query interface. A query that Prometheus does
//! not understand fails the test.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::http::Connection;
use crate::support::process::{Process, wait_until};
use crate::support::redis::free_address;

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("monitoring")
}

/// Whether Prometheus is here; says so when it is not.
pub(crate) fn is_installed() -> bool {
    let is_here = |program| Command::new(program).arg("--version").output().is_ok();
    let all = is_here("prometheus") && is_here("promtool");
    if !all {
        eprintln!("LEFT OUT: prometheus is not installed (Debian's package `prometheus` has it)");
    }
    all
}

pub(crate) struct Prometheus {
    process: Process,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    pub(crate) fn scraping(gateway: SocketAddr) -> Self {
        let (own, address) = (tempfile::tempdir().unwrap(), free_address());
        let rules = folder().join("prometheus/rules/breakwater.yml");
        let config = format!(
            "global: {{scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs: [{{job_name: breakwater, static_configs: [{{targets: [\"{gateway}\"]}}]}}]\n"
        );
        let file = own.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", own.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::start("prometheus", &mut command, &own.path().join("log"));
        let this = Self { process, address, _folder: own };
        wait_until("prometheus is ready", Duration::from_secs(60), || {
            this.connection().get("/-/ready").is_ok_and(|answer| answer.status == 200)
        });
        this
    }

    /// Every rule as Prometheus loaded it.
    pub(crate) fn rules(&self) -> Vec<Value> {
        let groups = self.ask("/api/v1/rules");
        let groups = groups["groups"].as_array().unwrap().iter();
        groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }

    /// The series that answer `expression`: their labels, the name among them as `__name__`.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let form: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let result = self.ask(&format!("/api/v1/query?query={form}"));
        let series = result["result"].as_array().unwrap_or_else(|| panic!("{expression}"));
        series.iter().map(|one| one["metric"].clone()).collect()
    }

    fn ask(&self, path: &str) -> Value {
        let answer = self.connection().get(path).unwrap().json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    fn connection(&self) -> Connection {
        Connection::to(self.address)
    }

    pub(crate) fn stop(self) {
        self.process.terminate();
    }
}
