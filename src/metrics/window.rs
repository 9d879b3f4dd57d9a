//! Sliding windows: throughput, error rate and latency percentiles over the last minutes.
//!
//! Owns: what a window counts in its slots, each with an HDR histogram (Tene's high dynamic range
//! histogram: fixed memory, bounded relative error), and the numbers made of it. Refuses: to read a
//! clock; every call brings its time. Memory is bounded whatever the load: about 10 kB a slot that saw a
//! request. What arrives later than the window reaches back is left out.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use utoipa::ToSchema;

use super::requests::RequestCounts;
use crate::resilience::slots::{self, TimeSlots};

/// Significant decimal digits of a percentile: values are within 1 % of the true one.
const DIGITS: u8 = 2;
/// Longest latency told apart; requests have deadlines far below it.
const MAX_LATENCY: Duration = Duration::from_secs(60);

/// Requests of the recent past, in `N` slots of equal width.
#[derive(Debug)]
pub(super) struct Window<const N: usize> {
    origin: Instant,
    width: Duration,
    slots: TimeSlots<Slot, N>,
}

#[derive(Debug, Default)]
struct Slot {
    counts: RequestCounts,
    took: Duration,
    /// Made with the first request: an idle window costs nothing.
    latency: Option<Histogram<u32>>,
}

impl<const N: usize> Window<N> {
    /// TimeSlots are counted from `origin`; the running one is one of the `N`.
    pub(super) fn new(origin: Instant, width: Duration) -> Self {
        Self { origin, width, slots: TimeSlots::default() }
    }

    /// Counts a request that was answered at `at`. Times may come out of order.
    pub(super) fn observe(&mut self, at: Instant, status: u16, duration: Duration) {
        let number = slots::number(self.origin, at, self.width);
        self.slots.update(number, |slot| slot.count(status, duration));
    }

    /// The last `span` before `now`, whole slots: the running one and as many before it as fill the
    /// span. The time really covered is part of the answer.
    pub(super) fn stats(&self, now: Instant, span: Duration) -> WindowStats {
        let wanted = span.as_nanos().div_ceil(self.width.as_nanos().max(1));
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX).max(1);
        let wanted = wanted.min(u64::try_from(N).unwrap_or(u64::MAX));
        let first = slots::number(self.origin, now, self.width).saturating_sub(wanted - 1);

        let (mut counts, mut took) = (RequestCounts::default(), Duration::ZERO);
        let mut latency = new_histogram();
        for (_, slot) in self.last(now, wanted) {
            counts = counts.plus(slot.counts);
            took = took.saturating_add(slot.took);
            merge(&mut latency, slot.latency.as_ref());
        }
        let covered = self.time_since(first, now);
        WindowStats {
            window_seconds: span.as_secs(),
            covered_seconds: covered.as_secs_f64(),
            requests_per_second: per_second(counts.requests, covered),
            error_rate_percent: percent(counts.server_errors, counts.requests),
            latency_ms: LatencyStats::new(latency.as_ref(), mean_ms(took, counts.requests)),
            counts,
        }
    }

    fn last(&self, now: Instant, count: u64) -> impl Iterator<Item = (u64, &Slot)> {
        self.slots.last(count, slots::number(self.origin, now, self.width))
    }

    /// Time from the start of slot `number` to `now`.
    fn time_since(&self, number: u64, now: Instant) -> Duration {
        let skipped = u32::try_from(number).map_or(Duration::MAX, |n| self.width.saturating_mul(n));
        now.saturating_duration_since(self.origin).saturating_sub(skipped)
    }
}

impl Slot {
    fn count(&mut self, status: u16, duration: Duration) {
        self.counts = self.counts.plus(RequestCounts::of(status, 1));
        self.took = self.took.saturating_add(duration);
        if self.latency.is_none() {
            self.latency = new_histogram();
        }
        if let Some(latency) = &mut self.latency {
            latency.saturating_record(micros(duration));
        }
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

/// Adds the histogram of a slot; both have the same bounds, so there is nothing to refuse.
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
    /// Time really covered, in seconds: less while the process is young, and up to one slot less
    /// because the running one is not full.
    pub covered_seconds: f64,
    #[serde(flatten)]
    pub counts: RequestCounts,
    /// Requests a second over the time covered.
    pub requests_per_second: f64,
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

impl LatencyStats {
    fn new(latency: Option<&Histogram<u32>>, mean: f64) -> Self {
        let Some(latency) = latency.filter(|latency| !latency.is_empty()) else {
            return Self::default();
        };
        let at = |quantile| float(latency.value_at_quantile(quantile)) / 1_000.0;
        let max = float(latency.max()) / 1_000.0;
        Self { mean, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), max }
    }
}

/// `part` of `whole` in percent; 0 when there is no whole.
pub(super) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) * 100.0 }
}

/// Events per second. Times below a second count as one: three requests in the first millisecond
/// of a process are no 3,000 a second.
fn per_second(events: u64, time: Duration) -> f64 {
    float(events) / time.as_secs_f64().max(1.0)
}

fn mean_ms(took: Duration, requests: u64) -> f64 {
    if requests == 0 { 0.0 } else { took.as_secs_f64() * 1_000.0 / float(requests) }
}

#[expect(clippy::as_conversions, reason = "exact up to 2^53, and rounding is fine beyond it")]
#[expect(clippy::cast_precision_loss, reason = "the same")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
