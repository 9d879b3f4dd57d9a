//! The wire's bounds: names, connections, and answers that never end.
//!
//! Owns: resolvers that hang and upstreams that go on for ever. What an answer means is tried in
//! `upstream_kinds.rs`, TLS in `upstream_tls.rs`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use breakwater::clock;
use breakwater::failure::{Failure, FailureKind};
use breakwater::origin::dns_cache::DnsCache;
use futures_util::future::join_all;
use serde_json::json;

use crate::support::fault_proxy::FaultProxy;
use crate::support::gateway::Plan;
use crate::support::process::wait_until;
use crate::upstream_rig::{Rig, SEARCH, accounts, aliexpress, aliexpress_at, breaker};

/// Longest wait for a resolver here.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A rig whose gateway has a name, which `lookup` alone knows.
fn named(lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Rig {
    let port = std::cell::Cell::new(0);
    let way = |simulator: SocketAddr| {
        port.set(simulator.port());
        simulator
    };
    Rig::start_behind(way, |tables| {
        tables.origins[0] = aliexpress_at(format!("http://gateway.example:{}/sync", port.get()));
        crate::upstream_rig::no_retry(tables);
        accounts(tables)[0].breaker = breaker(1_000, Duration::from_secs(60));
        tables.wire.dns = DnsCache::new(LOOK_UP, Arc::new(lookup));
    })
}

#[actix::test]
async fn a_name_is_looked_up_once_for_all() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let rig = named(move |host| {
        assert_eq!(host, "gateway.example");
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    });
    for answer in join_all((0..20).map(|_| rig.call(SEARCH))).await {
        assert!(answer.is_ok(), "{answer:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    rig.stop().await;
}

#[actix::test]
async fn a_hung_resolver_costs_its_own_time_and_one_thread() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let (hung, end) = std::sync::mpsc::channel::<()>();
    let end = Mutex::new(end);
    let rig = named(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(end.lock().unwrap().recv().is_err(), "nothing is sent, it only ends");
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    });
    let started = clock::monotonic();
    for answer in join_all((0..50).map(|_| rig.call(SEARCH))).await {
        let failure = answer.expect_err("nobody knows the address");
        assert_eq!(failure.kind, FailureKind::UpstreamUnavailable);
        let told = "cannot look up the name: no answer within 100 ms";
        assert!(failure.reason.contains(told), "{failure}");
    }
    let took = clock::monotonic() - started;
    assert!(took >= LOOK_UP && took < Duration::from_secs(2), "it took {took:?}");
    assert!(rig.call(SEARCH).await.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "each look-up has a thread");
    drop(hung);
    let deadline = clock::monotonic() + Duration::from_secs(5);
    while rig.call(SEARCH).await.is_err() {
        assert!(clock::monotonic() < deadline, "the resolver is back and nobody notices");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "its late answer was used");
    rig.stop().await;
}

#[actix::test]
async fn a_resolver_that_fails_is_a_failure_of_the_upstream() {
    let rig = named(|_| Err(io::Error::other("no such name")));
    let failure = rig.call(SEARCH).await.expect_err("there is no address");
    assert_eq!(failure.kind, FailureKind::UpstreamUnavailable);
    assert!(failure.reason.contains("cannot look up the name: no such name"), "{failure}");
    let failures = rig.account().breaker.snapshot(clock::monotonic()).consecutive_failures;
    assert_eq!(failures, 1, "it counts against the upstream's health");
    rig.stop().await;
}

#[actix::test]
async fn connections_are_bounded_and_used_again() {
    let proxy = std::cell::OnceCell::new();
    let way = |simulator| proxy.get_or_init(|| FaultProxy::before(simulator)).address();
    let rig = Rig::start_behind(way, |tables| tables.wire.connections = 4);
    rig.faults(&json!([{"fault": "delay", "ms": 20}])).await;
    for _ in 0..2 {
        for answer in join_all((0..20).map(|_| rig.call(SEARCH))).await {
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    assert_eq!(rig.calls_of(SEARCH).await, 40);
    assert_eq!(proxy.get().unwrap().accepted(), 4);
    rig.stop().await;
}

/// An upstream that reads a request and then lets `answer` write; a thread a connection.
fn upstream(answer: fn(&mut TcpStream) -> io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Whoever has had enough closes the connection.
            std::thread::spawn(move || {
                drop(read_request(&stream).and_then(|()| answer(&mut stream)))
            });
        }
    });
    address
}

fn read_request(stream: &TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0_usize;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            return reader.read_exact(&mut vec![0; length]);
        }
    }
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

/// Writes `piece` for ever, as fast as it is taken or with a pause.
fn for_ever(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> io::Result<()> {
    loop {
        stream.write_all(piece)?;
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}

const DRIP: Duration = Duration::from_millis(5);

fn dripping_head(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
    for_ever(stream, b"x", DRIP)
}

fn dripping_body(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HEAD)?;
    stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
    for_ever(stream, b"1\r\n \r\n", DRIP)
}

fn dripping_to_the_end_of_the_connection(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n")?;
    for_ever(stream, b" ", DRIP)
}

fn endless_extension(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HEAD)?;
    stream.write_all(b"transfer-encoding: chunked\r\n\r\n1;")?;
    for_ever(stream, &[b'x'; 1 << 14], Duration::ZERO)
}

