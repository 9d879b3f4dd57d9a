//! Tests of the file beside it.

use proptest::prelude::*;

use super::*;
use crate::clock::monotonic;

/// A request for tests: `/a`, 200, one millisecond, from memory.
pub(in crate::metrics) fn seen(id: &str, finished: Instant) -> RequestSeen {
    RequestSeen {
        request_id: id.into(),
        method: "GET",
        route: "/a",
        status: 200,
        duration: Duration::from_millis(1),
        tier: "memory",
        prompt: true,
        finished,
    }
}

fn listing() -> (Observations, Instant) {
    let now = monotonic();
    (Observations::new(now, Timestamp::from_millis(0)), now)
}

#[test]
fn the_newest_come_first_and_the_oldest_go() {
    let (mut recent, now) = listing();
    for number in 0..=RECENT_KEPT {
        recent.observe(&seen(&number.to_string(), now), now, Timestamp::from_millis(7));
    }
    let all = recent.recent(Which::All, usize::MAX);
    assert_eq!(all.len(), RECENT_KEPT);
    assert_eq!(&*all[0].request_id, RECENT_KEPT.to_string());
    assert_eq!(&*all[RECENT_KEPT - 1].request_id, "1");
    assert_eq!(recent.recent(Which::All, 2).len(), 2);
}

#[test]
fn slow_is_at_the_threshold_and_above() {
    let (mut recent, now) = listing();
    for ms in [999, 1_000, 1_001] {
        let duration = Duration::from_millis(ms);
        recent.observe(&RequestSeen { duration, ..seen("x", now) }, now, Timestamp::from_millis(0));
    }
    let slow: Vec<_> =
        recent.recent(Which::Slow, 10).iter().map(|request| request.duration_ms).collect();
    assert_eq!(slow, [1_001.0, 1_000.0]);
    assert_eq!(recent.recent(Which::All, 10).len(), 3);
    recent.reset(now, Timestamp::from_millis(0));
    assert!(recent.recent(Which::All, 10).is_empty() && recent.recent(Which::Slow, 10).is_empty());
}

#[test]
fn slow_requests_outlive_a_flood_of_quick_ones() {
    let (mut recent, now) = listing();
    let duration = Duration::from_secs(2);
    recent.observe(&RequestSeen { duration, ..seen("slow", now) }, now, Timestamp::from_millis(0));
    for _ in 0..10_000 {
        recent.observe(&seen("quick", now), now, Timestamp::from_millis(1));
    }
    assert_eq!(recent.recent(Which::Slow, 10)[0].request_id.as_ref(), "slow");
}

#[test]
fn a_long_id_is_cut_between_characters() {
    let (mut recent, now) = listing();
    recent.observe(&seen(&"ä€".repeat(500), now), now, Timestamp::from_millis(0));
    let id = recent.recent(Which::All, 1)[0].request_id.clone();
    assert!(id.len() <= MAX_ID_BYTES && id.len() > MAX_ID_BYTES - 4);
}

fn table() -> (MonitoringTable, Instant) {
    let now = monotonic();
    (MonitoringTable::new(now, Timestamp::from_millis(0)), now)
}

#[test]
fn a_panic_under_the_lock_loses_nothing_that_was_there() {
    let (table, now) = table();
    table.lock().observe(&seen("kept", now), now, Timestamp::from_millis(0));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _held = table.lock();
        panic!("in the middle");
    }));
    assert!(panicked.is_err());
    table.lock().observe(&seen("next", now), now, Timestamp::from_millis(0));
    assert_eq!(table.lock().recent(Which::All, 10).len(), 2);
    assert!(!table.shared.is_poisoned());
}

