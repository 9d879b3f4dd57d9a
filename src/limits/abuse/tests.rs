//! The patterns as a whole: who is flagged, who is not, for how long, in how much memory.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::limits::principal::KeyId;

const SETTINGS: AbuseSettings =
    AbuseSettings { mode: AbuseMode::On, repeats_per_minute: 20, sequence: 20, pages: 20 };

/// The watch and its time.
struct Stand {
    abuse: Abuse,
    now: Instant,
}

impl Stand {
    fn new(mode: AbuseMode) -> Self {
        let now = crate::clock::monotonic();
        Self { abuse: Abuse::new(AbuseSettings { mode, ..SETTINGS }, now), now }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// What becomes of one request.
    fn ask(&self, who: Principal, seen: &Seen<'_>) -> Fate {
        match self.abuse.gate(who, false, self.now) {
            Gate::Watched(watched) => match self.abuse.observe(watched, seen, self.now) {
                Some(flagged) if flagged.refused => Fate::Flagged(flagged),
                Some(_) | None => Fate::Served,
            },
            Gate::Unwatched | Gate::Shadowed => Fate::Served,
            Gate::Throttled(wait) => Fate::Throttled(wait),
        }
    }

    fn serves(&self, who: Principal, seen: &Seen<'_>) -> bool {
        matches!(self.ask(who, seen), Fate::Served)
    }

    /// The first of these requests that was not served, counted from 1.
    fn first_refused<'a>(
        &self,
        who: Principal,
        all: impl IntoIterator<Item = Seen<'a>>,
    ) -> Option<usize> {
        all.into_iter().position(|seen| !self.serves(who, &seen)).map(|place| place + 1)
    }
}

#[derive(Debug, PartialEq)]
enum Fate {
    Served,
    Flagged(Flagged),
    Throttled(Duration),
}

fn client(number: u32) -> Principal {
    Principal::of_address(Ipv4Addr::from_bits(number).into(), 64)
}

fn key(number: u64) -> Principal {
    Principal::Key(KeyId::new(number))
}

fn query(query: u64) -> Seen<'static> {
    Seen { query, ..Seen::default() }
}

fn page(number: u32) -> Seen<'static> {
    Seen { query: number.into(), page: Some(Page { of: 7, number }), products: &[] }
}

/// Requests for one product each.
fn products(ids: &[u64]) -> impl Iterator<Item = Seen<'_>> {
    ids.chunks(1).map(|id| Seen { query: id[0], page: None, products: id })
}

#[test]
fn the_same_query_twenty_one_times_in_a_minute() {
    let stand = Stand::new(AbuseMode::On);
    let all = std::iter::repeat_n(query(5), 30);
    assert_eq!(stand.first_refused(client(1), all), Some(21));
    assert!(stand.serves(client(2), &query(5)), "another asks the same");
    let Fate::Throttled(wait) = stand.ask(client(1), &query(6)) else { panic!("not throttled") };
    assert_eq!(wait, Duration::from_secs(30));
    let status = stand.abuse.status(stand.now);
    assert_eq!((status.flagged.repeated_query, status.throttled_now), (1, 1));
    assert_eq!(status.offenders[0].principal, "0.0.0.1");
}

#[test]
fn twenty_a_minute_for_an_hour_are_honest() {
    let mut stand = Stand::new(AbuseMode::On);
    for _ in 0..1_200 {
        assert!(stand.serves(client(1), &query(5)));
        stand.wait(Duration::from_secs(3));
    }
}

