//! What P8 finds and what it starts: keys of each kind, and a gateway for each state of SQL.
//!
//! Owns: which key stands for what, the earlier process that left some of them behind memory, and
//! the lock or the impossible place that keeps SQL in its state.

use std::path::Path;
use std::time::Duration;

use diesel::connection::SimpleConnection;

use crate::fixture::page;
use crate::stored::{FILE, connect};
use crate::support::gateway::{Plan, Running};
use crate::support::redis::Redis;
use crate::survey::{ask_all, assert_all_good};
use crate::truth_table::State;

/// Keys of each kind in each case.
pub(crate) const EACH: u32 = 2;
/// Cases of one state of SQL.
pub(crate) const CASES: u32 = 9;

/// An earlier process leaves every key behind memory in Redis and SQL. What a busy machine made too
/// late for Redis is asked for anew.
pub(crate) fn seed(plan: &Plan, redis: &Redis) {
    let behind: Vec<String> = (0..3 * CASES * EACH).map(behind_memory).collect();
    let earlier = plan.start();
    for _ in 0..10 {
        assert_all_good("an earlier process", &ask_all(earlier.address, &behind));
        std::thread::sleep(Duration::from_millis(200));
        let held = String::from_utf8(redis.command(&[b"KEYS", b"breakwater:*:products:*"]));
        if held.expect("a text").matches("breakwater:").count() == behind.len() {
            return earlier.stop();
        }
        let cleared = earlier.admin().post("/api/cache/clear").expect("the admin is answered");
        assert_eq!(cleared.status, 200, "{}", cleared.text());
    }
    panic!("redis never held every key");
}

/// A gateway whose database is in this state; what is returned beside it keeps it so.
pub(crate) fn start(plan: &Plan, folder: &Path, sql: State) -> (Running, Option<impl Sized>) {
    // What the process before knew of the upstream is no part of the case.
    let forget = "DELETE FROM kept_state";
    connect(&folder.join(FILE)).batch_execute(forget).expect("the guards are forgotten");
    match sql {
        State::Up => (plan.start(), None),
        State::Slow => {
            let gateway = plan.start();
            let mut lock = connect(&folder.join(FILE));
            lock.batch_execute("BEGIN EXCLUSIVE").expect("the lock is to be had");
            (gateway, Some(lock))
        }
        State::Down => {
            let nowhere = folder.join(FILE).join("gateway.db");
            let nowhere = format!("sqlite://{}", nowhere.display());
            (plan.clone().with("DATABASE_URL", nowhere).start(), None)
        }
    }
}

/// The place of a state among the states.
pub(crate) fn number_of(state: State) -> u32 {
    State::ALL.iter().zip(0..).find(|(known, _)| **known == state).map_or(0, |(_, place)| place)
}

/// Left by the earlier process.
pub(crate) fn behind_memory(number: u32) -> String {
    page(80, number)
}

/// Of the kind with a short fresh time.
pub(crate) fn hot(number: u32) -> String {
    page(81, number).replace("/search?", "/hot?")
}