#[test]
fn the_latency_of_memory_is_that_of_answers_that_waited_for_nobody() {
    let (table, now) = table();
    let observe = |took, change: fn(&mut RequestSeen)| {
        for _ in 0..ENOUGH {
            let mut seen = RequestSeen { duration: took, ..seen("x", now) };
            change(&mut seen);
            table.lock().observe(&seen, now, Timestamp::from_millis(0));
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
    table.lock().observe(&seen("x", start), now, Timestamp::from_millis(10_000));
    assert_eq!(table.lock().recent(Which::All, 1)[0].finished_ms, 9_850);
}

#[test]
fn endpoints_are_bounded_but_everything_is_in_the_overall_window() {
    let (table, now) = table();
    for number in 0..MAX_ENDPOINTS + 10 {
        let route: &'static str = format!("/{number}").leak();
        let request = RequestSeen { route, ..seen("x", now) };
        table.lock().observe(&request, now, Timestamp::from_millis(0));
    }
    let all = table.lock().summary(now, &[LONGEST_SPAN]);
    assert_eq!(all.endpoints.len(), MAX_ENDPOINTS);
    assert_eq!(all.windows[0].counts.requests, u64::try_from(MAX_ENDPOINTS + 10).unwrap());
}

#[test]
fn what_was_answered_before_a_reset_does_not_come_back_after_it() {
    let (table, start) = table();
    let reset = start + Duration::from_secs(1);
    table.lock().reset(reset, Timestamp::from_millis(1_000));
    table.lock().observe(&seen("late", start), reset, Timestamp::from_millis(1_000));
    assert!(table.lock().recent(Which::All, 9).is_empty());
}

#[test]
fn an_endpoints_rate_is_over_the_whole_window_not_since_its_first_request() {
    let (table, start) = table();
    let now = start + Duration::from_secs(200);
    for _ in 0..100 {
        table.lock().observe(&seen("x", now), now, Timestamp::from_millis(0));
    }
    let summary = table.lock().summary(now, &[]);
    let window = &summary.endpoints[&("/a", "GET")];
    assert!((window.requests_per_second - 0.5).abs() < 1e-9, "{window:?}");
}

#[test]
fn a_reset_keeps_nothing() {
    let (table, now) = table();
    table.lock().observe(&seen("x", now), now, Timestamp::from_millis(0));
    table.lock().reset(now, Timestamp::from_millis(5));
    let all = table.lock();
    let summary = all.summary(now, &[LONGEST_SPAN]);
    assert_eq!(summary.since, Timestamp::from_millis(5));
    assert_eq!(summary.windows[0].counts.requests, 0);
    assert!(all.recent(Which::All, 9).is_empty() && summary.endpoints.is_empty());
}

#[test]
fn the_sixty_fourth_entry_sends_the_batch() {
    let (mut batch, now) = (Batch::default(), monotonic());
    for _ in 1..BATCH_ENTRIES {
        assert!(batch.push(seen("x", now), now).is_none());
    }
    assert_eq!(batch.push(seen("x", now), now).map(|sent| sent.len()), Some(BATCH_ENTRIES));
    assert!(batch.take().is_none());
}

#[test]
fn an_old_batch_is_sent_by_the_next_entry_or_when_asked() {
    let (mut batch, start) = (Batch::default(), monotonic());
    assert!(batch.due(start).is_none());
    assert!(batch.push(seen("a", start), start).is_none());
    let just_before = start + BATCH_AGE - Duration::from_nanos(1);
    assert!(batch.push(seen("b", start), just_before).is_none());
    assert!(batch.due(just_before).is_none());
    assert_eq!(batch.due(start + BATCH_AGE).map(|sent| sent.len()), Some(2));
    assert!(batch.push(seen("c", start), start + BATCH_AGE).is_none());
    assert_eq!(batch.push(seen("d", start), start + BATCH_AGE * 2).map(|sent| sent.len()), Some(2));
}

proptest! {
    #[test]
    fn no_entry_is_lost_doubled_or_kept_too_long(gaps in prop::collection::vec(0_u64..300, 0..400)) {
        let (mut batch, mut now) = (Batch::default(), monotonic());
        let mut sent = Vec::new();
        for (number, gap) in gaps.iter().enumerate() {
            now += Duration::from_millis(*gap);
            if let Some(entries) = batch.push(seen(&number.to_string(), now), now) {
                prop_assert!(entries.len() <= BATCH_ENTRIES);
                sent.extend(entries);
            }
            if let Some(first) = batch.first {
                prop_assert!(now - first < BATCH_AGE);
            }
        }
        sent.extend(batch.take().unwrap_or_default());
        let numbers: Vec<String> = sent.iter().map(|seen| seen.request_id.to_string()).collect();
        let all: Vec<String> = (0..gaps.len()).map(|number| number.to_string()).collect();
        prop_assert_eq!(numbers, all);
    }
}