#[test]
fn ids_up_down_with_gaps_and_in_one_request() {
    let stand = Stand::new(AbuseMode::On);
    let up: Vec<u64> = (0..40).map(|n| 3_256_812_497_109_248 + n).collect();
    let down: Vec<u64> = up.iter().rev().copied().collect();
    let gaps: Vec<u64> = (0..40).map(|n| 900_000 - 7 * n - n % 3).collect();
    let strides: Vec<u64> = (0..40).map(|n| 900_000 + 1_000 * n).collect();
    for (number, ids) in (1..).zip([&up, &down, &gaps, &strides]) {
        let refused = stand.first_refused(client(number), products(ids));
        assert_eq!(refused, Some(21), "{ids:?}");
    }
    let bulk = |ids| Seen { query: 1, page: None, products: ids };
    assert!(stand.serves(client(9), &bulk(&up[..20])), "a whole request is no scan");
    assert!(!stand.serves(client(9), &bulk(&up[20..])), "two are");
}

#[test]
fn twenty_two_pages_of_a_search() {
    let stand = Stand::new(AbuseMode::On);
    assert_eq!(stand.first_refused(client(1), (1..40).map(page)), Some(22));
    assert_eq!(stand.first_refused(client(2), (100..140).rev().map(page)), Some(21));
    let honest = [1, 2, 1, 2, 3, 2, 1].into_iter().cycle().map(page);
    let honest = honest.scan(0, |n, seen| {
        *n += 1;
        // What is asked changes, so that only the pages could be a pattern.
        Some(Seen { query: *n, ..seen })
    });
    assert_eq!(stand.first_refused(client(3), honest.take(200)), None);
}

#[test]
fn a_patient_reader_is_no_scanner() {
    let mut stand = Stand::new(AbuseMode::On);
    for number in 1..200 {
        assert!(stand.serves(client(1), &page(number)), "page {number}");
        stand.wait(Duration::from_secs(3));
    }
}

#[test]
fn the_throttle_doubles_and_who_waits_is_served() {
    let mut stand = Stand::new(AbuseMode::On);
    for (round, seconds) in (1..).zip([30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]) {
        // Twenty of another query, which must not count afterwards.
        for _ in 0..20 {
            assert!(stand.serves(client(1), &query(1)), "round {round}");
        }
        let last = (0..21).map(|_| stand.ask(client(1), &query(2))).last();
        let Some(Fate::Flagged(flagged)) = last else { panic!("round {round}: {last:?}") };
        assert_eq!((flagged.throttled_for.as_secs(), flagged.flags), (seconds, round));
        stand.wait(flagged.throttled_for - Duration::from_millis(1));
        assert_eq!(
            stand.ask(client(1), &query(1)),
            Fate::Throttled(Duration::from_millis(1)),
            "hammering prolongs nothing"
        );
        stand.wait(Duration::from_millis(1));
    }
    stand.wait(Duration::from_secs(3_600));
    assert_eq!(stand.first_refused(client(1), std::iter::repeat_n(query(2), 30)), Some(21));
    let status = stand.abuse.status(stand.now);
    assert_eq!((status.offenders[0].flags, status.offenders[0].throttled_for_seconds), (1, 30));
}

#[test]
fn holders_of_keys_are_judged_apart() {
    let stand = Stand::new(AbuseMode::On);
    let same = || std::iter::repeat_n(query(5), 30);
    assert_eq!(stand.first_refused(key(1), same()), Some(21));
    assert_eq!(stand.first_refused(client(1), same()), Some(21));
    assert!(stand.serves(key(2), &query(5)));
}

#[test]
fn the_exempt_are_not_watched_and_off_is_off() {
    let stand = Stand::new(AbuseMode::On);
    for _ in 0..100 {
        assert_eq!(stand.abuse.gate(client(1), true, stand.now), Gate::Unwatched);
    }
    let off = Stand::new(AbuseMode::Off);
    assert_eq!(off.abuse.gate(client(1), false, off.now), Gate::Unwatched);
}

#[test]
fn a_pattern_that_is_not_looked_for() {
    let now = crate::clock::monotonic();
    let settings = AbuseSettings { repeats_per_minute: 0, sequence: 0, pages: 0, ..SETTINGS };
    let stand = Stand { abuse: Abuse::new(settings, now), now };
    let all = (1..100).map(|number| Seen { products: &[1, 2, 3], ..page(number) });
    assert_eq!(stand.first_refused(client(1), all), None);
}

