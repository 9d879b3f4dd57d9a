//! A histogram of durations that is observed without a lock.
//!
//! Owns: bucket counts and the sum as atomics. The package's own histogram takes a mutex on every
//! observation, which all HTTP workers would share; here an observation is two relaxed additions.
//! Refuses: values other than durations. A scrape between the two additions sees the count one
//! ahead of the sum, never a torn value, and the count always equals the last bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds for request and call latencies: a memory hit is near 100 µs, a deadline near 10 s.
const LATENCY: [Duration; 16] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// Upper bounds for operations inside the process or on its own disk and Redis.
const OPERATION: [Duration; 16] = [
    Duration::from_micros(1),
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// Upper bounds for the age of a cached answer: one second to thirty days.
const AGE: [Duration; 11] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3_600),
    Duration::from_secs(6 * 3_600),
    Duration::from_secs(86_400),
    Duration::from_secs(3 * 86_400),
    Duration::from_secs(7 * 86_400),
    Duration::from_secs(30 * 86_400),
];

/// Durations sorted into fixed buckets; clones share the counts.
#[derive(Debug, Clone)]
pub struct DurationHistogram {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bounds: &'static [Duration],
    /// One more than there are bounds; the last takes what is above all of them.
    buckets: Box<[AtomicU64]>,
    tick: Tick,
    /// Sum of all observations in ticks.
    sum: AtomicU64,
}

/// In what the sum is kept. Latencies add up to 584 years before nanoseconds wrap; ages do not
/// have that long: five million answers an hour old are as much.
#[derive(Debug, Clone, Copy)]
enum Tick {
    Nanosecond,
    Millisecond,
}

impl Tick {
    fn count(self, duration: Duration) -> u64 {
        let ticks = match self {
            Self::Nanosecond => duration.as_nanos(),
            Self::Millisecond => duration.as_millis(),
        };
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }

    const fn duration(self, ticks: u64) -> Duration {
        match self {
            Self::Nanosecond => Duration::from_nanos(ticks),
            Self::Millisecond => Duration::from_millis(ticks),
        }
    }
}

impl DurationHistogram {
    /// For whole requests and upstream calls: 100 µs to 10 s.
    #[must_use]
    pub fn latency() -> Self {
        Self::with_bounds(&LATENCY, Tick::Nanosecond)
    }

    /// For single operations on a tier or the database: 1 µs to 1 s.
    #[must_use]
    pub fn operation() -> Self {
        Self::with_bounds(&OPERATION, Tick::Nanosecond)
    }

    /// For ages of cached answers: 1 s to 30 days.
    #[must_use]
    pub fn age() -> Self {
        Self::with_bounds(&AGE, Tick::Millisecond)
    }

    fn with_bounds(bounds: &'static [Duration], tick: Tick) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { inner: Arc::new(Inner { bounds, buckets, tick, sum: AtomicU64::new(0) }) }
    }

    /// Counts one duration. A bound belongs to the bucket below it, as Prometheus has it (`le`).
    pub fn observe(&self, duration: Duration) {
        let at = self.inner.bounds.partition_point(|bound| *bound < duration);
        if let Some(bucket) = self.inner.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.sum.fetch_add(self.inner.tick.count(duration), Ordering::Relaxed);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.inner.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The sum of all durations counted.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.inner.tick.duration(self.inner.sum.load(Ordering::Relaxed))
    }
}

impl TypedMetric for DurationHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for DurationHistogram {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let bounds = self.inner.bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let counts = self.inner.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum().as_secs_f64(), count, &buckets, None)
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
        assert_eq!(histogram.sum(), Duration::from_secs(4_011));
    }

    #[test]
    fn ages_add_up_far_beyond_what_nanoseconds_could_hold() {
        let (histogram, month) = (DurationHistogram::age(), Duration::from_secs(30 * 86_400));
        for _ in 0..10_000 {
            histogram.observe(month);
        }
        assert_eq!(histogram.sum(), month * 10_000);
        assert!(histogram.sum().as_nanos() > u128::from(u64::MAX));
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
        assert_eq!(histogram.sum(), Duration::from_micros(120_000));
    }
}
