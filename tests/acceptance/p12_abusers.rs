//! P12: abusers mixed with honest users.
//!
//! Holds when every abuser (the same query again and again, ids up, down and with gaps, page after
//! page; each with other requests in between) is throttled within 25 requests of his pattern and
//! stays so, and no honest user is refused once: neither those with addresses of their own, who search, turn
//! pages and open products, nor those with a key at the address of an abuser. The watch's own time a
//! request is printed.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use breakwater::clock::monotonic;
use breakwater::limits::abuse::{Abuse, AbuseCheck, Asking, Page, Seen};
use breakwater::limits::{AbuseMode, Limits, Principal};

use crate::figures::Table;
use crate::fixture::{Fixture, metric};
use crate::flood::{address_of, client};
use crate::support::http::Connection;

const KEY: &str = "acceptance-client-key";
const HONEST: u32 = 60;
/// Searches of an honest user, each with what follows it.
const SEARCHES: u32 = 4;
const WITHIN: u32 = 25;
/// What an abuser asks after that, in vain.
const AFTERWARDS: u32 = 10;
/// Between two requests of an abuser.
const ABUSERS_PAUSE: Duration = Duration::from_millis(250);
/// The most between two requests of an honest user.
const HONEST_PAUSE_MS: u64 = 3_000;
const WORDS: [&str; 8] = ["phone", "usb", "lamp", "watch", "earbuds", "case", "cable", "bag"];

