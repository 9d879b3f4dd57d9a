//! Totals of each of the last sixty minutes.
//!
//! Owns: a ring of minutes, by the wall clock. Refuses: to read it; times are arguments. Minutes
//! without a request are not listed. What belongs to a minute already gone is left out.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::labels::Fault;
use super::ratio;
use crate::clock::Timestamp;

/// How many minutes are kept.
const KEPT: usize = 60;

const MINUTE_MS: i64 = 60_000;

/// The last minutes, oldest first.
#[derive(Debug, Default)]
pub struct Minutes {
    ring: VecDeque<Minute>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    start_ms: i64,
    requests: u64,
    client_errors: u64,
    server_errors: u64,
    duration: Duration,
}

/// What one minute saw.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MinuteTotals {
    /// Start of the minute, milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Requests answered.
    pub requests: u64,
    /// Of these, answered with 4xx.
    pub client_errors: u64,
    /// Of these, answered with 5xx.
    pub server_errors: u64,
    /// Mean latency in milliseconds.
    pub mean_latency_ms: f64,
}

impl Minutes {
    /// Counts a request that was answered at `at`.
    pub fn observe(&mut self, at: Timestamp, status: u16, duration: Duration) {
        let start_ms = at.as_millis().div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS);
        let Some(minute) = self.minute(start_ms) else { return };
        minute.requests = minute.requests.saturating_add(1);
        minute.duration = minute.duration.saturating_add(duration);
        match Fault::of(status) {
            Some(Fault::Client) => minute.client_errors += 1,
            Some(Fault::Server) => minute.server_errors += 1,
            None => {}
        }
    }

    /// Every minute kept as of `now`, oldest first.
    #[must_use]
    pub fn totals(&self, now: Timestamp) -> Vec<MinuteTotals> {
        let kept_ms = i64::try_from(KEPT).unwrap_or(i64::MAX).saturating_mul(MINUTE_MS);
        let oldest = now.as_millis().saturating_sub(kept_ms);
        self.ring.iter().filter(|minute| minute.start_ms > oldest).map(Minute::totals).collect()
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.ring.clear();
    }

    /// The minute that starts at `start_ms`, made in its place when new; `None` when it would be
    /// older than all of a full ring.
    fn minute(&mut self, start_ms: i64) -> Option<&mut Minute> {
        // Nearly every request belongs to the newest minute: look from the back.
        let behind = self.ring.iter().rev().take_while(|m| m.start_ms > start_ms).count();
        let place = self.ring.len().saturating_sub(behind);
        let known = place
            .checked_sub(1)
            .filter(|at| self.ring.get(*at).is_some_and(|minute| minute.start_ms == start_ms));
        if let Some(at) = known {
            return self.ring.get_mut(at);
        }
        if self.ring.len() < KEPT {
            self.ring.insert(place, Minute { start_ms, ..Minute::default() });
            return self.ring.get_mut(place);
        }
        let place = place.checked_sub(1)?;
        self.ring.pop_front();
        self.ring.insert(place, Minute { start_ms, ..Minute::default() });
        self.ring.get_mut(place)
    }
}

impl Minute {
    fn totals(&self) -> MinuteTotals {
        let micros = u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX);
        let mean = micros.checked_div(self.requests).unwrap_or_default();
        MinuteTotals {
            start_ms: self.start_ms,
            requests: self.requests,
            client_errors: self.client_errors,
            server_errors: self.server_errors,
            mean_latency_ms: ratio::millis_from_micros(mean),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(minute: i64, second: i64) -> Timestamp {
        Timestamp::from_millis(minute * MINUTE_MS + second * 1_000)
    }

    #[test]
    fn requests_fall_into_the_minute_they_were_answered_in() {
        let mut minutes = Minutes::default();
        minutes.observe(at(10, 0), 200, MS);
        minutes.observe(at(10, 59), 404, MS * 3);
        minutes.observe(at(11, 0), 503, MS);
        let totals = minutes.totals(at(11, 5));
        assert_eq!(totals.len(), 2);
        assert_eq!(totals[0].start_ms, 10 * MINUTE_MS);
        assert_eq!((totals[0].requests, totals[0].client_errors), (2, 1));
        assert!((totals[0].mean_latency_ms - 2.0).abs() < 1e-9);
        assert_eq!((totals[1].requests, totals[1].server_errors), (1, 1));
    }

    #[test]
    fn late_requests_find_their_minute_and_gaps_are_filled_in_order() {
        let mut minutes = Minutes::default();
        for minute in [10, 12, 11, 10, 12] {
            minutes.observe(at(minute, 1), 200, MS);
        }
        let seen: Vec<_> = minutes
            .totals(at(12, 2))
            .iter()
            .map(|m| (m.start_ms / MINUTE_MS, m.requests))
            .collect();
        assert_eq!(seen, [(10, 2), (11, 1), (12, 2)]);
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut minutes = Minutes::default();
        for minute in 0..200 {
            minutes.observe(at(minute, 0), 200, MS);
        }
        minutes.observe(at(3, 0), 200, MS);
        let totals = minutes.totals(at(199, 0));
        assert_eq!(totals.len(), KEPT);
        assert_eq!(totals[0].start_ms, 140 * MINUTE_MS);
        assert!(totals.iter().all(|minute| minute.requests == 1));
        assert!(minutes.totals(at(500, 0)).is_empty());
    }

    #[test]
    fn times_before_the_epoch_have_minutes_too() {
        let mut minutes = Minutes::default();
        minutes.observe(Timestamp::from_millis(-1), 200, MS);
        assert_eq!(minutes.totals(Timestamp::from_millis(0))[0].start_ms, -MINUTE_MS);
    }
}
