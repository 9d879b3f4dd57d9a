//! The state of a credential over restarts.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock;
use crate::origin::Priority;
use crate::origin::pacing::{Pacing, Rate};
use crate::resilience::breaker::{Breaker, State};

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);

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
        pacing.reserve(now, WALL, now).unwrap().start(now, WALL).unwrap();
    }
    pacing.ban(now, Duration::from_secs(90));
    (breaker, pacing)
}

const ID: &str = "1a2b3c4d";

fn remember(breaker: &Breaker, pacing: &Pacing, now: Instant, wall: Timestamp) -> Remembered {
    let (breaker, pacing) = (breaker.persist(now, wall), pacing.snapshot(now, wall));
    Remembered { accounts: vec![Kept { id: ID.to_owned(), saved_at: wall, breaker, pacing }] }
}

/// The one account of it.
fn only(remembered: &Remembered) -> &Kept {
    remembered.of(ID, true).unwrap()
}

fn saved() -> Remembered {
    let now = clock::monotonic();
    let (breaker, pacing) = troubled(now);
    remember(&breaker, &pacing, now, WALL)
}

#[test]
fn breaker_budget_and_ban_are_as_before() {
    let saved = saved();
    let text = saved.to_json();
    // The next process starts five seconds later, by a clock of its own.
    let wall = WALL.plus(Duration::from_secs(5));
    let now = clock::monotonic() + Duration::from_secs(1_000_000);
    let read = Remembered::from_json(&text, wall).unwrap();
    assert_eq!(read, saved);
    let (breaker, pacing) = (breaker(), pacing());
    breaker.restore(&only(&read).breaker, now, wall);
    pacing.restore(&only(&read).pacing, now, wall);
    let kept = Kept { saved_at: WALL, ..only(&remember(&breaker, &pacing, now, wall)).clone() };
    assert_eq!(kept, *only(&saved));
    assert!(breaker.admit(now).is_err());
    let refused = pacing.reserve(now, wall, now).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(85));
    assert!(pacing.reserve_spare(Priority::Refresh, now, wall).is_err());
}

/// Stored by a version that knew of one account.
const STORED_ONE: &str = r#"{"v":1,"saved_at":1700000000000,"breaker":{"state":"open","until":1700000030000,"consecutive_failures":3,"openings":1},"pacing":{"budget_remaining":97,"spent_today":3,"day":19675,"queue":0,"banned_until":1700000090000}}"#;

/// Stored by this version: if this cannot be read any more, that is for a reason.
const STORED: &str = r#"{"v":2,"accounts":[{"id":"1a2b3c4d","saved_at":1700000000000,"breaker":{"state":"open","until":1700000030000,"consecutive_failures":3,"openings":1},"pacing":{"budget_remaining":97,"spent_today":3,"day":19675,"queue":0,"banned_until":1700000090000}}]}"#;

#[test]
fn the_stored_form_is_known() {
    let read = Remembered::from_json(STORED, WALL).unwrap();
    assert_eq!((only(&read).breaker.state, only(&read).pacing.spent_today), (State::Open, 3));
    assert_eq!(read.to_json(), STORED);
}

#[test]
fn what_was_kept_of_one_account_is_the_first_ones() {
    let read = Remembered::from_json(STORED_ONE, WALL).unwrap();
    let now = Remembered::from_json(STORED, WALL).unwrap();
    let kept = Kept { id: ID.to_owned(), ..read.of("another", true).unwrap().clone() };
    assert_eq!(kept, *only(&now));
    assert_eq!(read.of("another", false), None);
}

#[test]
fn what_was_kept_of_another_key_is_nobodys() {
    let read = Remembered::from_json(STORED, WALL).unwrap();
    assert_eq!(read.of("another", true), None);
    assert_eq!(read.of(ID, false), Some(only(&read)));
}

