//! Tests of the file beside it.

use proptest::prelude::*;

use super::*;
use crate::clock::monotonic;

const SUB: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const FIVE: Duration = Duration::from_secs(300);

fn window() -> (Window<60>, Instant) {
    let origin = monotonic();
    (Window::new(origin, SUB), origin)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn millis(micros: u64) -> f64 {
    float(micros) / 1_000.0
}

#[test]
fn an_empty_window_is_all_zeros() {
    let (window, origin) = window();
    let stats = window.stats(origin + ms(1), MINUTE);
    assert_eq!((stats.counts.requests, stats.latency_ms), (0, LatencyStats::default()));
    assert!(stats.requests_per_second.abs() < f64::EPSILON);
    assert!(stats.error_rate_percent.abs() < f64::EPSILON);
}

#[test]
fn a_minute_forgets_what_five_minutes_remember() {
    let (mut window, origin) = window();
    window.observe(origin + Duration::from_secs(1), 200, ms(1));
    window.observe(origin + Duration::from_secs(100), 500, ms(1));
    let now = origin + Duration::from_secs(120);
    let (one, five) = (window.stats(now, MINUTE), window.stats(now, FIVE));
    assert_eq!((one.counts.requests, one.counts.server_errors), (1, 1));
    assert_eq!((five.counts.requests, five.counts.server_errors), (2, 1));
    assert!((five.error_rate_percent - 50.0).abs() < 1e-9);
    let later = origin + Duration::from_secs(700);
    assert_eq!(window.stats(later, FIVE).counts.requests, 0);
}

#[test]
fn throughput_is_over_the_time_covered() {
    let (mut window, origin) = window();
    for second in 0..600 {
        for _ in 0..10 {
            window.observe(origin + Duration::from_secs(second), 200, ms(2));
        }
    }
    // One nanosecond before slot 120 begins: the last twelve are full.
    let now = origin + Duration::from_secs(600) - Duration::from_nanos(1);
    let stats = window.stats(now, MINUTE);
    assert_eq!(stats.counts.requests, 600);
    assert!((stats.requests_per_second - 10.0).abs() < 0.01, "{stats:?}");
    assert!((stats.covered_seconds - 60.0).abs() < 0.01, "{stats:?}");
    assert_eq!(window.stats(now, FIVE).counts.requests, 3_000);
}

#[test]
fn a_young_process_does_not_boast() {
    let (mut window, origin) = window();
    window.observe(origin, 200, ms(1));
    let stats = window.stats(origin + ms(2), MINUTE);
    assert!((stats.requests_per_second - 1.0).abs() < 1e-9);
}

#[test]
fn client_errors_are_no_errors_of_ours() {
    let (mut window, origin) = window();
    for status in [200, 304, 404, 429, 503] {
        window.observe(origin, status, ms(1));
    }
    let stats = window.stats(origin, MINUTE);
    assert_eq!((stats.counts.client_errors, stats.counts.server_errors), (2, 1));
    assert!((stats.error_rate_percent - 20.0).abs() < 1e-9);
}

#[test]
fn late_arrivals_count_where_they_belong_unless_they_are_too_late() {
    let (mut window, origin) = window();
    let now = origin + Duration::from_secs(400);
    window.observe(now, 200, ms(1));
    window.observe(now - Duration::from_secs(70), 200, ms(1));
    window.observe(origin, 200, ms(1));
    assert_eq!(window.stats(now, MINUTE).counts.requests, 1);
    assert_eq!(window.stats(now, FIVE).counts.requests, 2);
}

#[test]
fn a_time_before_the_origin_belongs_to_the_first_slot() {
    let (mut window, origin) = window();
    window.observe(origin.checked_sub(ms(5)).unwrap_or(origin), 200, ms(1));
    assert_eq!(window.stats(origin, MINUTE).counts.requests, 1);
}

#[test]
fn latencies_beyond_a_minute_are_capped_and_zero_is_one_microsecond() {
    let (mut window, origin) = window();
    window.observe(origin, 200, Duration::from_secs(86_400));
    let stats = window.stats(origin, MINUTE);
    assert!((59_000.0..=61_000.0).contains(&stats.latency_ms.max), "{stats:?}");
    let mut window = self::window().0;
    window.observe(origin, 200, Duration::ZERO);
    assert!((window.stats(origin, MINUTE).latency_ms.p50 - 0.001).abs() < 1e-9);
}

#[test]
fn memory_is_bounded_by_the_ring() {
    let (mut window, origin) = window();
    for second in 0..100_000 {
        window.observe(origin + Duration::from_secs(second), 200, ms(second % 60_000));
    }
    let kept =
        window.slots.last(u64::MAX, u64::MAX - 1).filter_map(|(_, slot)| slot.latency.as_ref());
    let counters: usize = kept.map(Histogram::distinct_values).sum();
    assert!(counters * size_of::<u32>() < 1_000_000, "{counters} counters");
}

#[test]
fn degenerate_sizes_still_count() {
    let origin = monotonic();
    let mut window = Window::<1>::new(origin, Duration::ZERO);
    window.observe(origin, 200, ms(1));
    assert_eq!(window.stats(origin, Duration::ZERO).counts.requests, 1);
}

proptest! {
    /// Against the definition: the nearest-rank percentile of the sorted latencies.
    #[test]
    fn percentiles_are_within_the_histograms_precision(
        micros in prop::collection::vec(1_u64..60_000_000, 1..400)
    ) {
        let (mut window, origin) = window();
        for (place, value) in (0_u32..).zip(&micros) {
            let at = origin + Duration::from_millis(100) * place;
            window.observe(at, 200, Duration::from_micros(*value));
        }
        let stats = window.stats(origin + Duration::from_secs(50), FIVE).latency_ms;
        let mut sorted = micros;
        sorted.sort_unstable();
        for (percent, got) in [(50, stats.p50), (90, stats.p90), (95, stats.p95), (99, stats.p99), (100, stats.max)] {
            // The histogram multiplies by a float: it may round up to the rank above.
            let rank = (sorted.len() * percent).div_ceil(100);
            let exact = millis(sorted[rank - 1]);
            let above = millis(sorted[rank.min(sorted.len() - 1)]);
            prop_assert!(got >= exact * 0.999_999, "p{percent}: {got} < {exact}");
            prop_assert!(got <= above * 1.01 + 0.001, "p{percent}: {got} > {above} + 1 %");
        }
    }

    /// Against a model that keeps every request.
    #[test]
    fn counts_equal_those_of_a_plain_list(
        gaps in prop::collection::vec((0_u64..20_000, prop::sample::select(vec![200_u16, 404, 500])), 0..200)
    ) {
        let (mut window, origin) = window();
        let mut now = origin;
        let mut all = Vec::new();
        for (gap, status) in gaps {
            now += ms(gap);
            window.observe(now, status, ms(1));
            all.push((now, status));
        }
        for (span, subs) in [(MINUTE, 12), (FIVE, 60)] {
            let current = u32::try_from((now - origin).as_secs() / 5).unwrap();
            let first = origin + SUB * current.saturating_sub(subs - 1);
            let inside: Vec<_> = all.iter().filter(|(at, _)| *at >= first).collect();
            let stats = window.stats(now, span);
            prop_assert_eq!(stats.counts.requests, u64::try_from(inside.len()).unwrap());
            let failed = inside.iter().filter(|(_, status)| *status == 500).count();
            prop_assert_eq!(stats.counts.server_errors, u64::try_from(failed).unwrap());
        }
    }
}

#[test]
fn shares_and_rates() {
    let same = |left: f64, right: f64| (left - right).abs() < 1e-9;
    assert!(same(percent(0, 0), 0.0));
    assert!(same(percent(1, 4), 25.0));
    assert!(same(per_second(30, MINUTE), 0.5));
    assert!(same(per_second(3, ms(1)), 3.0));
}
