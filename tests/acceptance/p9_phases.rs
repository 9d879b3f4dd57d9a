//! What P9 does to the actors, and what it sees of them.
//!
//! Owns: the list of actors as `GET /admin/actors` tells it, the faults, and the times from a
//! fault to the next incarnation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::Value;

use crate::support::gateway::Running;
use crate::support::http::Connection;

/// Longest wait for an actor to come back after a single fault.
const PATIENCE: Duration = Duration::from_secs(5);

/// All actors of one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Actors {
    /// How many there are of the name.
    pub(crate) instances: u64,
    /// Restarts of all of them.
    pub(crate) restarts: u64,
    /// Those that take letters.
    pub(crate) running: u64,
}

/// The admin's side of a gateway.
pub(crate) struct Operator {
    connection: Connection,
}

impl Operator {
    /// Of this gateway.
    pub(crate) fn of(gateway: &Running) -> Self {
        Self { connection: gateway.admin() }
    }

    /// Every actor by name.
    pub(crate) fn actors(&mut self) -> BTreeMap<String, Actors> {
        let answer = self.connection.get("/admin/actors").expect("the admin is answered");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let envelope = answer.json();
        let data = &envelope["data"];
        let listed = data.as_array().or_else(|| data["actors"].as_array());
        let mut actors: BTreeMap<String, Actors> = BTreeMap::new();
        for status in listed.expect("a list of actors") {
            let name = status["name"].as_str().expect("an actor has a name").to_owned();
            count(actors.entry(name).or_default(), status);
        }
        actors
    }

    /// Puts a fault into every actor of this name.
    pub(crate) fn strike(&mut self, actor: &str, fault: &str) {
        let path = format!("/admin/chaos/actors/{actor}/{fault}");
        let answer = self.connection.post(&path).expect("the admin is answered");
        assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    }

    /// Puts a fault into every actor of this name and waits for all of them to be back.
    pub(crate) fn strike_and_time(&mut self, actor: &str, fault: &str) -> Duration {
        let before = self.actors().get(actor).copied().unwrap_or_default();
        let struck = monotonic();
        self.strike(actor, fault);
        let wanted = before.restarts + before.instances;
        while monotonic() < struck + PATIENCE {
            let now = self.actors().get(actor).copied().unwrap_or_default();
            if now.restarts >= wanted && now.running == now.instances {
                return monotonic() - struck;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        panic!("{actor} was not back within {PATIENCE:?} of {fault}");
    }

    /// The time until every actor runs, at most until `deadline`; `None` when one does not.
    pub(crate) fn all_running(&mut self, since: Instant, deadline: Instant) -> Option<Duration> {
        while monotonic() < deadline {
            if self.actors().values().all(|actors| actors.running == actors.instances) {
                return Some(monotonic() - since);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

/// Adds one entry of the list, which stands for one actor or for all of a name.
fn count(actors: &mut Actors, status: &Value) {
    if let Some(instances) = status["instances"].as_array() {
        instances.iter().for_each(|instance| count(actors, instance));
        return;
    }
    actors.instances += 1;
    actors.restarts += status["restarts"].as_u64().expect("an actor counts its restarts");
    actors.running += u64::from(status["state"] == "running");
}
