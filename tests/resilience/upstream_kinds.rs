//! Every way an answer can go wrong, told as what it is.
//!
//! Owns: the faults of the simulator, and an upstream of raw bytes for what no simulator does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use breakwater::clock;
use breakwater::failure::FailureKind;
use breakwater::resilience::breaker::State;
use serde_json::{Value, json};

use crate::upstream_rig::{Rig, SEARCH, accounts, aliexpress};

/// Longest time of an attempt where a time-out is what is tried.
const ATTEMPT: Duration = Duration::from_millis(200);

/// A rig that tries once and never opens its breaker.
fn once() -> Rig {
    Rig::start_with(|tables| {
        crate::upstream_rig::no_retry(tables);
        tables.attempt_timeout = ATTEMPT;
        accounts(tables)[0].breaker = crate::upstream_rig::breaker(1_000, Duration::from_secs(60));
    })
}

#[actix::test]
async fn each_fault_has_its_kind() {
    use FailureKind::{UpstreamRejected as Rejected, UpstreamUnavailable as Unavailable};
    let rows: [(Value, FailureKind, &str, bool); 13] = [
        (json!({"fault": "status", "status": 503}), Unavailable, "http status 503", true),
        (json!({"fault": "garbage"}), Unavailable, "bad response", true),
        (json!({"fault": "truncate"}), Unavailable, "exchange broke", true),
        (json!({"fault": "reset"}), Unavailable, "exchange broke", true),
        (json!({"fault": "hang"}), Unavailable, "no whole answer in time", true),
        (json!({"fault": "slow_body", "ms": 20}), Unavailable, "no whole answer in time", true),
        (json!({"fault": "html", "status": 502}), Unavailable, "http status 502", true),
        (json!({"fault": "html", "code": "moved"}), Rejected, "moved", false),
        (json!({"fault": "throttle", "seconds": 0}), Unavailable, "throttled", false),
        (json!({"fault": "error", "code": "InvalidAppKey"}), Rejected, "configuration", false),
        (json!({"fault": "error", "code": "MissingParameter"}), Rejected, "the request", false),
        (
            json!({"fault": "error", "code": "InsufficientPermission"}),
            Rejected,
            "permission",
            false,
        ),
        (json!({"fault": "error", "code": "ServiceTimeout"}), Unavailable, "ServiceTimeout", true),
    ];
    let rig = once();
    for (rule, kind, words, ill) in rows {
        rig.faults(&json!([rule])).await;
        let now = clock::monotonic();
        rig.account().breaker.reset(now);
        rig.tables.forgive(&rig.account());
        let failure = rig.call(SEARCH).await.expect_err("every call meets the fault");
        assert_eq!(failure.kind, kind, "{rule}: {failure}");
        assert!(failure.reason.contains(words), "{rule}: {failure}");
        let failures = rig.account().breaker.snapshot(clock::monotonic()).consecutive_failures;
        assert_eq!(failures, u64::from(ill), "{rule}: whether it counts against its health");
    }
    rig.faults(&json!([])).await;
    rig.tables.forgive(&rig.account());
    assert!(rig.call(SEARCH).await.is_ok());
    rig.stop().await;
}

#[actix::test]
async fn a_hang_is_cut_by_the_attempt_and_by_the_deadline() {
    let rig = Rig::start_with(|tables| tables.attempt_timeout = ATTEMPT);
    rig.faults(&json!([{"fault": "hang"}])).await;
    let started = clock::monotonic();
    let failure = rig.call(SEARCH).await.expect_err("it hangs");
    let took = clock::monotonic() - started;
    assert!(failure.reason.contains("no whole answer in time"), "{failure}");
    assert_eq!(rig.calls_of(SEARCH).await, 3, "each attempt has its own time");
    assert!(took >= 3 * ATTEMPT && took < Duration::from_secs(5), "took {took:?}");

    let started = clock::monotonic();
    let deadline = Duration::from_millis(50);
    assert!(rig.call_within(SEARCH, deadline).await.is_err());
    let took = clock::monotonic() - started;
    assert!(took >= deadline && took < Duration::from_secs(1), "took {took:?}");
    rig.stop().await;
}

/// An upstream of raw bytes: reads a request, then lets `answer` write what it likes.
pub(crate) fn raw(
    answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            // A caller that has had enough closes the connection.
            drop(answer(&mut stream));
            drop(stream.shutdown(Shutdown::Both));
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut length = 0_usize;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
}

async fn failure_of(upstream: SocketAddr) -> breakwater::failure::Failure {
    let rig = Rig::start_with(|tables| {
        tables.origins[0] = aliexpress(upstream);
        crate::upstream_rig::no_retry(tables);
    });
    let failure = rig.call(SEARCH).await.expect_err("no answer of use");
    let breaker = rig.account().breaker.snapshot(clock::monotonic());
    assert_eq!((breaker.state, breaker.consecutive_failures), (State::Closed, 1));
    rig.stop().await;
    failure
}

#[actix::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    const PIECE: usize = 1 << 16;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&sent);
    let upstream = raw(move |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")?;
        stream.write_all(b"transfer-encoding: chunked\r\n\r\n")?;
        loop {
            stream.write_all(format!("{PIECE:x}\r\n").as_bytes())?;
            stream.write_all(&[b' '; PIECE])?;
            stream.write_all(b"\r\n")?;
            counted.fetch_add(PIECE, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let failure = failure_of(upstream).await;
    assert!(failure.reason.contains("bad response: body larger than 4194304 bytes"), "{failure}");
    let sent = sent.load(std::sync::atomic::Ordering::SeqCst);
    assert!(sent < 32 << 20, "{sent} bytes were taken before it was cut");
}

#[actix::test]
async fn a_body_that_is_announced_too_large_is_not_read() {
    let upstream = raw(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")?;
        stream.write_all(b"content-length: 9000000\r\n\r\n{")
    });
    let failure = failure_of(upstream).await;
    assert!(failure.reason.contains("bad response: body larger than"), "{failure}");
}

#[actix::test]
async fn what_is_no_http_at_all_is_a_broken_exchange() {
    let upstream = raw(|stream| stream.write_all(b"\0\x01\x02 not HTTP at all\r\n\r\n"));
    let failure = failure_of(upstream).await;
    assert!(failure.reason.contains("exchange broke"), "{failure}");
}

#[actix::test]
async fn a_name_of_a_header_that_no_decoder_bears_is_a_broken_exchange() {
    let upstream = raw(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n")?;
        stream.write_all(&[b'a'; 66_000])?;
        stream.write_all(b": 1\r\n\r\n{}")
    });
    let failure = failure_of(upstream).await;
    assert_eq!(failure.kind, FailureKind::UpstreamUnavailable, "{failure}");
    assert!(failure.reason.contains("exchange broke"), "{failure}");
    assert!(!failure.reason.contains("died"), "the decoder never saw it: {failure}");
}

#[actix::test]
async fn a_redirect_is_not_followed() {
    let upstream = raw(|stream| {
        stream.write_all(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\n")?;
        stream.write_all(b"content-length: 0\r\n\r\n")
    });
    let rig = Rig::start_with(|tables| tables.origins[0] = aliexpress(upstream));
    let failure = rig.call(SEARCH).await.expect_err("it points elsewhere");
    assert_eq!(failure.kind, FailureKind::UpstreamRejected, "{failure}");
    rig.stop().await;
}
