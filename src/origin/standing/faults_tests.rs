//! The rule about faults of the configuration.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::faults::{Change, FIRST_PAUSE, Faults, RETURNED_AFTER, pause};
use crate::clock::{self, Timestamp};
use crate::origin::outcome::Blame;
use crate::origin::{Misconfiguration, Outcome};

const QUERY: &str = "query";
const LINKS: &str = "links";
const WALL: Timestamp = Timestamp::from_millis(7);

fn fault(what: Misconfiguration) -> Outcome<()> {
    let blame = if what == Misconfiguration::Permission {
        Blame::Capability
    } else {
        Blame::Configuration(what)
    };
    Outcome::Permanent { blame, reason: "no".to_owned() }
}

/// Asks and, if allowed, notes the outcome at the same moment.
fn call(
    faults: &mut Faults,
    method: &'static str,
    outcome: &Outcome<()>,
    now: Instant,
) -> Option<Change> {
    let lease = faults.ask(method, now).ok()?;
    Some(faults.note(method, lease, outcome, now, WALL))
}

#[test]
fn one_try_per_pause_and_pauses_double_to_their_bound() {
    let (mut faults, mut now) = (Faults::default(), clock::monotonic());
    let wrong = fault(Misconfiguration::AppKey);
    let begun = call(&mut faults, QUERY, &wrong, now);
    assert_eq!(begun.and_then(|change| change.begun), Some(Misconfiguration::AppKey));
    for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
        let due = now + Duration::from_secs(seconds);
        let refused = faults.ask(LINKS, due - Duration::from_millis(1)).unwrap_err();
        assert_eq!(refused.wait(now), due - now);
        assert_eq!(call(&mut faults, LINKS, &wrong, due), Some(Change::default()));
        assert!(faults.ask(QUERY, due).is_err(), "that was the one");
        now = due;
    }
}

#[test]
fn a_fault_of_a_method_leaves_the_others_alone() {
    let now = clock::monotonic();
    for what in [Misconfiguration::Permission, Misconfiguration::TrackingId] {
        let mut faults = Faults::default();
        call(&mut faults, QUERY, &fault(what), now);
        assert!(faults.ask(QUERY, now).is_err());
        assert_eq!(faults.ask(LINKS, now), Ok(None));
        // An answer to another method says nothing of this one.
        call(&mut faults, LINKS, &Outcome::Ok(()), now);
        assert_eq!(faults.len(), 1);
        let later = now + FIRST_PAUSE;
        let ended = call(&mut faults, QUERY, &Outcome::Empty, later).unwrap().ended;
        assert_eq!((ended, faults.is_empty()), (vec![what], true));
    }
}

#[test]
fn any_answer_of_use_ends_it_and_nothing_else_does() {
    let start = clock::monotonic();
    let rows: [(Outcome<()>, bool); 6] = [
        (Outcome::Ok(()), true),
        (Outcome::Empty, true),
        (Outcome::Throttled { wait: None, reason: String::new() }, false),
        (Outcome::Transient { reason: String::new() }, false),
        (Outcome::BadResponse { reason: String::new() }, false),
        (Outcome::Permanent { blame: Blame::Caller, reason: String::new() }, false),
    ];
    for (outcome, ends) in rows {
        let mut faults = Faults::default();
        call(&mut faults, QUERY, &fault(Misconfiguration::Signature), start);
        let change = call(&mut faults, QUERY, &outcome, start + FIRST_PAUSE).unwrap();
        assert_eq!(change.ended.is_empty(), !ends, "{outcome:?}");
        assert_eq!(faults.is_empty(), ends, "{outcome:?}");
        // The try is spent either way.
        assert_eq!(faults.ask(QUERY, start + FIRST_PAUSE).is_ok(), ends, "{outcome:?}");
    }
}

#[test]
fn calls_that_were_under_way_together_are_one_refusal() {
    let (mut faults, now) = (Faults::default(), clock::monotonic());
    let leases: Vec<_> = (0..20).map(|_| faults.ask(QUERY, now).unwrap()).collect();
    let wrong = fault(Misconfiguration::AppKey);
    let begun = leases.into_iter().map(|lease| faults.note(QUERY, lease, &wrong, now, WALL));
    assert_eq!(begun.filter(|change| change.begun.is_some()).count(), 1, "told once");
    assert!(faults.ask(QUERY, now + FIRST_PAUSE).is_ok(), "and waited for once");
}

#[test]
fn another_fault_takes_the_place_of_the_first() {
    let (mut faults, now) = (Faults::default(), clock::monotonic());
    call(&mut faults, QUERY, &fault(Misconfiguration::AppKey), now);
    // The key was put right, the secret was not.
    let later = now + FIRST_PAUSE;
    let change = call(&mut faults, QUERY, &fault(Misconfiguration::Signature), later).unwrap();
    assert_eq!(change.begun, Some(Misconfiguration::Signature));
    assert_eq!(change.ended, [Misconfiguration::AppKey]);
    // Now both are, but the method is not allowed: that was accepted with key and signature.
    let later = later + FIRST_PAUSE;
    let change = call(&mut faults, QUERY, &fault(Misconfiguration::Permission), later).unwrap();
    assert_eq!(change.ended, [Misconfiguration::Signature]);
    assert_eq!(faults.ask(LINKS, later), Ok(None));
    assert_eq!(faults.clear(), [Misconfiguration::Permission]);
    assert_eq!(faults.ask(QUERY, later), Ok(None));
}

#[test]
fn a_try_that_is_not_made_is_not_lost() {
    let (mut faults, now) = (Faults::default(), clock::monotonic());
    let wrong = fault(Misconfiguration::Gateway);
    call(&mut faults, QUERY, &wrong, now);
    let due = now + FIRST_PAUSE;
    let lease = faults.ask(QUERY, due).unwrap();
    faults.give_back(QUERY, lease, due);
    assert!(faults.ask(QUERY, due).is_err(), "nor repeated at once");
    let lease = faults.ask(QUERY, due + RETURNED_AFTER).unwrap();
    faults.note(QUERY, lease, &wrong, due + RETURNED_AFTER, WALL);
    // What is given back late takes nothing from a later decision.
    faults.give_back(QUERY, lease, due);
    assert!(faults.ask(QUERY, due + 2 * RETURNED_AFTER).is_err());
}

proptest! {
    /// However often it is asked, and whoever asks: while the fault lasts, tries are as rare as
    /// the pauses say.
    #[test]
    fn tries_are_as_rare_as_the_pauses_say(
        steps in prop::collection::vec((0_u64..20_000, any::<bool>(), any::<bool>()), 1..200),
    ) {
        let (mut faults, start) = (Faults::default(), clock::monotonic());
        let (mut now, mut tries) = (start, Vec::new());
        let wrong = fault(Misconfiguration::AppKey);
        for (pause_ms, query, made) in steps {
            now += Duration::from_millis(pause_ms);
            let method = if query { QUERY } else { LINKS };
            let Ok(lease) = faults.ask(method, now) else { continue };
            if made || tries.is_empty() {
                faults.note(method, lease, &wrong, now, WALL);
                tries.push(now);
            } else {
                faults.give_back(method, lease, now);
            }
        }
        for (number, pair) in tries.windows(2).enumerate() {
            let refusals = u32::try_from(number + 1).unwrap();
            prop_assert!(pair[1] - pair[0] >= pause(refusals).min(FIRST_PAUSE));
            prop_assert!(pair[1] - pair[0] >= pause(refusals));
        }
    }
}
