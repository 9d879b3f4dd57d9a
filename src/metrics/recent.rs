//! The last requests, and the last slow ones.
//!
//! Owns: two bounded rings. Refuses: to grow, with the number of requests or with the length of a
//! request id a client sent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use super::labels::Method;
use super::ratio;
use crate::clock::Timestamp;

/// How many of the last requests are kept.
pub const RECENT_KEPT: usize = 200;

/// How many of the last slow requests are kept.
pub const SLOW_KEPT: usize = 100;

/// Longest request id kept, in bytes.
const MAX_ID_BYTES: usize = 128;

/// One answered request, as a worker reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestSeen {
    /// Request id, as in `X-Request-ID`.
    pub request_id: Arc<str>,
    /// Method.
    pub method: Method,
    /// Route template.
    pub route: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// From the first byte of the request to the answer.
    pub duration: Duration,
    /// The tier that answered: `memory`, `redis`, `database` or `none`.
    pub tier: &'static str,
    /// Whether it waited for nobody on its way: neither for its client nor for the upstream.
    pub prompt: bool,
    /// When it was answered.
    pub finished: Instant,
}

/// One answered request, as a person reads it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RecentRequest {
    /// When it was answered, milliseconds since the Unix epoch.
    pub finished_ms: i64,
    /// Request id, as in `X-Request-ID`.
    pub request_id: String,
    /// Method.
    pub method: Method,
    /// Route template.
    #[schema(value_type = String)]
    pub route: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// The tier that answered: `memory`, `redis`, `database` or `none`.
    #[schema(value_type = String)]
    pub tier: &'static str,
}

/// The rings.
#[derive(Debug)]
pub struct Recent {
    slow_threshold: Duration,
    all: VecDeque<(Timestamp, RequestSeen)>,
    slow: VecDeque<(Timestamp, RequestSeen)>,
}

impl Recent {
    /// Empty rings. Requests that take `slow_threshold` or longer are slow.
    #[must_use]
    pub fn new(slow_threshold: Duration) -> Self {
        Self { slow_threshold, all: VecDeque::new(), slow: VecDeque::new() }
    }

    /// What counts as slow.
    #[must_use]
    pub const fn slow_threshold(&self) -> Duration {
        self.slow_threshold
    }

    /// Keeps a request that was answered at `at`.
    pub fn observe(&mut self, at: Timestamp, mut seen: RequestSeen) {
        bound_id(&mut seen);
        if seen.duration >= self.slow_threshold {
            push(&mut self.slow, SLOW_KEPT, (at, seen.clone()));
        }
        push(&mut self.all, RECENT_KEPT, (at, seen));
    }

    /// The last requests, newest first, at most `limit`.
    #[must_use]
    pub fn all(&self, limit: usize) -> Vec<RecentRequest> {
        listed(&self.all, limit)
    }

    /// The last slow requests, newest first, at most `limit`.
    #[must_use]
    pub fn slow(&self, limit: usize) -> Vec<RecentRequest> {
        listed(&self.slow, limit)
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.all.clear();
        self.slow.clear();
    }
}

fn push<T>(ring: &mut VecDeque<T>, kept: usize, item: T) {
    if ring.len() >= kept {
        ring.pop_front();
    }
    ring.push_back(item);
}

fn bound_id(seen: &mut RequestSeen) {
    if seen.request_id.len() > MAX_ID_BYTES {
        let end = seen.request_id.floor_char_boundary(MAX_ID_BYTES);
        seen.request_id = seen.request_id.get(..end).unwrap_or_default().into();
    }
}

fn listed(ring: &VecDeque<(Timestamp, RequestSeen)>, limit: usize) -> Vec<RecentRequest> {
    ring.iter().rev().take(limit).map(|(at, seen)| RecentRequest::new(*at, seen)).collect()
}

impl RecentRequest {
    fn new(at: Timestamp, seen: &RequestSeen) -> Self {
        Self {
            finished_ms: at.as_millis(),
            request_id: seen.request_id.as_ref().to_owned(),
            method: seen.method,
            route: seen.route,
            status: seen.status,
            duration_ms: ratio::millis(seen.duration),
            tier: seen.tier,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A request for tests: `/a`, 200, one millisecond, from memory.
    pub(in crate::metrics) fn seen(id: &str, finished: Instant) -> RequestSeen {
        RequestSeen {
            request_id: id.into(),
            method: Method::Get,
            route: "/a",
            status: 200,
            duration: Duration::from_millis(1),
            tier: "memory",
            prompt: true,
            finished,
        }
    }

    fn rings() -> (Recent, Instant) {
        (Recent::new(Duration::from_millis(500)), crate::clock::monotonic())
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let (mut recent, now) = rings();
        for number in 0..=RECENT_KEPT {
            recent.observe(Timestamp::from_millis(7), seen(&number.to_string(), now));
        }
        let all = recent.all(usize::MAX);
        assert_eq!(all.len(), RECENT_KEPT);
        assert_eq!(all[0].request_id, RECENT_KEPT.to_string());
        assert_eq!(all[RECENT_KEPT - 1].request_id, "1");
        assert_eq!(recent.all(2).len(), 2);
    }

    #[test]
    fn slow_is_at_the_threshold_and_above() {
        let (mut recent, now) = rings();
        for ms in [499, 500, 501] {
            let duration = Duration::from_millis(ms);
            recent.observe(Timestamp::from_millis(0), RequestSeen { duration, ..seen("x", now) });
        }
        let slow: Vec<_> = recent.slow(10).iter().map(|request| request.duration_ms).collect();
        assert_eq!(slow, [501.0, 500.0]);
        assert_eq!(recent.all(10).len(), 3);
        recent.reset();
        assert!(recent.all(10).is_empty() && recent.slow(10).is_empty());
    }

    #[test]
    fn slow_requests_outlive_a_flood_of_quick_ones() {
        let (mut recent, now) = rings();
        let duration = Duration::from_secs(2);
        recent.observe(Timestamp::from_millis(0), RequestSeen { duration, ..seen("slow", now) });
        for _ in 0..10_000 {
            recent.observe(Timestamp::from_millis(1), seen("quick", now));
        }
        assert_eq!(recent.slow(10)[0].request_id, "slow");
    }

    #[test]
    fn a_long_id_is_cut_between_characters() {
        let (mut recent, now) = rings();
        recent.observe(Timestamp::from_millis(0), seen(&"ä€".repeat(500), now));
        let id = recent.all(1)[0].request_id.clone();
        assert!(id.len() <= MAX_ID_BYTES && id.len() > MAX_ID_BYTES - 4);
    }
}
