//! A histogram of durations that is observed without a lock.
//!
//! Owns: bucket counts and the sum as atomics. The package's own histogram takes a mutex on every
//! observation, which all HTTP workers would share; here an observation is two atomic additions.
//! Refuses: values other than durations. A scrape between the two additions sees the count one
//! ahead of the sum, never a torn value, and the count always equals the last bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds, in seconds, for requests and calls: a memory hit is near 100 µs, a deadline near 10 s.
pub(super) const LATENCY: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

/// Its buckets, with the one above all bounds.
pub(super) const LATENCY_BUCKETS: usize = LATENCY.len() + 1;

/// Upper bounds for operations inside the process or on its own disk and Redis.
const OPERATION: [f64; 16] = [
    0.000001, 0.000005, 0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.5, 1.0,
];

/// Upper bounds for the age of a cached answer: one second to thirty days.
const AGE: [f64; 11] =
    [1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];

#[derive(Debug, Clone)]
pub struct DurationHistogram {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    /// One more than there are bounds; the last takes what is above all of them.
    buckets: Box<[AtomicU64]>,
    sum: Counter<f64, AtomicU64>,
}

impl Default for DurationHistogram {
    fn default() -> Self {
        Self::latency()
    }
}

impl DurationHistogram {
    /// For whole requests and upstream calls: 100 µs to 10 s.
    pub(super) fn latency() -> Self {
        Self::with_bounds(&LATENCY)
    }

    /// For single operations on a tier: 1 µs to 1 s.
    pub(super) fn operation() -> Self {
        Self::with_bounds(&OPERATION)
    }

    /// For ages of cached answers: 1 s to 30 days.
    pub(super) fn age() -> Self {
        Self::with_bounds(&AGE)
    }

    fn with_bounds(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { inner: Arc::new(Inner { bounds, buckets, sum: Counter::default() }) }
    }

    /// Counts one duration. A bound belongs to the bucket below it, as Prometheus has it (`le`).
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = self.inner.bounds.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.inner.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.sum.inc_by(seconds);
    }

    /// Adds what each bucket counted.
    pub(super) fn add_to(&self, sums: &mut [u64]) {
        for (sum, bucket) in sums.iter_mut().zip(&self.inner.buckets) {
            *sum = sum.saturating_add(bucket.load(Ordering::Relaxed));
        }
    }

    pub fn count(&self) -> u64 {
        self.inner.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let bounds = self.inner.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.inner.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.inner.sum.get(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    fn text(histogram: &DurationHistogram) -> String {
        let mut registry = Registry::default();
        registry.register("h", "x", histogram.clone());
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_duration_at_a_bound_counts_below_it() {
        let histogram = DurationHistogram::latency();
        histogram.observe(Duration::from_micros(100));
        histogram.observe(Duration::from_nanos(100_001));
        let text = text(&histogram);
        assert!(text.contains("h_bucket{le=\"0.0001\"} 1\n"), "{text}");
        assert!(text.contains("h_bucket{le=\"0.00025\"} 2\n"), "{text}");
    }

    #[test]
    fn the_last_bucket_takes_everything_and_equals_the_count() {
        let histogram = DurationHistogram::latency();
        for duration in [Duration::ZERO, Duration::from_secs(11), Duration::from_secs(4_000)] {
            histogram.observe(duration);
        }
        let text = text(&histogram);
        assert!(text.contains("h_bucket{le=\"10.0\"} 1\n"), "{text}");
        assert!(text.contains("h_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.contains("h_count 3\n"), "{text}");
        assert!(text.contains("h_sum 4011.0\n"), "{text}");
    }

    #[test]
    fn every_set_of_bounds_rises() {
        for bounds in [&LATENCY[..], &OPERATION[..], &AGE[..]] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }

    #[test]
    fn threads_lose_no_observation() {
        let histogram = DurationHistogram::operation();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        histogram.observe(Duration::from_micros(3));
                    }
                });
            }
        });
        assert_eq!(histogram.count(), 40_000);
        assert!((histogram.inner.sum.get() - 0.12).abs() < 1e-9);
    }
}