/// A pattern: the path of its n-th request.
type Pattern = (&'static str, fn(u64) -> String);

const FIRST_ID: u64 = 3_256_812_497_100_000;
const PATTERNS: [Pattern; 6] = [
    ("same query", |_| "/api/products/search?keywords=phone".to_owned()),
    ("ids up", |n| details(FIRST_ID + n)),
    ("ids down", |n| details(FIRST_ID - n)),
    ("ids with gaps", |n| details(FIRST_ID + 7 * n + n % 3)),
    ("ids by the hundred", |n| details(FIRST_ID + 100 * n)),
    ("pages", |n| format!("/api/products/search?keywords=phone&page_size=1&page_no={}", n + 1)),
];

fn details(id: u64) -> String {
    format!("/api/products/details/{id}")
}

#[test]
fn p12_abusers_among_the_honest() {
    let fixture = Fixture::set();
    let gateway = fixture
        .plan()
        .with("RATE_LIMIT_ENABLED", "true")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .with("INTERNAL_API_KEY", KEY)
        .start();
    let address = gateway.address;
    let (caught, honest) = std::thread::scope(|scope| {
        let abusers: Vec<_> = (0..)
            .zip(PATTERNS)
            .map(|(number, pattern)| scope.spawn(move || abuse(address, number, pattern)))
            .collect();
        let honest: Vec<_> = (0..HONEST)
            .map(|number| scope.spawn(move || browse(&mut honest_user(address, number), number)))
            .collect();
        let caught: Vec<_> = abusers.into_iter().map(|one| one.join().unwrap()).collect();
        let honest: Vec<_> = honest.into_iter().map(|one| one.join().unwrap()).collect();
        (caught, honest)
    });
    let found = metric(&gateway, "rate_limit_abuse_detected_total", "");
    gateway.stop();
    fixture.end();

    let title = format!("P12: {} abusers among {HONEST} honest users", PATTERNS.len());
    let mut table = Table::new(title, &["pattern", "throttled at", "served after"]);
    for ((name, _), (at, served)) in PATTERNS.iter().zip(&caught) {
        table.row([(*name).to_owned(), at.to_string(), served.to_string()]);
    }
    table.print();
    let asked: u32 = honest.iter().map(|one| one.0).sum();
    let refused: u32 = honest.iter().map(|one| one.1).sum();
    println!("  honest requests: {asked}, refused: {refused}; abusers found: {found}");
    assert!(caught.iter().all(|caught| caught.0 <= WITHIN && caught.1 == 0), "{caught:?}");
    assert_eq!(refused, 0, "honest users are never refused");
    assert!((found - 6.0).abs() < 0.1, "every abuser once, and nobody else: {found}");
}

/// Goes on in a pattern; returns at which of its requests it was throttled, and how many were
/// served after that.
fn abuse(gateway: SocketAddr, number: u32, (name, path_of): Pattern) -> (u32, u32) {
    let mut connection = client(gateway, address_of(number));
    let mut throttled_at = None;
    let mut served = 0;
    for (asked, n) in (1..=WITHIN + AFTERWARDS).zip(0..) {
        // Something else now and then, within the bounds of the limits.
        if asked % 3 == 0 && throttled_at.is_none() {
            drop(connection.get(&format!("/api/products/search?keywords=lamp&page_size={asked}")));
        }
        let answer = connection.get(&path_of(n)).expect("it answers");
        match (answer.status, throttled_at) {
            (429, None) => {
                assert_eq!(answer.json()["code"], "abuse_throttled", "{name}");
                assert_eq!(answer.header("retry-after"), Some("30"), "{name}");
                throttled_at = Some(asked);
            }
            (429, Some(_)) | (_, None) => {}
            (_, Some(_)) => served += 1,
        }
        std::thread::sleep(ABUSERS_PAUSE);
    }
    (throttled_at.unwrap_or(u32::MAX), served)
}

/// The first few have a key and sit where the abusers do.
fn honest_user(gateway: SocketAddr, number: u32) -> Connection {
    if number < 6 {
        client(gateway, address_of(number)).with_header("x-internal-key", KEY)
    } else {
        client(gateway, address_of(1_000 + number))
    }
}

/// Searches, turns pages, opens products, comes back; returns how often it asked and was refused.
fn browse(connection: &mut Connection, number: u32) -> (u32, u32) {
    let mut chance = fastrand::Rng::with_seed(number.into());
    let (mut asked, mut refused) = (0, 0);
    let mut ask = |path: &str, chance: &mut fastrand::Rng| {
        std::thread::sleep(Duration::from_millis(chance.u64(..HONEST_PAUSE_MS)));
        let answer = connection.get(path).expect("it answers");
        asked += 1;
        if answer.status != 200 {
            println!("  honest user {number}: {path}: {} {}", answer.status, answer.text());
            refused += 1;
        }
        answer.json()
    };
    for _ in 0..SEARCHES {
        let word = chance.choice(WORDS).unwrap();
        for page in 1..=3 {
            let path = format!("/api/products/search?keywords={word}&page_size=5&page_no={page}");
            let found = ask(&path, &mut chance);
            let ids = found["data"]["products"].as_array().cloned().unwrap_or_default();
            let ids = ids.iter().filter_map(|product| product["product_id"].as_str());
            for id in ids.take(2) {
                ask(&format!("/api/products/details/{id}"), &mut chance);
            }
        }
    }
    (asked, refused)
}

#[test]
fn p12_what_watching_costs() {
    let limits = Limits { abuse_detection: Some(AbuseMode::Shadow), ..Limits::default() };
    let now = monotonic();
    let mut table = Table::new("P12: the watch's time a request", &["", "ns"]);
    let client = |number: u32| {
        let principal = Principal::of_address(address_of(number).into(), 64);
        Asking { principal, own: None, exempt: false }
    };
    for (name, page_no, ids, flagged) in [
        ("search, nobody throttled", 1, &[][..], false),
        ("second page, nobody throttled", 2, &[][..], false),
        ("product, nobody throttled", 1, &[77_u64][..], false),
        ("search, somebody throttled", 1, &[][..], true),
    ] {
        let abuse = Abuse::new(&limits, now);
        if flagged {
            let AbuseCheck::Watched(watched) = abuse.check(client(5_000), now) else {
                panic!("watched")
            };
            for _ in 0..=20 {
                black_box(abuse.observe(watched, &Seen { query: Some(1), ..Seen::default() }, now));
            }
        }
        const ROUNDS: u32 = 1_000_000;
        let began = monotonic();
        for number in 0..ROUNDS {
            let now = now + Duration::from_micros(20) * number;
            if let AbuseCheck::Watched(watched) = abuse.check(client(number % 1_000), now) {
                let query = u64::from(number / 10_000);
                let page = Some(Page { of: query, number: page_no });
                let seen = Seen { query: Some(query), page, ids, ..Seen::default() };
                black_box(abuse.observe(watched, &seen, now).is_some());
            }
        }
        let took = (monotonic() - began).as_nanos() / u128::from(ROUNDS);
        table.row([name.to_owned(), took.to_string()]);
        assert!(took < 5_000, "{name}: {took} ns");
    }
    table.print();
}
