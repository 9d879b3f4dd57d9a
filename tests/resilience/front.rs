//! A gateway whose tiers are about to break.
//!
//! Owns: the process, asking it for what no tier holds, and reading what it says of itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use breakwater::clock;
use serde_json::Value;

use crate::support::gateway::{Plan, Running};
use crate::support::http::Connection;

/// Longest a single request may ever take while a tier is broken.
const BOUND: Duration = Duration::from_secs(2);
/// Longest until what broke or healed is noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(15);

/// What one request answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The tier that answered.
    pub(crate) tier: String,
    /// What is missing.
    pub(crate) degraded: Vec<String>,
    /// How long the answer took.
    pub(crate) took: Duration,
}

impl Answer {
    /// Whether this is missing.
    pub(crate) fn misses(&self, what: &str) -> bool {
        self.degraded.iter().any(|degraded| degraded == what)
    }
}

/// A running gateway.
pub(crate) struct Front {
    gateway: Option<Running>,
    connection: Connection,
    asked: u32,
    log: PathBuf,
}

impl Drop for Front {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = std::fs::read_to_string(&self.log)
        {
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("the gateway's last lines, newest first:\n{}", lines.join("\n"));
        }
    }
}

impl Front {
    /// A gateway with its database in `folder`, and Redis at `redis` if there is one.
    pub(crate) fn start(folder: &Path, redis: Option<&str>) -> Self {
        let plan = Plan::in_folder(folder).with("HTTP_WORKERS", "2");
        let plan = match redis {
            Some(url) => plan.with("REDIS_URL", url),
            None => plan,
        };
        Self::start_as(&plan, folder)
    }

    /// A gateway by this plan, which was made for `folder`.
    pub(crate) fn start_as(plan: &Plan, folder: &Path) -> Self {
        let gateway = plan.start();
        let connection = gateway.connection();
        Self { gateway: Some(gateway), connection, asked: 0, log: folder.join("gateway.log") }
    }

    /// Asks for one page, the same for the same number; it must be answered with 200 and in time.
    pub(crate) fn ask(&mut self, number: u32) -> Answer {
        let started = clock::monotonic();
        let path = format!("/api/products/search?keywords=phone&max_sale_price={}", 900 + number);
        let answer = self.connection.get(&path).expect("the gateway answers");
        let took = clock::monotonic() - started;
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(body["success"], true, "{body}");
        assert!(took < BOUND, "answered only after {took:?}");
        let metadata = &body["metadata"];
        let words = |list: &Value| -> Vec<String> {
            let list = list.as_array().expect("a list");
            list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
        };
        Answer {
            tier: metadata["cache_tier"].as_str().expect("a tier").to_owned(),
            degraded: words(&metadata["degraded"]),
            took,
        }
    }

    /// Asks for a page nobody asked for before.
    pub(crate) fn ask_anew(&mut self) -> Answer {
        self.asked += 1;
        self.ask(10_000 + self.asked)
    }

    /// Asks for new pages until they are answer to miss `what`, or no longer.
    pub(crate) fn until_misses(&mut self, what: &str, missing: bool) -> u32 {
        let deadline = patience();
        let mut asked = 1;
        while self.ask_anew().misses(what) != missing {
            assert!(clock::monotonic() < deadline, "{what}: missing is not {missing} in the end");
            asked += 1;
            // Asking all the time would keep other tests from the processor.
            std::thread::sleep(Duration::from_millis(10));
        }
        asked
    }

    /// What `/health/detailed` says of a component. A tier that is down is no reason for another
    /// status than 200; actors that a busy machine holds up are.
    pub(crate) fn health_of(&mut self, component: &str) -> String {
        let answer = self.connection.get("/health/detailed").expect("the gateway answers");
        let body = answer.json();
        let components = body["data"]["components"].as_array().expect("components").clone();
        let status_of = |name: &str| {
            let found = components.iter().find(|found| found["name"] == name);
            found.expect("it is named")["status"].as_str().expect("a word").to_owned()
        };
        assert!(answer.status == 200 || status_of("actors") == "unhealthy", "{body}");
        status_of(component)
    }

    /// Waits until `/health/detailed` says this of a component, asking for nothing else.
    pub(crate) fn until_health(&mut self, component: &str, status: &str) {
        let deadline = patience();
        loop {
            let said = self.health_of(component);
            if said == status {
                return;
            }
            assert!(clock::monotonic() < deadline, "{component} stays {said}, not {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The sum of a metric's lines that begin so.
    pub(crate) fn metric(&mut self, series: &str) -> f64 {
        let text = self.connection.get("/metrics").expect("the gateway answers").text();
        let lines = text.lines().filter(|line| line.starts_with(series));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// `POST` as an admin.
    pub(crate) fn admin(&self, path: &str) -> Value {
        let gateway = self.gateway.as_ref().expect("it runs");
        let answer = gateway.admin().post(path).expect("the gateway answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Ends it; it must end well.
    pub(crate) fn stop(mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop();
        }
    }
}

fn patience() -> Instant {
    clock::monotonic() + NOTICED_WITHIN
}

/// The middle of what requests took: one that met a busy machine does not count.
pub(crate) fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}
