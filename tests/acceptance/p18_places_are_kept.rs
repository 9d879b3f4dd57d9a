//! P18: places are kept.
//!
//! Idle connections from twenty addresses fill every place of a process that has few descriptors, and
//! more of them press on. Holds when liveness, the admin and new clients are served at once, from this host
//! and from elsewhere, and memory has an end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use breakwater::clock::monotonic;
use socket2::{Domain, Socket, Type};

use crate::figures::{Table, mebibytes};
use crate::fixture::{Fixture, page};
use crate::support::gateway::Running;
use crate::support::http::Connection;

/// More than the descriptors of a usual shell leave to clients, and than fits beside them.
const IDLE: u32 = 20_400;
const ADDRESSES: u32 = 20;
const ROUNDS: u32 = 50;
/// Nobody waits for a place.
const AT_ONCE: Duration = Duration::from_secs(2);
const MOST_KIB: u64 = 512 * 1024;

#[test]
fn p18_places_are_kept() {
    let fixture = Fixture::set();
    let plan = fixture.plan().with("RATE_LIMIT_ENABLED", "true").with("ABUSE_DETECTION", "off");
    let gateway = plan.start();
    assert_eq!(gateway.connection().get(&page(18, 0)).unwrap().status, 200);
    let before = gateway.process.resident_kib();
    // This process may run out of descriptors first: then it holds what it could open.
    let mut idle: Vec<_> = (0..IDLE).map_while(|number| hold(gateway.address, number)).collect();
    let held = idle.len();
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        // A place of ours for what is asked, and more that press on.
        idle.truncate(idle.len().saturating_sub(8));
        longest = longest.max(served(&gateway, round));
        idle.extend((0..4).filter_map(|more| hold(gateway.address, round * 4 + more)));
    }
    let most = gateway.process.resident_kib();
    drop(idle);
    gateway.stop();
    fixture.end();

    let mut table = Table::new(format!("P18: {held} idle connections"), &["", "figure"]);
    table.row(["longest wait for an answer".to_owned(), format!("{} ms", longest.as_millis())]);
    table.row(["memory before, MiB".to_owned(), mebibytes(before)]);
    table.row(["memory at most, MiB".to_owned(), mebibytes(most)]);
    table.print();
    assert!(longest < AT_ONCE, "{longest:?}");
    assert!(most.saturating_sub(before) < MOST_KIB, "{before} KiB became {most} KiB");
}

/// Asks as each of them does, on new connections; the longest that one waited.
fn served(gateway: &Running, round: u32) -> Duration {
    let client = Connection::to(gateway.address);
    let all = [
        (gateway.connection(), "/health/live".to_owned()),
        (gateway.admin(), "/admin/breakers".to_owned()),
        (client, page(18, round % 2)),
    ];
    let asked = all.into_iter().map(|(mut connection, path)| {
        let began = monotonic();
        let answer = connection.get(&path).expect("it answers");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        began.elapsed()
    });
    asked.max().unwrap_or_default()
}

/// An idle connection from one of the addresses; none when this process may open no more.
fn hold(to: SocketAddr, number: u32) -> Option<TcpStream> {
    let from = Ipv4Addr::from_bits(0x7f48_0001 + (number % ADDRESSES) * 256);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::new(IpAddr::V4(from), 0).into()).ok()?;
    socket.connect(&to.into()).ok()?;
    Some(socket.into())
}