#[test]
fn shadows_are_counted_and_never_refused() {
    let stand = Stand::new(AbuseMode::Shadow);
    for _ in 0..100 {
        assert!(stand.serves(client(1), &query(5)));
    }
    let status = stand.abuse.status(stand.now);
    assert_eq!((status.mode, status.flagged.repeated_query, status.refused), ("shadow", 1, 80));
    assert_eq!((status.throttled_now, status.offenders[0].refused), (1, 79));
}

#[test]
fn a_flood_of_strangers_takes_no_more_than_was_said_and_hides_nobody() {
    // A sixteenth of the tables and of a million clients, within the same minute.
    const FRACTION: usize = 16;
    const CLIENTS: u32 = 62_500;
    const EVERY: u32 = CLIENTS / 30;
    let now = crate::clock::monotonic();
    let mut stand = Stand { abuse: Abuse::sized(SETTINGS, now, FRACTION), now };
    let empty = stand.abuse.status(now);
    let mut first = None;
    for number in 0..CLIENTS {
        let ids = [u64::from(number) * 1_000];
        let seen = Seen { query: 5, page: Some(Page { of: 7, number: 2 }), products: &ids };
        assert!(stand.serves(client(number), &seen));
        if number % EVERY == 0 && !stand.serves(key(1), &query(9)) {
            first = first.or(Some(number / EVERY + 1));
        }
        stand.now += Duration::from_secs(60) / CLIENTS;
    }
    let full = stand.abuse.status(stand.now);
    assert_eq!(first, Some(21), "the one who asks every two seconds among them");
    assert!(empty.bytes * 20 < full.most_bytes, "{empty:?}");
    assert!(full.bytes <= full.most_bytes && full.most_bytes < (28 << 20) / FRACTION, "{full:?}");
    assert_eq!(full.turned_away, 0);
}

fn any_request() -> impl Strategy<Value = (u64, Vec<u64>, Option<u32>)> {
    let ids = prop::collection::vec(0..50_u64, 0..4);
    (0..6_u64, ids, prop::option::of(1..30_u32))
}

proptest! {
    #[test]
    fn twenty_requests_a_minute_are_never_abuse(
        requests in prop::collection::vec(any_request(), 1..200),
    ) {
        let mut stand = Stand::new(AbuseMode::On);
        for (query, ids, number) in requests {
            let page = number.map(|number| Page { of: 7, number });
            // One id at most: several in one request are several visits.
            let seen = Seen { query, page, products: ids.get(..ids.len().min(1)).unwrap() };
            stand.wait(Duration::from_secs(3));
            let fate = stand.ask(client(1), &seen);
            if let Fate::Flagged(flagged) = fate {
                // Ids in a row may be slower than that, as long as they rest less than a minute.
                prop_assert_eq!(flagged.pattern, Pattern::SequentialIds);
                return Ok(());
            }
        }
    }

    #[test]
    fn a_repeated_query_among_others_is_always_found(
        others in prop::collection::vec(prop::collection::vec(10_u64.., 0..5), 25),
    ) {
        let stand = Stand::new(AbuseMode::On);
        let mut refused = None;
        for (place, others) in (1..).zip(others) {
            for other in others {
                stand.ask(client(1), &query(other));
            }
            if refused.is_none() && !stand.serves(client(1), &query(1)) {
                refused = Some(place);
            }
        }
        prop_assert_eq!(refused, Some(21));
    }

    #[test]
    fn who_obeys_is_served(queries in prop::collection::vec(0..3_u64, 1..300)) {
        let mut stand = Stand::new(AbuseMode::On);
        for asked in queries {
            let wait = match stand.ask(client(1), &query(asked)) {
                Fate::Served => continue,
                Fate::Flagged(flagged) => flagged.throttled_for,
                Fate::Throttled(wait) => wait,
            };
            stand.wait(wait);
            prop_assert!(stand.serves(client(1), &query(asked)));
        }
    }
}
