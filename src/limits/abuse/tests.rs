//! The patterns as a whole: who is flagged, who is not, for how long, in how much memory.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::limits::client::KeyId;

/// Keys may ask a hundred times a minute.
fn limits(mode: AbuseMode) -> Limits {
    Limits { search_per_key_per_minute: 100, abuse_detection: Some(mode), ..Limits::default() }
}

/// The watch and its time.
struct TestWatch {
    abuse: Abuse,
    now: Instant,
}

impl TestWatch {
    fn new(mode: AbuseMode) -> Self {
        Self::of(&limits(mode))
    }

    fn of(limits: &Limits) -> Self {
        let now = crate::clock::monotonic();
        Self { abuse: Abuse::new(limits, now), now }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// What becomes of one request.
    fn ask(&self, who: Principal, seen: &Seen<'_>) -> Fate {
        self.ask_with(None, who, seen)
    }

    /// The same with a limit of the key's own.
    fn ask_with(&self, own: Option<NonZeroU32>, who: Principal, seen: &Seen<'_>) -> Fate {
        match self.abuse.check(Asking { principal: who, own, exempt: false }, self.now) {
            AbuseCheck::Watched(watched) => match self.abuse.observe(watched, seen, self.now) {
                Some(flagged) if flagged.refused => Fate::Flagged(flagged),
                Some(_) | None => Fate::Served,
            },
            AbuseCheck::Unwatched | AbuseCheck::Shadowed => Fate::Served,
            AbuseCheck::Throttled(wait, _) => Fate::Throttled(wait),
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
    Seen { query: Some(query), ..Seen::default() }
}

fn page(number: u32) -> Seen<'static> {
    Seen { page: Some(Page { of: 7, number }), ..query(number.into()) }
}

/// Requests for one product each.
fn products(ids: &[u64]) -> impl Iterator<Item = Seen<'_>> {
    ids.chunks(1).map(|ids| Seen { ids, ..query(ids[0]) })
}

#[test]
fn the_same_query_twenty_one_times_in_a_minute() {
    let watch = TestWatch::new(AbuseMode::On);
    let all = std::iter::repeat_n(query(5), 30);
    assert_eq!(watch.first_refused(client(1), all), Some(21));
    assert!(watch.serves(client(2), &query(5)), "another asks the same");
    assert!(watch.serves(client(1), &query(6)), "only that query is throttled");
    let Fate::Flagged(again) = watch.ask(client(1), &query(5)) else { panic!("not throttled") };
    assert_eq!((again.throttled_for, again.fresh), (Duration::from_secs(30), false));
    let status = watch.abuse.status(watch.now);
    assert_eq!((status.offenders[0].pattern, status.throttled_now), (Pattern::RepeatedQuery, 1));
    assert_eq!(status.offenders[0].principal, "0.0.0.1");
}

#[test]
fn twenty_a_minute_for_an_hour_are_honest() {
    let mut watch = TestWatch::new(AbuseMode::On);
    for _ in 0..1_200 {
        assert!(watch.serves(client(1), &query(5)));
        watch.wait(Duration::from_secs(3));
    }
}

#[test]
fn ids_up_down_with_gaps_and_in_one_request() {
    let watch = TestWatch::new(AbuseMode::On);
    let up: Vec<u64> = (0..40).map(|n| 3_256_812_497_109_248 + n).collect();
    let down: Vec<u64> = up.iter().rev().copied().collect();
    let gaps: Vec<u64> = (0..40).map(|n| 900_000 - 7 * n - n % 3).collect();
    let strides: Vec<u64> = (0..40).map(|n| 900_000 + 1_000 * n).collect();
    for (number, ids) in (1..).zip([&up, &down, &gaps, &strides]) {
        let refused = watch.first_refused(client(number), products(ids));
        assert_eq!(refused, Some(21), "{ids:?}");
    }
    let bulk = |ids| Seen { ids, ..query(1) };
    assert!(watch.serves(client(9), &bulk(&up[..20])), "a whole request is no scan");
    assert!(!watch.serves(client(9), &bulk(&up[20..])), "two are");
    let more: Vec<u64> = (1_000..1_051).collect();
    assert!(watch.serves(client(10), &bulk(&more[..50])), "also one that may list more");
    assert!(!watch.serves(client(10), &bulk(&more[50..])), "but not what continues it");
}

#[test]
fn who_reads_on_from_product_to_product_is_no_scanner() {
    for (step, seconds) in [(1, 50), (1, 10), (-3, 6), (1_000, 4)] {
        let mut watch = TestWatch::new(AbuseMode::On);
        for number in 0..150 {
            let id = 3_256_812_497_109_248_i64 + number * step;
            let ids = [u64::try_from(id).unwrap()];
            let seen = Seen { ids: &ids, ..query(ids[0]) };
            assert!(watch.serves(client(1), &seen), "{number} of {seconds} s");
            watch.wait(Duration::from_secs(seconds));
        }
    }
}

#[test]
fn products_and_categories_are_two_rows() {
    let watch = TestWatch::new(AbuseMode::On);
    let ids: Vec<u64> = (1..=40).collect();
    let row = |named| ids.chunks(1).map(move |ids| Seen { query: None, page: None, ids, named });
    let both = row(Named::Items).zip(row(Named::Groups)).take(20);
    let both = both.flat_map(|(one, other)| [one, other]);
    assert_eq!(watch.first_refused(client(1), both), None);
    assert!(!watch.serves(client(1), &row(Named::Groups).nth(20).unwrap()));
    let menu = [2, 6, 9, 2, 44, 66, 6].map(|id| [id]);
    let menu = menu.iter().cycle().take(700);
    let menu = menu.map(|ids| Seen { query: None, page: None, ids, named: Named::Groups });
    assert_eq!(watch.first_refused(client(2), menu), None, "a menu is loaded again and again");
}

#[test]
fn twenty_two_pages_of_a_search() {
    let watch = TestWatch::new(AbuseMode::On);
    assert_eq!(watch.first_refused(client(1), (1..40).map(page)), Some(22));
    assert_eq!(watch.first_refused(client(2), (100..140).rev().map(page)), Some(21));
    let honest = [1, 2, 1, 2, 3, 2, 1].into_iter().cycle().map(page);
    let honest = honest.scan(0, |n, seen| {
        *n += 1;
        // What is asked changes, so that only the pages could be a pattern.
        Some(Seen { query: Some(*n), ..seen })
    });
    assert_eq!(watch.first_refused(client(3), honest.take(200)), None);
}

#[test]
fn a_patient_reader_is_no_scanner() {
    let mut watch = TestWatch::new(AbuseMode::On);
    for number in 1..200 {
        assert!(watch.serves(client(1), &page(number)), "page {number}");
        watch.wait(Duration::from_secs(3));
    }
}

#[test]
fn the_throttle_doubles_and_who_waits_is_served() {
    let mut watch = TestWatch::new(AbuseMode::On);
    for (round, seconds) in (1..).zip([30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]) {
        // Twenty of a query, which must not count afterwards.
        for _ in 0..20 {
            assert!(watch.serves(client(1), &query(1)), "round {round}");
        }
        let ids: Vec<u64> = (1_000..1_021).collect();
        let last = products(&ids).map(|seen| watch.ask(client(1), &seen)).last();
        let Some(Fate::Flagged(flagged)) = last else { panic!("round {round}: {last:?}") };
        assert_eq!((flagged.throttled_for.as_secs(), flagged.flags), (seconds, round));
        watch.wait(flagged.throttled_for - Duration::from_millis(1));
        assert_eq!(
            watch.ask(client(1), &query(1)),
            Fate::Throttled(Duration::from_millis(1)),
            "hammering prolongs nothing"
        );
        watch.wait(Duration::from_millis(1));
    }
    watch.wait(Duration::from_secs(3_600));
    let ids: Vec<u64> = (1_000..1_030).collect();
    assert_eq!(watch.first_refused(client(1), products(&ids)), Some(21));
    let status = watch.abuse.status(watch.now);
    assert_eq!((status.offenders[0].flags, status.offenders[0].throttled_for_seconds), (1, 30));
}

#[test]
fn a_repeated_query_waits_as_long_each_time() {
    let mut watch = TestWatch::new(AbuseMode::On);
    for round in 1..5 {
        let last = (0..21).map(|_| watch.ask(client(1), &query(2))).last();
        let Some(Fate::Flagged(flagged)) = last else { panic!("round {round}: {last:?}") };
        assert_eq!((flagged.throttled_for.as_secs(), flagged.flags), (30, round));
        watch.wait(flagged.throttled_for);
    }
}

#[test]
fn holders_of_keys_are_judged_apart_and_by_their_limits() {
    let watch = TestWatch::new(AbuseMode::On);
    let same = || std::iter::repeat_n(query(5), 60);
    assert_eq!(watch.first_refused(key(1), same()), Some(51), "half of a hundred");
    assert_eq!(watch.first_refused(client(1), same()), Some(21));
    assert!(watch.serves(key(2), &query(5)));
    let up: Vec<u64> = (1_000..1_060).collect();
    assert_eq!(watch.first_refused(key(3), products(&up)), Some(51));
    assert_eq!(watch.first_refused(key(4), (1..60).map(page)), Some(52));
}

#[test]
fn the_limit_of_a_key_is_its_own_or_that_of_all() {
    let first = |watch: &TestWatch, number, own| {
        let own = NonZeroU32::new(own);
        let served = |_: &usize| watch.ask_with(own, key(number), &query(5)) == Fate::Served;
        (1_usize..).take_while(served).take(1_000).count()
    };
    let watch = TestWatch::new(AbuseMode::On);
    assert_eq!(first(&watch, 1, 400), 200);
    assert_eq!(first(&watch, 2, 10), 20, "never less than one without a key");
    assert_eq!(first(&watch, 3, 0), 50);
    let mut limits = limits(AbuseMode::On);
    limits.search_per_key_per_minute = 0;
    let unlimited = TestWatch::of(&limits);
    assert_eq!(first(&unlimited, 1, 0), 1_000, "no share of what has no end");
    assert_eq!(first(&unlimited, 2, 100), 50);
}

#[test]
fn who_hides_waits_all_the_same() {
    let mut watch = TestWatch::new(AbuseMode::On);
    let ids: Vec<u64> = (1_000..1_030).collect();
    let wait = |watch: &TestWatch, number, query| {
        watch.abuse.wait_of(client(number), query, watch.now).map(|(wait, _)| wait.as_secs())
    };
    watch.first_refused(client(1), std::iter::repeat_n(query(5), 30));
    assert_eq!((wait(&watch, 1, Some(5)), wait(&watch, 1, Some(6))), (Some(30), None));
    assert_eq!((wait(&watch, 1, None), wait(&watch, 2, Some(5))), (None, None));
    watch.first_refused(client(1), products(&ids));
    watch.wait(Duration::from_secs(10));
    assert_eq!(wait(&watch, 1, None), Some(20));
    watch.wait(Duration::from_secs(20));
    assert_eq!((wait(&watch, 1, None), wait(&watch, 1, Some(5))), (None, None));
    let shadow = TestWatch::new(AbuseMode::Shadow);
    shadow.first_refused(client(1), std::iter::repeat_n(query(5), 30));
    assert_eq!(wait(&shadow, 1, Some(5)), None);
}

#[test]
fn the_exempt_are_not_watched_and_off_is_off() {
    let watch = TestWatch::new(AbuseMode::On);
    for _ in 0..100 {
        let exempt = Asking { principal: client(1), own: None, exempt: true };
        assert_eq!(watch.abuse.check(exempt, watch.now), AbuseCheck::Unwatched);
    }
    let off = TestWatch::new(AbuseMode::Off);
    let asking = Asking { principal: client(1), own: None, exempt: false };
    assert_eq!(off.abuse.check(asking, off.now), AbuseCheck::Unwatched);
}

#[test]
fn shadows_are_counted_and_never_refused() {
    let watch = TestWatch::new(AbuseMode::Shadow);
    for _ in 0..100 {
        assert!(watch.serves(client(1), &query(5)));
    }
    let status = watch.abuse.status(watch.now);
    assert_eq!((status.mode, status.offenders[0].flags, status.refused), ("shadow", 1, 80));
    assert_eq!((status.throttled_now, status.offenders[0].refused), (1, 79));
}

#[test]
fn a_flood_of_strangers_takes_no_more_than_was_said_and_hides_nobody() {
    // A sixteenth of the tables and of a million clients, within the same minute.
    const FRACTION: usize = 16;
    const CLIENTS: u32 = 62_500;
    const EVERY: u32 = CLIENTS / 30;
    let now = crate::clock::monotonic();
    let mut watch = TestWatch { abuse: Abuse::sized(&limits(AbuseMode::On), now, FRACTION), now };
    let empty = watch.abuse.status(now);
    let mut first = None;
    for number in 0..CLIENTS {
        let ids = [u64::from(number) * 1_000];
        let page = Some(Page { of: 7, number: 2 });
        let seen = Seen { page, ids: &ids, ..query(5) };
        assert!(watch.serves(client(number), &seen));
        if number % EVERY == 0 && !watch.serves(client(u32::MAX), &query(9)) {
            first = first.or(Some(number / EVERY + 1));
        }
        watch.now += Duration::from_secs(60) / CLIENTS;
    }
    let full = watch.abuse.status(watch.now);
    assert_eq!(first, Some(21), "the one who asks every two seconds among them");
    assert_eq!(empty.bytes, 0);
    assert!(full.bytes < (64 << 20) / FRACTION, "{full:?}");
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
        let mut watch = TestWatch::new(AbuseMode::On);
        for (query, ids, number) in requests {
            let page = number.map(|number| Page { of: 7, number });
            // One id at most: several in one request are several visits.
            let ids = ids.get(..ids.len().min(1)).unwrap();
            let seen = Seen { page, ids, ..self::query(query) };
            watch.wait(Duration::from_secs(3));
            prop_assert!(watch.serves(client(1), &seen));
        }
    }

    #[test]
    fn a_repeated_query_among_others_is_always_found(
        others in prop::collection::vec(prop::collection::vec(10_u64.., 0..5), 25),
    ) {
        let watch = TestWatch::new(AbuseMode::On);
        let mut refused = None;
        for (place, others) in (1..).zip(others) {
            for other in others {
                watch.ask(client(1), &query(other));
            }
            if refused.is_none() && !watch.serves(client(1), &query(1)) {
                refused = Some(place);
            }
        }
        prop_assert_eq!(refused, Some(21));
    }

    #[test]
    fn who_obeys_is_served(queries in prop::collection::vec(0..3_u64, 1..300)) {
        let mut watch = TestWatch::new(AbuseMode::On);
        for asked in queries {
            let wait = match watch.ask(client(1), &query(asked)) {
                Fate::Served => continue,
                Fate::Flagged(flagged) => flagged.throttled_for,
                Fate::Throttled(wait) => wait,
            };
            watch.wait(wait);
            prop_assert!(watch.serves(client(1), &query(asked)));
        }
    }
}
