//! The table of observations: windows, minutes and lists, older than the actor that fills it.
//!
//! Owns: everything `MetricsActor` remembers, so that a crash of the actor forgets nothing.
//! Refuses: more endpoints than [`MAX_ENDPOINTS`]. Panic-safe: every statistic is right by
//! itself, so after a panic in the middle of an update the table is whole and at most one request
//! is missing from some of its parts; a poisoned lock is therefore taken over, not given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::labels::Method;
use super::minutes::{MinuteTotals, Minutes};
use super::recent::{Recent, RecentRequest, RequestSeen};
use super::windows::{SlidingWindow, WindowStats};
use crate::clock::Timestamp;

/// How far back the windows reach.
pub(super) const LONGEST_SPAN: Duration = Duration::from_secs(300);

/// Sub-windows of all requests together: the last minute is right to 5 s of 60.
const OVERALL: (Duration, usize) = (Duration::from_secs(5), 60);

/// Sub-windows of one endpoint: coarser, since there are many endpoints.
const PER_ENDPOINT: (Duration, usize) = (Duration::from_secs(60), 5);

/// Sub-windows of what was answered from memory without waiting for anybody.
const FROM_MEMORY: (Duration, usize) = (Duration::from_secs(5), 3);
/// How far back [`MonitoringTable::memory_latency`] looks.
const LATELY: Duration = Duration::from_secs(10);
/// Fewer answers than that say nothing about the slowest of a hundred.
const ENOUGH: u64 = 50;

/// How many endpoints have a window; more than there are routes.
pub(super) const MAX_ENDPOINTS: usize = 128;

/// The shared table; a clone is a reference to the same one.
#[derive(Debug, Clone)]
pub struct MonitoringTable {
    shared: Arc<Mutex<Observations>>,
}

impl MonitoringTable {
    /// An empty table; requests that take `slow_threshold` or longer are listed as slow.
    #[must_use]
    pub fn new(slow_threshold: Duration, now: Instant, since: Timestamp) -> Self {
        Self { shared: Arc::new(Mutex::new(Observations::new(slow_threshold, now, since))) }
    }

    /// How long 99 of a hundred answers from memory took at most, lately, of those that waited for
    /// nobody; `None` when there were too few.
    #[must_use]
    pub fn memory_latency(&self, now: Instant) -> Option<Duration> {
        let stats = self.lock().from_memory.stats(now, LATELY);
        let p99 = stats.latency_ms.p99.max(0.0) / 1_000.0;
        (stats.requests >= ENOUGH).then(|| Duration::from_secs_f64(p99))
    }

    /// The observations, locked. Whoever holds them does nothing else: no call out, no waiting.
    pub(super) fn lock(&self) -> MutexGuard<'_, Observations> {
        self.shared.lock().unwrap_or_else(|poisoned| {
            self.shared.clear_poison();
            PoisonError::into_inner(poisoned)
        })
    }
}

/// What was observed.
#[derive(Debug)]
pub(super) struct Observations {
    since: Timestamp,
    origin: Instant,
    overall: SlidingWindow,
    from_memory: SlidingWindow,
    endpoints: BTreeMap<(&'static str, Method), SlidingWindow>,
    minutes: Minutes,
    recent: Recent,
}

/// Windows and minutes, computed: what a report takes out of the lock.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) since: Timestamp,
    pub(super) windows: Vec<WindowStats>,
    pub(super) endpoints: BTreeMap<(&'static str, Method), WindowStats>,
    pub(super) minutes: Vec<MinuteTotals>,
}

impl Observations {
    fn new(slow_threshold: Duration, now: Instant, since: Timestamp) -> Self {
        Self {
            since,
            origin: now,
            overall: SlidingWindow::new(now, OVERALL.0, OVERALL.1),
            from_memory: SlidingWindow::new(now, FROM_MEMORY.0, FROM_MEMORY.1),
            endpoints: BTreeMap::new(),
            minutes: Minutes::default(),
            recent: Recent::new(slow_threshold),
        }
    }

    /// Takes in a request. `now` and `wall` are the same moment on the two clocks; they tell at
    /// what time of day the request was answered.
    pub(super) fn observe(&mut self, seen: RequestSeen, now: Instant, wall: Timestamp) {
        if seen.finished < self.origin {
            // Answered before the reset, reported after it.
            return;
        }
        let at = wall.minus(now.saturating_duration_since(seen.finished));
        self.overall.observe(seen.finished, seen.status, seen.duration);
        if seen.tier == "memory" && seen.prompt {
            self.from_memory.observe(seen.finished, seen.status, seen.duration);
        }
        let endpoint = (seen.route, seen.method);
        let origin = self.origin;
        if self.endpoints.len() < MAX_ENDPOINTS || self.endpoints.contains_key(&endpoint) {
            self.endpoints
                .entry(endpoint)
                .or_insert_with(|| SlidingWindow::new(origin, PER_ENDPOINT.0, PER_ENDPOINT.1))
                .observe(seen.finished, seen.status, seen.duration);
        }
        self.minutes.observe(at, seen.status, seen.duration);
        self.recent.observe(at, seen);
    }

