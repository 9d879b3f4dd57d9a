//! Gateways that share a Redis and an upstream, each with a database of its own or on one file.
//!
//! Owns: their processes, the simulator they call, and what a test asks them. A busy machine may
//! make any command too late for Redis' time-out, which is a miss then and no fault: what must work
//! is tried a few times, and only what must never happen is asserted at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use breakwater::clock;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::{Plan, Running, simulate};
use crate::support::http::{Answer, Connection};
use crate::support::redis::Redis;

/// Longest until something that must happen has happened.
pub(crate) const WITHIN: Duration = Duration::from_secs(15);

/// The upstream: a simulator of its own.
pub(crate) struct Upstream {
    simulator: Running,
    _folder: TempDir,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { simulator: simulate(folder.path(), None), _folder: folder }
    }

    /// Every call meets these faults, and no others.
    pub(crate) fn faults(&self, rules: &Value) {
        let mut connection =
            self.simulator.connection().with_header("content-type", "application/json");
        let body = rules.to_string();
        let answer = connection.send("PUT", "/__simulator/faults", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Every call takes so much longer.
    pub(crate) fn takes(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap();
        self.faults(&json!([{"fault": "delay", "ms": ms}]));
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        let stats = self.simulator.connection().get("/__simulator/stats").unwrap().json();
        stats["calls"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
    }

    pub(crate) fn stop(self) {
        self.simulator.stop();
    }
}

/// Two gateways with one Redis and one upstream.
pub(crate) struct Pair {
    pub(crate) redis: Redis,
    pub(crate) upstream: Upstream,
    pub(crate) a: Instance,
    pub(crate) b: Instance,
}

impl Pair {
    pub(crate) fn start(settings: &[(&'static str, &str)]) -> Self {
        let (redis, upstream) = (Redis::start(), Upstream::start());
        let start = || Instance::start(&upstream, Some(&redis), settings);
        let (a, b) = (start(), start());
        Self { redis, upstream, a, b }
    }

    /// The same on one database file, through which they follow each other's changes.
    pub(crate) fn on_one_file(settings: &[(&'static str, &str)]) -> Self {
        let (redis, upstream) = (Redis::start(), Upstream::start());
        let a = Instance::start(&upstream, Some(&redis), settings);
        let b = a.neighbour(&upstream, Some(&redis), settings);
        Self { redis, upstream, a, b }
    }

    pub(crate) fn stop(self) {
        let Self { redis, upstream, a, b } = self;
        a.stop();
        b.stop();
        redis.stop();
        upstream.stop();
    }

    /// Loads at one, so that both have it in memory.
    pub(crate) fn both_have(&self, path: &str) {
        for instance in [&self.a, &self.b] {
            until("it is in memory", || instance.tier(path) == "memory");
        }
    }

    /// The upstream's calls that this work costs.
    pub(crate) fn calls_of(&self, work: impl FnOnce()) -> u64 {
        let before = self.upstream.calls();
        work();
        self.upstream.calls() - before
    }
}

/// One of several gateways.
pub(crate) struct Instance {
    gateway: Running,
    plan: Plan,
    /// Where its files lie.
    pub(crate) folder: TempDir,
}

impl Instance {
    /// A gateway that does not retry, with these settings, before this upstream; with Redis if there
    /// is one.
    pub(crate) fn start(
        upstream: &Upstream,
        redis: Option<&Redis>,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let (plan, folder) = Self::planned(upstream.simulator.address, redis, settings);
        Self { gateway: plan.start(), plan, folder }
    }

    /// The same before an upstream of the test's own.
    pub(crate) fn before(upstream: SocketAddr, settings: &[(&'static str, &str)]) -> Self {
        let (plan, folder) = Self::planned(upstream, None, settings);
        Self { gateway: plan.start(), plan, folder }
    }

    /// So many, which are started at the same moment.
    pub(crate) fn start_together<const N: usize>(
        upstream: &Upstream,
        settings: &[(&'static str, &str)],
    ) -> [Self; N] {
        let address = upstream.simulator.address;
        let planned = [(); N].map(|()| Self::planned(address, None, settings));
        std::thread::scope(|scope| {
            let starts = planned
                .map(|(plan, folder)| scope.spawn(|| Self { gateway: plan.start(), plan, folder }));
            starts.map(|start| start.join().unwrap())
        })
    }

    fn planned(
        upstream: SocketAddr,
        redis: Option<&Redis>,
        settings: &[(&'static str, &str)],
    ) -> (Plan, TempDir) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let plan = Plan::in_folder(folder.path())
            .before(upstream)
            .with("HTTP_WORKERS", "2")
            .with("RETRY_MAX_ATTEMPTS", "1")
            .with("BREAKER_FAILURES", "1000");
        let plan = redis.map_or(plan.clone(), |redis| plan.with("REDIS_URL", redis.url()));
        let plan = settings.iter().fold(plan, |plan, (name, value)| plan.with(name, *value));
        (plan, folder)
    }

    /// Another one on the same database file; to be stopped first.
    pub(crate) fn neighbour(
        &self,
        upstream: &Upstream,
        redis: Option<&Redis>,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let file = format!("sqlite://{}", self.folder.path().join("gateway.db").display());
        let settings = [settings, &[("DATABASE_URL", file.as_str())]].concat();
        Self::start(upstream, redis, &settings)
    }

    /// Ends it as an operator would and starts another on the same files, after `between`.
    pub(crate) fn restarted(self, between: impl FnOnce(&TempDir)) -> Self {
        let Self { gateway, plan, folder } = self;
        gateway.stop();
        between(&folder);
        Self { gateway: plan.start(), plan, folder }
    }

    /// Ends it as a crash would and starts another on the same files.
    pub(crate) fn crashed(self) -> Self {
        let Self { gateway, plan, folder } = self;
        gateway.process.kill();
        Self { gateway: plan.start(), plan, folder }
    }

    pub(crate) fn stop(self) {
        self.gateway.stop();
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// `GET`, whatever comes of it.
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.address(), path)
    }

    /// The metadata of a good answer.
    pub(crate) fn ask(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["metadata"].clone()
    }

    /// The tier that answers.
    pub(crate) fn tier(&self, path: &str) -> String {
        self.ask(path)["cache_tier"].as_str().expect("a tier").to_owned()
    }

    /// What an admin gets.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Value {
        let answer = self.try_admin(method, path, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"].clone()
    }

    /// The same, whatever comes of it.
    pub(crate) fn try_admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut admin = self.gateway.admin().with_header("content-type", "application/json");
        admin.send(method, path, body.as_bytes()).expect("the gateway answers")
    }

    /// Invalidates; what is told of it.
    pub(crate) fn invalidate(&self, what: &Value) -> Value {
        self.admin("POST", "/admin/cache/invalidate", &what.to_string())
    }

    /// The state of the upstream's breaker.
    pub(crate) fn breaker(&self) -> String {
        let all = self.admin("GET", "/admin/breakers", "");
        let upstream = all.as_array().unwrap().iter().find(|one| one["name"] == "upstream");
        upstream.unwrap()["state"].as_str().unwrap().to_owned()
    }

    /// The sum of a metric's lines that begin so.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(series));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// `GET` on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    Connection::to(address).get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// A search that is the same for the same number.
pub(crate) fn search(number: usize) -> String {
    format!("/api/products/search?keywords=phone&max_sale_price={}", 900 + number)
}

/// Tries until it is so; how long that took.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let started = clock::monotonic();
    let deadline: Instant = started + WITHIN;
    while !so() {
        assert!(clock::monotonic() < deadline, "{what}: not within {WITHIN:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    clock::monotonic() - started
}

/// Tries a story with one number after another, until one goes as it must on a machine that is not
/// busy.
pub(crate) fn one_of_a_few(what: &str, mut story: impl FnMut(usize) -> bool) {
    assert!((0..5).any(&mut story), "{what}: not in any of five tries");
}