#[test]
fn what_is_not_that_or_too_old_is_nothing() {
    let changed = |pointer: &str, value: Value| {
        let mut stored: Value = serde_json::from_str(STORED).unwrap();
        *stored.pointer_mut(pointer).unwrap() = value;
        Remembered::from_json(&stored.to_string(), WALL)
    };
    assert!(changed("/accounts/0/pacing/day", json!(1)).is_some());
    for (pointer, value) in [
        ("/v", json!(3)),
        ("/accounts/0/saved_at", json!("now")),
        ("/accounts", json!({})),
        ("/accounts/0/id", json!(7)),
        ("/accounts/0/breaker/state", json!("ajar")),
        ("/accounts/0/breaker", json!(null)),
        ("/accounts/0/pacing/spent_today", json!(-1)),
        ("/accounts/0/pacing", json!({})),
    ] {
        assert_eq!(changed(pointer, value), None, "{pointer}");
    }
    for text in ["", "null", "[]", "{}", "\u{0}", &STORED[..100]] {
        assert_eq!(Remembered::from_json(text, WALL), None, "{text:?}");
    }
    let read_at = |wall| Remembered::from_json(STORED, wall).is_some();
    let day = LONGEST + Duration::from_millis(1);
    assert!(read_at(WALL.plus(LONGEST)) && read_at(WALL.minus(LONGEST)));
    assert!(!read_at(WALL.plus(day)) && !read_at(WALL.minus(day)));
}

/// What one has spent is spent, also when it was taken out for a while.
#[test]
fn an_account_that_is_put_back_is_remembered_for_a_day() {
    let before = saved();
    let other = Kept { id: "another".to_owned(), ..only(&before).clone() };
    let of_other = |wall| Remembered { accounts: vec![Kept { saved_at: wall, ..other.clone() }] };
    let kept = of_other(WALL).with_former(Some(&before), WALL);
    assert_eq!(kept.of(ID, false), Some(only(&before)));
    assert!(!of_other(WALL).with_former(Some(&kept), WALL).changed_since(&kept));
    let text = kept.to_json();
    assert_eq!(Remembered::from_json(&text, WALL), Some(kept.clone()));
    let day = WALL.plus(LONGEST + Duration::from_millis(1));
    assert_eq!(of_other(day).with_former(Some(&kept), day).of(ID, false), None);
    let many = (0_u8..50).fold(kept, |kept, number| {
        let one = Kept { id: number.to_string(), ..other.clone() };
        Remembered { accounts: vec![one] }.with_former(Some(&kept), WALL)
    });
    assert_eq!(many.accounts.len(), 1 + FORMER);
}

#[test]
fn it_changes_when_anything_happens_and_not_with_time() {
    let now = clock::monotonic();
    let (breaker, pacing) = troubled(now);
    let first = remember(&breaker, &pacing, now, WALL);
    let changed = |after: Duration, noise: Duration| {
        let (now, wall) = (now + after, WALL.plus(after).plus(noise));
        remember(&breaker, &pacing, now, wall).changed_since(&first)
    };
    assert!(!changed(Duration::ZERO, Duration::ZERO));
    assert!(!changed(Duration::from_millis(7_003), Duration::from_millis(2)));
    assert!(changed(Duration::from_secs(1), Duration::from_secs(1)), "the wall clock was set");
    assert!(changed(Duration::from_secs(90), Duration::ZERO), "the ban is over");
    pacing.ban(now, Duration::from_secs(100));
    assert!(changed(Duration::ZERO, Duration::ZERO));
    let kept = only(&first).clone();
    let (breaker, pacing) = (kept.breaker, kept.pacing);
    for change in [
        Kept { breaker: breaker::Persisted { openings: 9, ..breaker }, ..kept.clone() },
        Kept { breaker: breaker::Persisted { slow_start: true, ..breaker }, ..kept.clone() },
        Kept { pacing: pacing::Snapshot { spent_today: 9, ..pacing }, ..kept.clone() },
        Kept { id: "another".to_owned(), ..kept.clone() },
    ] {
        assert!(Remembered { accounts: vec![change.clone()] }.changed_since(&first));
        assert!(Remembered { accounts: vec![kept.clone(), change] }.changed_since(&first));
    }
}

proptest! {
    #[test]
    fn whatever_was_stored_leaves_a_service_that_works(
        text in ".{0,64}", at in 0..STORED.len(), byte in 0_u8..128, wall in any::<i64>()
    ) {
        prop_assert_eq!(Remembered::from_json(&text, WALL), None);
        let mut stored = STORED.as_bytes().to_vec();
        stored[at] = byte;
        let stored = String::from_utf8(stored).unwrap();
        if let Some(read) = Remembered::from_json(&stored, WALL) {
            let now = clock::monotonic();
            let wall = Timestamp::from_millis(wall);
            let (breaker, pacing) = (breaker(), pacing());
            for kept in &read.accounts {
                breaker.restore(&kept.breaker, now, wall);
                pacing.restore(&kept.pacing, now, wall);
            }
            let later = now + LONGEST;
            prop_assert!(breaker.admit(later).is_ok());
            let ban = pacing.snapshot(later, wall).banned_until;
            prop_assert_eq!(ban, None);
        }
    }
}
