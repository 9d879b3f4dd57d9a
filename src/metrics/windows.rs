//! Sliding windows: throughput, error rate and latency percentiles over the last minutes.
//!
//! Owns: a ring of sub-windows, each with its counts and an HDR histogram (Tene's high dynamic
//! range histogram: fixed memory, bounded relative error). Refuses: to read a clock; every call
//! brings its time. Old sub-windows are reused in place, so memory is bounded whatever the load:
//! about 10 kB a sub-window that ever saw a request. What arrives later than the ring reaches
//! back is left out.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use utoipa::ToSchema;

use super::labels::Fault;
use super::ratio;

/// Significant decimal digits of a percentile: values are within 1 % of the true one.
const DIGITS: u8 = 2;

/// Longest latency told apart; requests have deadlines far below it.
const MAX_LATENCY: Duration = Duration::from_secs(60);

/// Requests of the recent past, in sub-windows of equal length.
#[derive(Debug)]
pub struct SlidingWindow {
    origin: Instant,
    length: Duration,
    ring: Vec<SubWindow>,
}

#[derive(Debug, Default)]
struct SubWindow {
    /// How many lengths after the origin it starts.
    number: u64,
    counts: Counts,
    /// Made with the first request: an idle window costs nothing.
    latency: Option<Histogram<u32>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    requests: u64,
    client_errors: u64,
    server_errors: u64,
}

impl SlidingWindow {
    /// A window that reaches back `count` sub-windows of `length`, the running one included.
    /// Both are at least one (sub-window, millisecond).
    #[must_use]
    pub fn new(origin: Instant, length: Duration, count: usize) -> Self {
        let ring = (0..count.max(1)).map(|_| SubWindow::default()).collect();
        Self { origin, length: length.max(Duration::from_millis(1)), ring }
    }

    /// Counts a request that was answered at `at`. Times may come out of order.
    pub fn observe(&mut self, at: Instant, status: u16, duration: Duration) {
        let number = self.number(at);
        let places = u64::try_from(self.ring.len()).unwrap_or(u64::MAX);
        let place = usize::try_from(number % places).unwrap_or_default();
        let Some(sub) = self.ring.get_mut(place) else { return };
        if number < sub.number {
            return;
        }
        if number > sub.number {
            sub.begin(number);
        }
        sub.count(status, duration);
    }

    /// The last `span` before `now`, whole sub-windows: the running one and as many before it as
    /// fill the span. The time really covered is part of the answer.
    #[must_use]
    pub fn stats(&self, now: Instant, span: Duration) -> WindowStats {
        let current = self.number(now);
        let wanted = span.as_nanos().div_ceil(self.length.as_nanos());
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, self.ring.len());
        let before = u64::try_from(wanted).unwrap_or(u64::MAX).saturating_sub(1);
        let first = current.saturating_sub(before);

        let mut counts = Counts::default();
        let mut latency = new_histogram();
        for sub in self.ring.iter().filter(|sub| (first..=current).contains(&sub.number)) {
            counts.add(sub.counts);
            merge(&mut latency, sub.latency.as_ref());
        }
        WindowStats::new(span, self.time_since(first, now), counts, latency.as_ref())
    }

    /// Forgets everything; sub-windows are counted from `now`.
    pub fn reset(&mut self, now: Instant) {
        *self = Self::new(now, self.length, self.ring.len());
    }

    /// Which sub-window a time lies in; times before the origin belong to the first.
    fn number(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_nanos();
        u64::try_from(since / self.length.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Time from the start of sub-window `first` to `now`.
    fn time_since(&self, first: u64, now: Instant) -> Duration {
        let skipped = u32::try_from(first).map_or(Duration::MAX, |n| self.length.saturating_mul(n));
        now.saturating_duration_since(self.origin).saturating_sub(skipped)
    }
}

impl SubWindow {
    fn begin(&mut self, number: u64) {
        self.number = number;
        self.counts = Counts::default();
        if let Some(latency) = &mut self.latency {
            latency.reset();
        }
    }

    fn count(&mut self, status: u16, duration: Duration) {
        self.counts.requests = self.counts.requests.saturating_add(1);
        match Fault::of(status) {
            Some(Fault::Client) => self.counts.client_errors += 1,
            Some(Fault::Server) => self.counts.server_errors += 1,
            None => {}
        }
        if self.latency.is_none() {
            self.latency = new_histogram();
        }
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(micros(duration));
        }
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.client_errors = self.client_errors.saturating_add(other.client_errors);
        self.server_errors = self.server_errors.saturating_add(other.server_errors);
    }
}

/// A latency in whole microseconds; what is quicker than one counts as one.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.min(MAX_LATENCY).as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Bounds are constants that the constructor accepts, see the tests; were it to refuse, windows
/// would go without percentiles and count on.
fn new_histogram() -> Option<Histogram<u32>> {
    Histogram::new_with_bounds(1, micros(MAX_LATENCY), DIGITS).ok()
}

/// Adds a sub-window; both have the same bounds, so there is nothing to refuse.
fn merge(into: &mut Option<Histogram<u32>>, from: Option<&Histogram<u32>>) {
    if let (Some(into), Some(from)) = (into, from)
        && into.add(from).is_err()
    {
        into.reset();
    }
}

/// What a window saw.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WindowStats {
    /// Length of the window that was asked for, in seconds.
    pub window_seconds: u64,
    /// Time really covered, in seconds: less while the process is young, and up to one sub-window
    /// less because the running one is not full.
    pub covered_seconds: f64,
    /// Requests answered.
    pub requests: u64,
    /// Requests a second over the time covered.
    pub requests_per_second: f64,
    /// Requests answered with 4xx.
    pub client_errors: u64,
    /// Requests answered with 5xx.
    pub server_errors: u64,
    /// Share of requests answered with 5xx, 0 to 100.
    pub error_rate_percent: f64,
    /// How long they took.
    pub latency_ms: LatencyStats,
}

/// Latencies in milliseconds, within 1 % and capped at 60,000; all 0 when there was no request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct LatencyStats {
    /// Arithmetic mean.
    pub mean: f64,
    /// Half of the requests took at most this long.
    pub p50: f64,
    /// Nine of ten did.
    pub p90: f64,
    /// 95 of a hundred did.
    pub p95: f64,
    /// 99 of a hundred did.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

impl WindowStats {
    fn new(
        span: Duration,
        covered: Duration,
        counts: Counts,
        latency: Option<&Histogram<u32>>,
    ) -> Self {
        Self {
            window_seconds: span.as_secs(),
            covered_seconds: ratio::millis(covered) / 1_000.0,
            requests: counts.requests,
            requests_per_second: ratio::per_second(counts.requests, covered),
            client_errors: counts.client_errors,
            server_errors: counts.server_errors,
            error_rate_percent: ratio::percent(counts.server_errors, counts.requests),
            latency_ms: latency.map(LatencyStats::new).unwrap_or_default(),
        }
    }
}

impl LatencyStats {
    fn new(latency: &Histogram<u32>) -> Self {
        if latency.is_empty() {
            return Self::default();
        }
        let at = |quantile| ratio::millis_from_micros(latency.value_at_quantile(quantile));
        Self {
            mean: latency.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            max: ratio::millis_from_micros(latency.max()),
        }
    }
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