fn endless_head(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HEAD)?;
    for_ever(stream, b"x-another: and another and another\r\n", Duration::ZERO)
}

fn endless_line(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nx: ")?;
    for_ever(stream, &[b'x'; 1 << 14], Duration::ZERO)
}

async fn failure_within(upstream: SocketAddr, within: Duration) -> (Failure, Duration) {
    let rig = Rig::start_with(|tables| {
        tables.origins[0] = aliexpress(upstream);
        crate::upstream_rig::no_retry(tables);
    });
    let started = clock::monotonic();
    let failure = rig.call_within(SEARCH, within).await.expect_err("it never ends");
    let took = clock::monotonic() - started;
    rig.stop().await;
    (failure, took)
}

#[actix::test]
async fn what_never_ends_is_cut_by_the_deadline() {
    let within = Duration::from_millis(200);
    let rows: [fn(&mut TcpStream) -> io::Result<()>; 3] =
        [dripping_head, dripping_body, dripping_to_the_end_of_the_connection];
    for (row, answer) in rows.into_iter().enumerate() {
        let (failure, took) = failure_within(upstream(answer), within).await;
        assert_eq!(failure.kind, FailureKind::DeadlineExceeded, "row {row}: {failure}");
        assert!(took < Duration::from_secs(1), "row {row} took {took:?}");
    }
}

#[actix::test]
async fn what_floods_is_cut_before_the_deadline_or_by_it() {
    let within = Duration::from_secs(2);
    let rows: [fn(&mut TcpStream) -> io::Result<()>; 3] =
        [endless_head, endless_line, endless_extension];
    for (row, answer) in rows.into_iter().enumerate() {
        let (failure, took) = failure_within(upstream(answer), within).await;
        assert!(took < within + Duration::from_secs(1), "row {row} took {took:?}: {failure}");
    }
}

/// Says that there is more to come, and sends it when it is asked the next thing.
fn interim(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
    read_request(stream)?;
    let nothing = r#"{"resp_result":{"resp_code":405}}"#;
    let length = nothing.len();
    stream.write_all(HEAD)?;
    stream.write_all(format!("content-length: {length}\r\n\r\n{nothing}").as_bytes())
}

/// A body that lasts as long as the connection.
fn without_length(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HEAD)?;
    stream.write_all(b"\r\n{}")
}

#[actix::test]
async fn a_body_that_lasts_as_long_as_the_connection_is_read() {
    let (failure, _) = failure_within(upstream(without_length), Duration::from_secs(5)).await;
    assert!(failure.reason.contains("neither a result nor an error"), "{failure}");
}

#[actix::test]
async fn an_answer_that_comes_later_is_not_taken_for_that_of_another_call() {
    let upstream = upstream(interim);
    let rig = Rig::start_with(|tables| {
        tables.origins[0] = aliexpress(upstream);
        crate::upstream_rig::no_retry(tables);
    });
    for _ in 0..3 {
        let within = Duration::from_millis(200);
        let failure = rig.call_within(SEARCH, within).await.expect_err("none is answered in time");
        assert_eq!(failure.kind, FailureKind::DeadlineExceeded, "{failure}");
    }
    rig.stop().await;
}

const HUNDRED_MB: usize = 100_000_000;

fn chunked(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HEAD)?;
    stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
    for _ in 0..HUNDRED_MB / 50_000 {
        stream.write_all(b"c350\r\n")?;
        stream.write_all(&[b' '; 50_000])?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn announced(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(HEAD)?;
    stream.write_all(format!("content-length: {HUNDRED_MB}\r\n\r\n").as_bytes())?;
    (0..HUNDRED_MB / 50_000).try_for_each(|_| stream.write_all(&[b' '; 50_000]))
}

#[test]
fn a_hundred_megabytes_many_times_at_once_take_no_memory() {
    for answer in [chunked, announced] {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Plan::in_folder(folder.path())
            .before(upstream(answer))
            .with("RETRY_MAX_ATTEMPTS", "1")
            .with("BREAKER_FAILURES", "1000")
            .start();
        let address = gateway.address;
        let before = gateway.process.resident_kib();
        let asked: Vec<_> = (0..24)
            .map(|number| {
                let path = format!("/api/products/search?keywords=number{number}");
                std::thread::spawn(move || {
                    crate::support::http::Connection::to(address).get(&path).unwrap().status
                })
            })
            .collect();
        let mut most = 0;
        wait_until("answers", Duration::from_secs(30), || {
            most = gateway.process.resident_kib().max(most);
            asked.iter().all(|one| one.is_finished())
        });
        for status in asked {
            let status = status.join().unwrap();
            assert!((502..=504).contains(&status), "told with status {status}");
        }
        let grown = most.saturating_sub(before);
        // Four of 4 MiB, 24 of a quarter, and what a gateway needs that begins to work; without
        // the places it would be 24 of 4 MiB and more.
        assert!(grown < 64 << 10, "grown by {grown} KiB");
        gateway.stop();
    }
}
