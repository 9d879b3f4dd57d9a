//! What answers say about a Redis, and for how long.

use super::*;
use crate::resilience::breaker::Settings;
use std::sync::Arc;
use std::time::Duration;

const EFFECTS: [Effect; 5] =
    [Effect::Reads, Effect::Drops, Effect::Adds, Effect::Claims, Effect::Probes];

fn standing() -> Standing {
    let settings = Settings::new(3, Duration::from_secs(1));
    Standing::new(Breaker::new("redis", settings, Arc::new(|_| {})))
}

fn failed(code: &str) -> Result<(), Fault> {
    Err(Fault::of(code, "told"))
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
fn a_command_redis_is_too_old_for_is_refused_and_no_failure() {
    let told = Fault::of("ERR", "unknown command 'XADD', with args beginning with: 'x'");
    assert!(matches!(told, Fault::Refused(_)), "{told:?}");
}

#[test]
fn refused_writes_are_remembered_until_one_is_taken() {
    let standing = standing();
    for code in NO_WRITES {
        for effect in [Effect::Drops, Effect::Adds, Effect::Probes] {
            standing.learn(&failed(code), effect);
            assert!(standing.refuses_writes(), "{code}");
            // None of these shows that anything can be added again.
            standing.learn(&Ok(()), Effect::Reads);
            standing.learn(&Ok(()), Effect::Drops);
            standing.learn::<()>(&Err(Fault::TooLate), Effect::Adds);
            standing.learn(&failed("WRONGTYPE"), Effect::Adds);
            assert!(standing.refuses_writes(), "{code}");
            standing.learn(&Ok(()), Effect::Adds);
            assert!(!standing.refuses_writes());
        }
    }
}

#[test]
fn entries_are_read_for_a_moment_after_the_journal_was() {
    let now = clock::monotonic();
    assert!(standing().is_heard(now), "nobody reads a journal");
    let standing = standing().read_once_heard();
    assert!(!standing.is_heard(now));
    standing.heard(now);
    // One that began earlier and ended later says nothing of what came between.
    standing.heard(now.checked_sub(HEARD_FOR).unwrap_or(now));
    assert!(standing.is_heard(now + HEARD_FOR / 2));
    assert!(!standing.is_heard(now + HEARD_FOR));
    standing.heard(now + HEARD_FOR);
    assert!(standing.is_heard(now + HEARD_FOR));
}

#[test]
fn a_refused_read_or_a_failed_write_is_no_refused_write() {
    let standing = standing();
    standing.learn(&failed("NOPERM"), Effect::Reads);
    standing.learn(&failed("LOADING"), Effect::Adds);
    assert!(!standing.refuses_writes());
}
