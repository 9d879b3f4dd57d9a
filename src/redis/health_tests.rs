//! What answers say about a Redis, and for how long.

use super::*;

use crate::resilience::breaker::Settings;
use std::sync::Arc;
use std::time::Duration;

const NO_WRITES: [&str; 5] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"];
const THIS_COMMAND: [&str; 2] = ["WRONGTYPE", "NOSCRIPT"];
const EFFECTS: [Effect; 5] =
    [Effect::Reads, Effect::Drops, Effect::Adds, Effect::Claims, Effect::Probes];

fn health() -> Health {
    let settings = Settings::new(3, Duration::from_secs(1));
    Health::new(Breaker::new("redis", settings, Arc::new(|_| {})))
}

fn failed(code: &str) -> Result<(), Fault> {
    Err(meaning::fault(code, "details"))
}

#[test]
fn a_refusal_says_nothing_about_health_and_a_failure_does() {
    for code in NO_WRITES.iter().chain(&THIS_COMMAND) {
        for effect in [Effect::Reads, Effect::Drops, Effect::Adds] {
            assert_eq!(Fault::health(&failed(code), effect), None, "{code}");
        }
        assert_eq!(Fault::health(&failed(code), Effect::Probes), Some(true), "{code}");
    }
    for code in ["LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "BUSY", "NOAUTH", "ERR"] {
        for effect in EFFECTS {
            assert_eq!(Fault::health(&failed(code), effect), Some(false), "{code}");
        }
    }
    assert_eq!(Fault::health::<()>(&Err(Fault::TooLate), Effect::Adds), Some(false));
    assert_eq!(Fault::health(&Ok(()), Effect::Reads), Some(true));
}

#[test]
fn what_is_not_the_fault_of_redis_says_nothing_about_health() {
    for own in [Fault::OwnDelay, Fault::NotAsked] {
        for effect in EFFECTS {
            assert_eq!(Fault::health::<()>(&Err(own.clone()), effect), None, "{own:?}");
        }
    }
}

#[test]
fn refused_writes_are_remembered_until_one_is_taken() {
    let health = health();
    for code in NO_WRITES {
        for effect in [Effect::Drops, Effect::Adds, Effect::Probes] {
            health.learn(&failed(code), effect);
            assert!(health.refuses_writes(), "{code}");
            // None of these shows that anything can be added again.
            health.learn(&Ok(()), Effect::Reads);
            health.learn(&Ok(()), Effect::Drops);
            health.learn::<()>(&Err(Fault::TooLate), Effect::Adds);
            health.learn(&failed("WRONGTYPE"), Effect::Adds);
            assert!(health.refuses_writes(), "{code}");
            health.learn(&Ok(()), Effect::Adds);
            assert!(!health.refuses_writes());
        }
    }
}

#[test]
fn a_refused_read_or_a_failed_write_is_no_refused_write() {
    let health = health();
    health.learn(&failed("NOPERM"), Effect::Reads);
    health.learn(&failed("LOADING"), Effect::Adds);
    assert!(!health.refuses_writes());
}

#[test]
fn a_connection_from_before_a_restart_leaves_no_words_and_a_probe_that_breaks_does() {
    let health = health();
    let broken = || Err::<(), _>(Fault::Broken("broken pipe".to_owned()));
    for effect in [Effect::Counts, Effect::Adds, Effect::Reads] {
        health.learn(&broken(), effect);
        assert_eq!(health.trouble(clock::monotonic()), None, "{effect:?}");
    }
    health.learn(&broken(), Effect::Probes);
    assert_eq!(health.trouble(clock::monotonic()).as_deref(), Some("broken pipe; transient"));
    health.learn(&Ok(()), Effect::Probes);
    assert_eq!(health.trouble(clock::monotonic()), None);
}

#[test]
fn a_write_that_is_taken_ends_what_a_script_met_but_not_that_scripts_are_refused() {
    let health = health();
    for (code, is_over) in
        [("READONLY", true), ("OOM", true), ("MISCONF", true), ("LOADING", true), ("NOPERM", false)]
    {
        health.learn(&failed(code), Effect::Counts);
        assert!(health.trouble(clock::monotonic()).is_some(), "{code}");
        health.learn(&Ok(()), Effect::Probes);
        assert_eq!(health.trouble(clock::monotonic()).is_none(), is_over, "{code}");
    }
}

#[test]
fn a_key_that_lies_elsewhere_is_told_for_a_while_whatever_other_keys_do() {
    let health = health();
    health.learn(&failed("MOVED"), Effect::Adds);
    for effect in EFFECTS {
        health.learn(&Ok(()), effect);
    }
    let now = clock::monotonic();
    let told = health.trouble(now).unwrap();
    assert!(told.contains("one node of a cluster"), "{told}");
    health.learn(&failed("ASK"), Effect::Reads);
    assert_eq!(health.trouble(now), Some(told), "one line in the log, not one for each slot");
    assert_eq!(health.trouble(clock::monotonic() + SLOTS_KEPT), None);
}
