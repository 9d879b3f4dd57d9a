//! A gateway that has met every fault: the scene that alerts and dashboards look at.
//!
//! Owns: simulator, Redis, Postgres and gateway as processes, and the order in which they suffer.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::{Plan, Running, simulate};
use crate::support::http::Connection;
use crate::support::postgres::Postgres;
use crate::support::process::wait_until;
use crate::support::redis::Redis;

const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Scene {
    pub(crate) gateway: Running,
    simulator: Running,
    redis: Redis,
    database: Postgres,
    _folder: TempDir,
}

impl Scene {
    pub(crate) fn start() -> Self {
        let (folder, redis) = (tempfile::tempdir().unwrap(), Redis::start());
        let simulator = simulate(folder.path(), None);
        let plan = Plan::in_folder(folder.path()).before(simulator.address);
        let database = Postgres::start();
        // One that is not there.
        let replica = "postgres://breakwater@127.0.0.1:1/gateway";
        let gateway = plan
            .with("REDIS_URL", redis.url())
            .with("DATABASE_URL", database.url())
            .with("DATABASE_REPLICA_URLS", replica)
            .with("UPSTREAM_DAILY_BUDGET", "5000")
            .with("BREAKER_FAILURES", "2")
            .with("CACHE_TTL_SEARCH", "1")
            .with("CHAOS_ENABLED", "true")
            .with("RATE_LIMIT_ENABLED", "true")
            .with("RATE_LIMIT_SEARCH_PER_MINUTE", "0")
            .with("ABUSE_DETECTION", "shadow")
            .start();
        Self { gateway, simulator, redis, database, _folder: folder }
    }

    /// Traffic of every kind, then each fault, so that every family has something to show.
    pub(crate) fn suffer(&self) {
        let mut client = self.gateway.connection();
        let known = "/api/products/search?keywords=lamp";
        assert_eq!(client.get(known).unwrap().status, 200);
        assert_eq!(client.get(known).unwrap().status, 200);
        wait_until("a limit refuses", SOON, || {
            client.get("/api/products/details/1").unwrap().status == 429
        });
        let panicked = self.gateway.admin().post("/admin/chaos/actors/metrics/panic").unwrap();
        assert!(panicked.status < 300, "{}", panicked.text());
        self.upstream(&json!([{"method": "*", "fault": "status", "status": 503}]));
        wait_until("a stale answer", SOON, || {
            client.get(known).unwrap().json()["metadata"]["stale"] == true
        });
        let mut number = 0;
        wait_until("the breaker opens", SOON, || {
            number += 1;
            let unknown = format!("/api/products/search?keywords=lamp&page_no={number}");
            client.get(&unknown).unwrap().json()["code"] == "circuit_open"
        });
        self.redis.process().signal("STOP");
        wait_until("the breaker of Redis opens", SOON, || {
            let metrics = client.get("/metrics").unwrap().text();
            metrics.contains("cache_circuit_breaker_state{cache_type=\"redis\"} 1")
        });
        assert_eq!(client.get(known).unwrap().status, 200);
    }

    fn upstream(&self, rules: &Value) {
        let mut connection =
            Connection::to(self.simulator.address).with_header("content-type", "application/json");
        let body = rules.to_string();
        let answer = connection.send("PUT", "/__simulator/faults", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) fn stop(self) {
        self.redis.process().signal("CONT");
        self.gateway.stop();
        self.simulator.stop();
        self.redis.stop();
        self.database.stop();
    }
}
