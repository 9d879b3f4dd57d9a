//! The state of a credential over restarts.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock;
use crate::origin::Priority;
use crate::origin::pacing::{self, Pacing, Rate};
use crate::resilience::breaker::{Breaker, State};

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const ID: &str = "1a2b3c4d";

fn breaker() -> Breaker {
    let settings = breaker::Settings {
        failure_rate: 1.0,
        ..breaker::Settings::new(3, Duration::from_secs(30))
    };
    Breaker::new("test", settings, Arc::new(|_| {}))
}

fn pacing() -> Pacing {
    Pacing::new(pacing::Settings {
        rate: Some(Rate { per_second: 5.0, burst: 3 }),
        daily_budget: Some(100),
        max_queue: 4,
        ..pacing::Settings::default()
    })
}

/// After some calls, of which the last three failed, and a ban.
fn troubled(now: Instant) -> (Breaker, Pacing) {
    let (breaker, pacing) = (breaker(), pacing());
    for healthy in [true, false, false, false] {
        breaker.admit(now).unwrap().record(Some(healthy), now);
    }
    for _ in 0..3 {
        pacing.book(Priority::Client, None, now, WALL, now).unwrap().start(now).unwrap();
    }
    pacing.ban(now, Duration::from_secs(90));
    (breaker, pacing)
}

fn persisted(breaker: &Breaker, pacing: &Pacing, now: Instant, wall: Timestamp) -> Persisted {
    let (breaker, pacing) = (breaker.persist(now, wall), pacing.status(now, wall));
    Persisted { accounts: vec![Saved { id: ID.to_owned(), saved_at: wall, breaker, pacing }] }
}

#[test]
fn breaker_budget_and_ban_are_as_before() {
    let now = clock::monotonic();
    let (breaker_before, pacing_before) = troubled(now);
    let saved = persisted(&breaker_before, &pacing_before, now, WALL);
    // The next process starts five seconds later, by a clock of its own.
    let wall = WALL.plus(Duration::from_secs(5));
    let now = now + Duration::from_secs(1_000_000);
    let read = Persisted::from_json(&saved.to_json(), wall).unwrap();
    assert_eq!(read, saved);
    let (breaker, pacing) = (breaker(), pacing());
    breaker.restore(&read.accounts[0].breaker, now, wall);
    pacing.restore(&read.accounts[0].pacing, now, wall);
    let again = persisted(&breaker, &pacing, now, wall);
    assert_eq!(Saved { saved_at: WALL, ..again.accounts[0].clone() }, saved.accounts[0]);
    assert!(breaker.admit(now).is_err());
    for priority in [Priority::Client, Priority::Refresh] {
        let refused = pacing.book(priority, None, now, wall, now).unwrap_err();
        assert_eq!(refused.retry_after, Duration::from_secs(85));
    }
}

/// Stored by an earlier version: if this cannot be read any more, that is for a reason.
const STORED: &str = r#"{"v":2,"accounts":[{"id":"1a2b3c4d","saved_at":1700000000000,"breaker":{"state":"open","until":1700000030000,"consecutive_failures":3,"openings":1,"ramping":true},"pacing":{"budget_remaining":97,"spent_today":3,"day":19675,"queue":0,"banned_until":1700000090000}}]}"#;

fn changed(pointer: &str, value: Value) -> Option<Persisted> {
    let mut stored: Value = serde_json::from_str(STORED).unwrap();
    *stored.pointer_mut(pointer).unwrap() = value;
    Persisted::from_json(&stored.to_string(), WALL)
}

#[test]
fn what_an_earlier_version_stored_is_read() {
    let read = Persisted::from_json(STORED, WALL).unwrap();
    let saved = &read.accounts[0];
    assert_eq!((saved.breaker.state, saved.pacing.spent_today), (State::Open, 3));
    let tolerated = changed("/accounts/0/pacing", json!({"news": 1})).unwrap();
    assert_eq!(tolerated.accounts[0].pacing.spent_today, 0);
}

#[test]
fn what_is_not_that_or_too_old_is_nothing() {
    for (pointer, value) in [
        ("/accounts/0/saved_at", json!("now")),
        ("/accounts", json!({})),
        ("/accounts/0/id", json!(7)),
        ("/accounts/0/breaker/state", json!("ajar")),
        ("/accounts/0/breaker", json!(null)),
        ("/accounts/0/pacing/spent_today", json!(-1)),
    ] {
        assert_eq!(changed(pointer, value), None, "{pointer}");
    }
    for text in ["", "null", "[]", "{}", "\u{0}", &STORED[..100]] {
        assert_eq!(Persisted::from_json(text, WALL), None, "{text:?}");
    }
    let read_at = |wall| Persisted::from_json(STORED, wall).is_some();
    let day = LONGEST + Duration::from_millis(1);
    assert!(read_at(WALL.plus(LONGEST)) && read_at(WALL.minus(LONGEST)));
    assert!(!read_at(WALL.plus(day)) && !read_at(WALL.minus(day)));
}

#[test]
fn it_changes_when_anything_happens_and_not_with_time() {
    let now = clock::monotonic();
    let (breaker, pacing) = troubled(now);
    let first = persisted(&breaker, &pacing, now, WALL);
    let changed = |after: Duration, set: Duration| {
        let (now, wall) = (now + after, WALL.plus(after).plus(set));
        persisted(&breaker, &pacing, now, wall).changed_since(&first)
    };
    assert!(!changed(Duration::ZERO, Duration::ZERO));
    assert!(!changed(Duration::from_millis(7_003), Duration::ZERO));
    assert!(changed(Duration::from_secs(1), Duration::from_secs(1)), "the wall clock was set");
    assert!(changed(Duration::from_secs(90), Duration::ZERO), "the ban is over");
    pacing.ban(now, Duration::from_secs(100));
    assert!(changed(Duration::ZERO, Duration::ZERO));
    let saved = first.accounts[0].clone();
    let (breaker, pacing) = (saved.breaker, saved.pacing);
    for change in [
        Saved { breaker: breaker::Persisted { openings: 9, ..breaker }, ..saved.clone() },
        Saved { breaker: breaker::Persisted { slow_start: true, ..breaker }, ..saved.clone() },
        Saved { pacing: PacingStatus { spent_today: 9, ..pacing }, ..saved.clone() },
        Saved { id: "another".to_owned(), ..saved.clone() },
    ] {
        assert!(Persisted { accounts: vec![change.clone()] }.changed_since(&first));
        assert!(Persisted { accounts: vec![saved.clone(), change] }.changed_since(&first));
    }
}

proptest! {
    #[test]
    fn whatever_was_stored_leaves_a_service_that_works(
        text in ".{0,64}", at in 0..STORED.len(), byte in 0_u8..128, wall in any::<i64>()
    ) {
        prop_assert_eq!(Persisted::from_json(&text, WALL), None);
        let mut stored = STORED.as_bytes().to_vec();
        stored[at] = byte;
        let stored = String::from_utf8(stored).unwrap();
        if let Some(read) = Persisted::from_json(&stored, WALL) {
            let (now, wall) = (clock::monotonic(), Timestamp::from_millis(wall));
            let (breaker, pacing) = (breaker(), pacing());
            for saved in &read.accounts {
                breaker.restore(&saved.breaker, now, wall);
                pacing.restore(&saved.pacing, now, wall);
            }
            let later = now + LONGEST;
            prop_assert!(breaker.admit(later).is_ok());
            prop_assert_eq!(pacing.status(later, wall).banned_until, None);
        }
    }
}
