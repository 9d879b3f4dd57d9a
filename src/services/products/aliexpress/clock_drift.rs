//! How far the gateway's clock is from ours, learned only when it refuses a timestamp.
//!
//! Owns: the offset added to our clock when a request is signed, and the rule "once with the
//! clock corrected, then permanent". The gateway tolerates 7,200 s of drift, so nothing is
//! learned from answers it accepts. The offset comes from the answer's `Date` header; a refusal
//! without one teaches nothing and is permanent at once.
//!
//! The rule, per refusal:
//! - a request signed before the latest correction deserves its one repetition (several calls may
//!   be under way when the clock is found to be wrong);
//! - the first refusal since an accepted call corrects the clock, however small the correction;
//! - a later refusal corrects it again only if the clock has moved meanwhile (it was set);
//! - anything else was signed with a right clock and is refused for good.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// Two clocks that differ by less than this agree: `Date` has whole seconds, and the answer was
/// under way for a while. Far below what the gateway tolerates.
const AGREEMENT_MS: u64 = 60_000;

#[derive(Debug, Default)]
pub struct ClockDrift {
    learned: Mutex<Learned>,
}

#[derive(Debug, Default)]
struct Learned {
    /// The gateway's clock minus ours, milliseconds.
    ahead_ms: i64,
    /// When the offset was last set, unless a later signed request was accepted since.
    corrected_at: Option<Timestamp>,
}

impl ClockDrift {
    /// Our clock's `now` as the gateway would read it.
    pub fn correct(&self, now: Timestamp) -> Timestamp {
        let ahead_ms = self.lock().ahead_ms;
        Timestamp::from_millis(now.as_millis().saturating_add(ahead_ms))
    }

    /// The gateway accepted a request signed at `sent_at`: the clock is right.
    pub fn accepted(&self, sent_at: Timestamp) {
        let mut learned = self.lock();
        if learned.corrected_at.is_some_and(|at| sent_at > at) {
            learned.corrected_at = None;
        }
    }

    /// The gateway refused the timestamp of a request signed at `sent_at`; its answer, dated
    /// `date`, came at `received_at`. Says whether another attempt is worth it.
    pub fn refused(
        &self,
        sent_at: Timestamp,
        received_at: Timestamp,
        date: Option<Timestamp>,
    ) -> bool {
        let Some(date) = date else { return false };
        let mut learned = self.lock();
        let ahead_ms = date.as_millis().saturating_sub(sent_at.as_millis());
        match learned.corrected_at {
            Some(at) if ahead_ms.abs_diff(learned.ahead_ms) <= AGREEMENT_MS => sent_at <= at,
            Some(_) | None => {
                *learned = Learned { ahead_ms, corrected_at: Some(received_at) };
                true
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Learned> {
        // Every change is one assignment, so a poisoned lock still guards a whole value.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn an_untaught_clock_is_ours() {
        assert_eq!(ClockDrift::default().correct(at(5)), at(5));
    }

    #[test]
    fn once_with_the_clock_corrected_then_permanent() {
        let drift = ClockDrift::default();
        assert!(drift.refused(at(0), at(100), Some(at(3 * HOUR))));
        assert_eq!(drift.correct(at(1_000)), at(3 * HOUR + 1_000));
        assert!(!drift.refused(at(1_000), at(1_100), Some(at(3 * HOUR + 1_000))));
        assert!(!drift.refused(at(9_000), at(9_100), Some(at(3 * HOUR + 9_000))));
    }

    #[test]
    fn even_a_clock_that_seems_right_gets_its_one_repetition() {
        let drift = ClockDrift::default();
        assert!(drift.refused(at(0), at(10), Some(at(0))));
        assert!(!drift.refused(at(20), at(30), Some(at(0))));
    }

    #[test]
    fn calls_signed_before_the_correction_are_repeated_too() {
        let drift = ClockDrift::default();
        assert!(drift.refused(at(0), at(100), Some(at(3 * HOUR))));
        assert!(drift.refused(at(50), at(150), Some(at(3 * HOUR))));
        assert!(!drift.refused(at(200), at(300), Some(at(3 * HOUR))));
    }

    #[test]
    fn an_accepted_call_earns_the_next_refusal_a_repetition() {
        let drift = ClockDrift::default();
        assert!(drift.refused(at(0), at(100), Some(at(HOUR * 3))));
        drift.accepted(at(50));
        assert!(!drift.refused(at(200), at(210), Some(at(HOUR * 3))), "signed before: no proof");
        drift.accepted(at(300));
        assert!(drift.refused(at(400), at(410), Some(at(HOUR * 3))));
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_is_corrected_again() {
        let drift = ClockDrift::default();
        assert!(drift.refused(at(0), at(100), Some(at(3 * HOUR))));
        // Our clock jumped forward by the missing three hours: both clocks agree now.
        let now = at(3 * HOUR + 500);
        assert!(drift.refused(now, at(3 * HOUR + 600), Some(now)));
        assert_eq!(drift.correct(now), now);
        // And back again: earlier than the correction, and yet not signed before it.
        assert!(drift.refused(at(200), at(300), Some(at(3 * HOUR + 200))));
        assert_eq!(drift.correct(at(400)), at(3 * HOUR + 400));
    }

    #[test]
    fn no_date_no_repetition() {
        assert!(!ClockDrift::default().refused(at(0), at(1), None));
    }

    #[test]
    fn absurd_dates_do_not_overflow() {
        let drift = ClockDrift::default();
        assert!(drift.refused(at(i64::MIN), at(0), Some(at(i64::MAX))));
        assert_eq!(drift.correct(at(i64::MAX)), at(i64::MAX));
    }
}
