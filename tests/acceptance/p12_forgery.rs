//! P12: random forwarding headers from a peer that is not trusted; all addresses of one prefix; a
//! million addresses through a proxy that is trusted.
//!
//! Holds when a limit of 100 searches a minute admits exactly 100, whatever a stranger claims and
//! whichever address of his prefix he takes, and when the memory of the limits and of the watch over
//! abuse has an end that a million addresses do not move, while those who were there before and
//! those with keys are served as ever. What the watch costs a request is printed beside it.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use breakwater::clock::monotonic;

use crate::figures::{Table, mebibytes};
use crate::fixture::{Fixture, page};
use crate::flood::{address_of, client, flood};
use crate::growth::Trace;
use crate::support::gateway::Running;
use crate::support::http::Connection;

const KEY: &str = "acceptance-client-key";
/// What claims to know where a request comes from.
const FORGED: [&str; 5] =
    ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"];
const REQUESTS: u64 = 500;
const LIMIT: u64 = 100;
const ADDRESSES: u32 = 1_000_000;
/// What the accounts and the watch may take together, whatever comes.
const MOST_KIB: u64 = 128 * 1024;
/// What the watch over abuse takes of it at most.
const MOST_WATCH_KIB: u64 = 64 * 1024;

#[test]
fn p12_one_bucket_for_who_forges() {
    let fixture = Fixture::set();
    let limited = fixture.plan().with("RATE_LIMIT_ENABLED", "true").with("ABUSE_DETECTION", "off");
    let mut table = Table::new(
        format!("P12: {REQUESTS} searches, {LIMIT} a minute admitted for one client"),
        &["", "admitted", "refused", "else"],
    );
    let mut chance = fastrand::Rng::with_seed(12);
    // Proxies that are trusted, so that headers are looked at; the stranger is none of them.
    let gateway = limited.clone().with("TRUSTED_PROXIES", "192.0.2.0/24").start();
    let stranger = count(&gateway, |number| {
        let name = FORGED[usize::try_from(number).unwrap() % FORGED.len()];
        let claimed = std::net::Ipv4Addr::from_bits(chance.u32(..));
        let value =
            if name == "forwarded" { format!("for={claimed}") } else { claimed.to_string() };
        gateway.connection().with_header(name, &value)
    });
    gateway.stop();

    // Another gateway, so that the minute of the first is over.
    let gateway = limited.with("TRUSTED_PROXIES", "127.0.0.1").start();
    let base: u128 = 0x2001_0db8_0001_0002 << 64;
    let prefix = count(&gateway, |_| {
        let address = Ipv6Addr::from_bits(base | u128::from(chance.u64(..)));
        client(gateway.address, address)
    });
    gateway.stop();
    fixture.end();

    for (what, [admitted, refused, other]) in
        [("forged headers of a stranger", stranger), ("addresses of one IPv6 prefix", prefix)]
    {
        table.row([what.to_owned(), admitted.to_string(), refused.to_string(), other.to_string()]);
    }
    table.print();
    for counted in [stranger, prefix] {
        assert_eq!(counted, [LIMIT, REQUESTS - LIMIT, 0], "admitted, refused, else");
    }
}

/// Asks on a new connection each time; how many were admitted, refused, and something else.
fn count(gateway: &Running, mut connection: impl FnMut(u64) -> Connection) -> [u64; 3] {
    assert_eq!(gateway.connection().get("/health/live").unwrap().status, 200);
    let mut counted = [0; 3];
    for number in 0..REQUESTS {
        let path = page(12, u32::try_from(number % 20).unwrap());
        let status = connection(number).get(&path).expect("it answers").status;
        let place = [200, 429].iter().position(|known| *known == status).unwrap_or(2);
        counted[place] += 1;
    }
    counted
}

#[test]
fn p12_a_million_addresses() {
    let fixture = Fixture::set();
    let gateway = fixture
        .plan()
        .with("RATE_LIMIT_ENABLED", "true")
        .with("ABUSE_DETECTION", "on")
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .with("INTERNAL_API_KEY", KEY)
        .start();
    let second_page = format!("{}&page_no=2&page_size=1", page(12, 1));
    let warm = gateway.connection().get(&second_page).unwrap().json();
    let id = warm["data"]["products"][0]["product_id"].as_str().expect("a product").to_owned();
    let details = format!("/api/products/details/{id}");
    let path_of =
        |number: u32| if number.is_multiple_of(2) { second_page.clone() } else { details.clone() };
    // What answering takes at all is there before the flood is measured.
    drop(flood(gateway.address, ADDRESSES..ADDRESSES + 20_000, path_of));

    let before = gateway.process.resident_kib();
    let trace = Trace::of(gateway.process.id());
    let (address, over) = (gateway.address, AtomicBool::new(false));
    let began = monotonic();
    let (statuses, half, served) = std::thread::scope(|scope| {
        let honest = scope.spawn(|| honest_meanwhile(address, &over));
        let mut statuses = flood(gateway.address, 0..ADDRESSES / 2, path_of);
        let half = gateway.process.resident_kib();
        for (status, count) in flood(gateway.address, ADDRESSES / 2..ADDRESSES, path_of) {
            *statuses.entry(status).or_default() += count;
        }
        over.store(true, Ordering::Relaxed);
        (statuses, half, honest.join().expect("the honest were served"))
    });
    let took = monotonic() - began;
    let most = trace.stop().resident_kib;
    let status = gateway.admin().get("/admin/rate-limit/status").unwrap().json();
    gateway.stop();
    fixture.end();

    let title = format!("P12: {ADDRESSES} addresses in {} s; resident MiB", took.as_secs());
    let mut table = Table::new(title, &["", "figure"]);
    for (what, kib) in [("before", before), ("after half of them", half), ("the most", most)] {
        table.row([what.to_owned(), mebibytes(kib)]);
    }
    let bytes = |name: &str| status["data"]["abuse"][name].as_u64().unwrap() / 1024;
    table.row(["watch over abuse".to_owned(), mebibytes(bytes("bytes"))]);
    table.row(["accounts, at most".to_owned(), status["data"]["capacity"].to_string()]);
    table.row(["answers by status".to_owned(), format!("{statuses:?}")]);
    table.row(["honest requests meanwhile".to_owned(), served.to_string()]);
    table.print();
    assert!(statuses.keys().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    assert!(served > 0, "somebody honest was there");
    assert!(most.saturating_sub(before) < MOST_KIB, "{before} KiB became {most} KiB");
    assert!(bytes("bytes") <= MOST_WATCH_KIB);
}

/// One known before the flood and one with a key go on asking; returns how often they were served.
fn honest_meanwhile(gateway: SocketAddr, over: &AtomicBool) -> u64 {
    let mut known = client(gateway, address_of(ADDRESSES));
    let mut keyed = client(gateway, address_of(7)).with_header("x-internal-key", KEY);
    let mut served = 0;
    for number in (0..20).cycle() {
        if over.load(Ordering::Relaxed) {
            break;
        }
        for (who, connection) in [("known", &mut known), ("with a key", &mut keyed)] {
            let answer = connection.get(&page(12, number)).expect("it answers");
            assert_eq!(answer.status, 200, "{who}: {}", answer.text());
            served += 1;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    served
}