    /// Forgets everything and begins anew.
    pub(super) fn reset(&mut self, now: Instant, wall: Timestamp) {
        *self = Self::new(self.recent.slow_threshold(), now, wall);
    }

    /// What windows and minutes say as of `now` and `wall`, the same moment on the two clocks.
    pub(super) fn summary(&self, now: Instant, wall: Timestamp, spans: &[Duration]) -> Summary {
        let of_endpoint = |window: &SlidingWindow| window.stats(now, LONGEST_SPAN);
        Summary {
            since: self.since,
            windows: spans.iter().map(|span| self.overall.stats(now, *span)).collect(),
            endpoints: self
                .endpoints
                .iter()
                .map(|(at, window)| (*at, of_endpoint(window)))
                .collect(),
            minutes: self.minutes.totals(wall),
        }
    }

    pub(super) fn recent(&self, limit: usize) -> Vec<RecentRequest> {
        self.recent.all(limit)
    }

    pub(super) fn slow(&self, limit: usize) -> Vec<RecentRequest> {
        self.recent.slow(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;
    use crate::metrics::recent::tests::seen;

    fn table() -> (MonitoringTable, Instant) {
        let now = monotonic();
        (MonitoringTable::new(Duration::from_secs(1), now, Timestamp::from_millis(0)), now)
    }

    #[test]
    fn a_panic_under_the_lock_loses_nothing_that_was_there() {
        let (table, now) = table();
        table.lock().observe(seen("kept", now), now, Timestamp::from_millis(0));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = table.lock();
            panic!("in the middle");
        }));
        assert!(panicked.is_err());
        table.lock().observe(seen("next", now), now, Timestamp::from_millis(0));
        assert_eq!(table.lock().recent(10).len(), 2);
        assert!(!table.shared.is_poisoned());
    }

    #[test]
    fn the_latency_of_memory_is_that_of_answers_that_waited_for_nobody() {
        let (table, now) = table();
        let observe = |took, change: fn(&mut RequestSeen)| {
            for _ in 0..ENOUGH {
                let mut seen = RequestSeen { duration: took, ..seen("x", now) };
                change(&mut seen);
                table.lock().observe(seen, now, Timestamp::from_millis(0));
            }
        };
        let second = Duration::from_secs(1);
        observe(second, |seen| seen.prompt = false);
        observe(second, |seen| seen.tier = "upstream");
        assert_eq!(table.memory_latency(now), None);
        observe(Duration::from_millis(2), |_| {});
        assert!(table.memory_latency(now).is_some_and(|took| took < Duration::from_millis(4)));
    }

    #[test]
    fn the_time_of_day_is_that_of_the_answer_not_of_the_report() {
        let (table, start) = table();
        let now = start + Duration::from_millis(150);
        table.lock().observe(seen("x", start), now, Timestamp::from_millis(10_000));
        assert_eq!(table.lock().recent(1)[0].finished_ms, 9_850);
    }

    #[test]
    fn endpoints_are_bounded_but_everything_is_in_the_overall_window() {
        let (table, now) = table();
        for number in 0..MAX_ENDPOINTS + 10 {
            let route: &'static str = format!("/{number}").leak();
            let request = RequestSeen { route, ..seen("x", now) };
            table.lock().observe(request, now, Timestamp::from_millis(0));
        }
        let all = table.lock().summary(now, Timestamp::from_millis(0), &[LONGEST_SPAN]);
        assert_eq!(all.endpoints.len(), MAX_ENDPOINTS);
        assert_eq!(all.windows[0].requests, u64::try_from(MAX_ENDPOINTS + 10).unwrap());
    }

    #[test]
    fn what_was_answered_before_a_reset_does_not_come_back_after_it() {
        let (table, start) = table();
        let reset = start + Duration::from_secs(1);
        table.lock().reset(reset, Timestamp::from_millis(1_000));
        table.lock().observe(seen("late", start), reset, Timestamp::from_millis(1_000));
        assert!(table.lock().recent(9).is_empty());
    }

    #[test]
    fn an_endpoints_rate_is_over_the_whole_window_not_since_its_first_request() {
        let (table, start) = table();
        let now = start + Duration::from_secs(200);
        for _ in 0..100 {
            table.lock().observe(seen("x", now), now, Timestamp::from_millis(0));
        }
        let summary = table.lock().summary(now, Timestamp::from_millis(0), &[]);
        let window = &summary.endpoints[&("/a", Method::Get)];
        assert!((window.requests_per_second - 0.5).abs() < 1e-9, "{window:?}");
    }

    #[test]
    fn a_reset_keeps_only_what_counts_as_slow() {
        let (table, now) = table();
        table.lock().observe(seen("x", now), now, Timestamp::from_millis(0));
        table.lock().reset(now, Timestamp::from_millis(5));
        let all = table.lock();
        let summary = all.summary(now, Timestamp::from_millis(5), &[LONGEST_SPAN]);
        assert_eq!(summary.since, Timestamp::from_millis(5));
        assert_eq!(summary.windows[0].requests, 0);
        assert!(all.recent(9).is_empty() && summary.endpoints.is_empty());
        assert!(summary.minutes.is_empty());
        assert_eq!(all.recent.slow_threshold(), Duration::from_secs(1));
    }
}
