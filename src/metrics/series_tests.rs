//! What the rings keep.

use super::*;
use crate::metrics::Metrics;

fn at(requests: u64) -> Sample {
    Sample { requests, ..Sample::default() }
}

fn column(curves: &Curves, name: &str) -> Vec<Option<u32>> {
    curves.columns.iter().find(|(column, _)| *column == name).unwrap().1.clone()
}

fn ring<'a>(curves: &'a [Curves], name: &str) -> Option<&'a Curves> {
    curves.iter().find(|curves| curves.name == name)
}

#[test]
fn a_point_is_what_was_counted_since_the_one_before() {
    let mut series = Series::new(1_000, at(5));
    for (second, requests) in [(1_001, 7), (1_002, 7), (1_003, 20)] {
        series.take(second, &at(requests));
    }
    let curves = series.since(0);
    assert_eq!(curves.len(), 1, "no coarse point has ended");
    assert_eq!((curves[0].name, curves[0].end), ("1s", 1_003));
    assert_eq!(column(&curves[0], "requests"), [Some(2), Some(0), Some(13)]);
    assert_eq!(column(&curves[0], "p99_us"), [None; 3]);
}

#[test]
fn coarse_points_end_at_whole_steps_and_lose_nothing() {
    let mut series = Series::new(1_003, at(0));
    (1_004..=1_140).for_each(|second| series.take(second, &at(second - 1_003)));
    let curves = series.since(0);
    let sum = |name| {
        let values = column(ring(&curves, name).unwrap(), "requests");
        values.iter().flatten().sum::<u32>()
    };
    assert_eq!(
        (ring(&curves, "10s").unwrap().end, ring(&curves, "60s").unwrap().end),
        (1_140, 1_140)
    );
    assert_eq!((sum("1s"), sum("10s"), sum("60s")), (137, 137, 137));
    assert_eq!(column(ring(&curves, "10s").unwrap(), "requests")[1], Some(10));
}

#[test]
fn only_what_ended_after_is_sent() {
    let mut series = Series::new(1_000, at(0));
    (1_001..=1_025).for_each(|second| series.take(second, &at(second)));
    let curves = series.since(1_022);
    assert_eq!(curves.len(), 1);
    assert_eq!(column(&curves[0], "requests").len(), 3);
    let curves = series.since(1_019);
    assert_eq!(column(ring(&curves, "10s").unwrap(), "requests").len(), 1);
    assert!(series.since(1_025).is_empty() && series.since(u64::MAX).is_empty());
}

#[test]
fn seconds_without_a_sample_are_gaps() {
    let mut series = Series::new(1_000, at(0));
    series.take(1_001, &at(1));
    series.take(1_004, &at(9));
    series.take(1_004, &at(10));
    series.take(1_002, &at(10));
    let curves = series.since(0);
    assert_eq!(column(&curves[0], "requests"), [Some(1), None, None, Some(8)]);
    assert_eq!((series.second(), series.lately(10)), (1_004, (9, 0)));
    series.take(1_000_000, &at(11));
    assert_eq!(column(&series.since(0)[0], "requests").len(), 300);
}

#[test]
fn rings_are_bounded_and_small() {
    let mut series = Series::new(0, at(0));
    (1..=100_000).for_each(|second| series.take(second, &at(second)));
    let lengths: Vec<_> = series.rings.iter().map(|ring| ring.points.len()).collect();
    assert_eq!(lengths, [300, 360, 1_440]);
    let slots: usize = series.rings.iter().map(|ring| ring.points.capacity()).sum();
    assert!(slots * size_of::<Point>() + size_of::<Series>() < 200_000);
}

#[test]
fn percentiles_lie_in_their_bucket() {
    let mut buckets = [0; LATENCY_BUCKETS];
    assert_eq!(quantile(&buckets, 50), None);
    buckets[0] = 98;
    buckets[3] = 2;
    let (p50, p99) = (quantile(&buckets, 50).unwrap(), quantile(&buckets, 99).unwrap());
    assert!(p50 > Duration::from_micros(45) && p50 < Duration::from_micros(55), "{p50:?}");
    assert_eq!(p99, Duration::from_micros(750));
    let mut slow = [0; LATENCY_BUCKETS];
    slow[LATENCY_BUCKETS - 1] = 1;
    assert_eq!(quantile(&slow, 99), Some(Duration::from_secs(10)));
}

#[test]
fn a_sample_is_made_of_the_counters_that_exist() {
    let metrics = Metrics::new();
    let ms = Duration::from_millis(1);
    metrics.http.route("/a").finished("GET", 200, ms);
    metrics.http.route("/a").finished("POST", 429, ms);
    metrics.http.route("/a").finished("GET", 503, ms);
    metrics.http.route("/left-out").finished("GET", 200, ms);
    metrics.cache.hit("x", "memory");
    metrics.cache.stale("x");
    metrics.cache.miss("x");
    metrics.upstream.duration.observe(ms);
    let sample = metrics.sample(|route| route != "/left-out", 1);
    let wanted = Sample {
        requests: 3,
        client_errors: 1,
        server_errors: 1,
        limited: 1,
        memory: 1,
        miss: 1,
        stale: 1,
        upstream: 1,
        upstream_failed: 1,
        latency: sample.latency,
        ..Sample::default()
    };
    assert_eq!(sample, wanted);
    assert_eq!(sample.latency.iter().sum::<u64>(), 3);
}
