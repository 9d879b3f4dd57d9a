//! Connections that are slow, too many, or do not take what they asked for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use breakwater::clock::monotonic;
use socket2::{Domain, Socket, Type};

use crate::envelope::{data, refused};
use crate::gate::Gate;
use crate::support::gateway::{Plan, breakwater};
use crate::support::http::read_answer;
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const SOON: Duration = Duration::from_secs(30);
const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";

fn connect(app: &TestApp) -> TcpStream {
    let stream = TcpStream::connect(app.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn cut(app: &TestApp, reason: &str) -> f64 {
    app.metric(&format!("http_connections_cut_total{{reason=\"{reason}\"}} "))
}

fn unread(app: &TestApp, reason: &str) -> f64 {
    app.metric(&format!("http_unread_requests_total{{reason=\"{reason}\"}} "))
}

#[test]
fn every_head_has_its_time_and_not_only_the_first() {
    let app = TestApp::start();
    for before in [&b""[..], LIVE] {
        let mut stream = connect(&app);
        if !before.is_empty() {
            stream.write_all(before).unwrap();
            let (answer, open) = read_answer(&mut std::io::BufReader::new(&stream), false).unwrap();
            data(&answer);
            assert!(open);
        }
        stream.write_all(b"GET /api/status HTTP/1.1\r\nHo").unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        let (answer, open) = read_answer(&mut heard.as_slice(), false).unwrap();
        refused(&answer, 408, "request_timeout");
        assert!(!open);
    }
    assert!((unread(&app, "too_slow") - 2.0).abs() < 0.1);
}

#[test]
fn what_is_no_request_is_counted() {
    let app = TestApp::start();
    let before = unread(&app, "malformed");
    let broken_chunks =
        "POST /api/products/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n";
    let many_fields = format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(120));
    let behind_one = [LIVE, b"GARBAGE\r\n\r\n"].concat();
    let sent = [b"BAD\r\n\r\n", broken_chunks.as_bytes(), many_fields.as_bytes(), &behind_one];
    for bytes in sent {
        let mut stream = connect(&app);
        stream.write_all(bytes).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    assert!((unread(&app, "malformed") - before - 3.0).abs() < 0.1, "the chunks had a request");
}

#[test]
fn what_came_behind_a_request_and_is_no_whole_head_ends_too() {
    let app = TestApp::with(&[("KEEP_ALIVE_SECONDS", "1")]);
    let mut stream = connect(&app);
    stream.write_all(&[LIVE, b"GET /api/status HTTP/1.1\r\nHo"].concat()).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    data(&read_answer(&mut heard.as_slice(), false).unwrap().0);
}

#[test]
fn the_rest_of_a_refused_body_is_not_waited_for() {
    let app = TestApp::with(&[("REQUEST_TIMEOUT_MS", "200"), ("KEEP_ALIVE_SECONDS", "1")]);
    let mut stream = connect(&app);
    let head =
        "POST /api/products/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    let mut heard = heard.as_slice();
    refused(&read_answer(&mut heard, false).unwrap().0, 408, "request_timeout");
    assert_eq!(heard, b"", "one request, one answer");
}

#[test]
fn a_broken_body_is_answered_and_the_connection_ends() {
    let app = TestApp::start();
    let mut stream = connect(&app);
    let head =
        "POST /api/products/search HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(b"xyz\r\n{}\r\n").unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    let mut heard = heard.as_slice();
    let (answer, open) = read_answer(&mut heard, false).unwrap();
    refused(&answer, 400, "invalid_request");
    assert!(!open);
    // The server may refuse what follows, too.
    assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
}

#[test]
fn who_takes_no_answers_is_not_read_from() {
    let app = TestApp::start();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.set_send_buffer_size(16_384).unwrap();
    socket.connect(&app.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(Duration::from_secs(3))).unwrap();
    let ask = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://chatgpt.com\r\n\
        Access-Control-Request-Method: GET\r\n\r\n"
        .repeat(100);
    let took = (0..).take_while(|_| stream.write_all(&ask).is_ok()).take(2_000).count();
    // What the system keeps for either side is a few megabytes.
    assert!(took < 1_500, "{took} times {} bytes", ask.len());
    data(&app.get("/health/live"));
}

#[test]
fn an_answer_that_is_not_taken_is_given_up() {
    let app = TestApp::start();
    let mut stream = connect(&app);
    let ask = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    stream.write_all(&ask).unwrap();
    wait_until("it is given up", SOON, || cut(&app, "answer_not_taken") > 0.5);
    drop(stream);
    data(&app.get("/health/live"));
}

#[test]
fn requests_far_ahead_of_one_that_waits_are_not_read() {
    let gate = Gate::closed();
    let url = gate.url();
    let app = TestApp::with(&[
        ("ALIEXPRESS_GATEWAY_URL", &url),
        ("UPSTREAM_TIMEOUT_MS", "60000"),
        ("REQUEST_TIMEOUT_MS", "60000"),
    ]);
    let mut stream = connect(&app);
    stream.write_all(b"GET /api/products/search?keywords=usb HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("its call is at the gate", SOON, || gate.arrived() == 1);
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    drop(stream.write_all(&LIVE.repeat(10_000)));
    data(&app.get("/health/live"));
    gate.open(app.upstream.address);
    let mut answers = std::io::BufReader::new(&stream);
    for _ in 0..100 {
        let (answer, open) = read_answer(&mut answers, false).unwrap();
        data(&answer);
        assert!(open);
    }
}

#[test]
fn an_address_has_so_many_connections_and_gets_them_back() {
    let limits = [("RATE_LIMIT_ENABLED", "true"), ("MAX_CONNECTIONS_PER_ADDRESS", "3")];
    let app = TestApp::with(&limits);
    let mut held: Vec<_> = (0..3).map(|_| app.connection()).collect();
    for connection in &mut held {
        data(&connection.get("/health/live").unwrap());
    }
    let mut heard = Vec::new();
    drop(connect(&app).read_to_end(&mut heard));
    let (answer, open) = read_answer(&mut heard.as_slice(), false).unwrap();
    refused(&answer, 503, "overloaded");
    assert!(!open);
    assert!(answer.header("retry-after").is_some());
    data(&held[0].get("/health/live").unwrap());
    held.truncate(1);
    wait_until("there is room", SOON, || {
        app.connection().get("/health/live").is_ok_and(|answer| answer.status == 200)
    });
    assert!(unread(&app, "limit_exceeded") >= 1.0);
}

#[test]
fn the_connections_of_a_trusted_proxy_are_those_of_many() {
    let app = TestApp::with(&[
        ("RATE_LIMIT_ENABLED", "true"),
        ("MAX_CONNECTIONS_PER_ADDRESS", "2"),
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
    ]);
    let mut held: Vec<_> = (0..10).map(|_| app.connection()).collect();
    for connection in &mut held {
        data(&connection.get("/health/live").unwrap());
    }
}

#[test]
fn hundreds_that_drip_do_not_keep_out_who_asks() {
    let app = TestApp::start();
    let mut slow: Vec<_> = (0..300).map(|_| connect(&app)).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /api/products/search HTTP/1.1\r\nX-").unwrap();
    }
    let mut honest = app.connection();
    for _ in 0..100 {
        data(&honest.get("/api/categories").unwrap());
        for stream in &mut slow {
            drop(stream.write_all(b"a"));
        }
    }
    assert!(app.metric("http_connections ") >= 1.0);
    wait_until("they are let go", SOON, || unread(&app, "too_slow") > 299.0);
}

#[test]
fn a_process_with_few_descriptors_says_so_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::in_folder(folder.path()).with("HTTP_WORKERS", "2").with("LOG_FORMAT", "json");
    let gateway = plan.through(&["prlimit", "--nofile=96:96"]).start();
    let ask = || {
        let stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        drop((&stream).write_all(LIVE));
        stream
    };
    let began = monotonic();
    // More than there are places; each stays open after its answer.
    let crowd: Vec<_> = (0..150).map(|_| ask()).collect();
    let answered = crowd.iter().filter(|stream| {
        let answer = read_answer(&mut std::io::BufReader::new(*stream), false);
        answer.is_ok_and(|(answer, _)| answer.status == 200)
    });
    assert!(answered.count() > 50, "those that are idle make room");
    for path in ["/health/live", "/api/products/search?keywords=usb"] {
        data(&gateway.connection().get(path).unwrap());
    }
    // Idle connections end by themselves after 80 s: nobody is to wait for that.
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
    drop(crowd);
    gateway.stop();
    let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap();
    // One a minute: a busy machine may need more than one.
    assert!((1..=3).contains(&log.matches("descriptors run out").count()), "{log}");
    assert!(log.contains("LimitNOFILE") && log.contains("\"descriptors\":96"), "{log}");
}

/// How `check-config` ends with so many descriptors, and what it says of them.
fn check_config_with(descriptors: u32) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("prlimit");
    let program = breakwater(folder.path()).get_program().to_owned();
    command.arg(format!("--nofile={descriptors}:{descriptors}")).arg(program).arg("check-config");
    let ended = command.current_dir(folder.path()).env("HTTP_WORKERS", "2").output().unwrap();
    let complaint = String::from_utf8(ended.stderr).unwrap();
    let told = complaint.lines().find(|line| line.contains("file descriptors")).unwrap_or_default();
    let told = told.trim().trim_end_matches(" (LimitNOFILE) or have fewer workers");
    (ended.status.code().unwrap(), told.to_owned())
}

#[test]
fn descriptors_that_serve_nobody_are_refused_at_the_start_and_the_least_that_serve_do() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::in_folder(folder.path()).with("HTTP_WORKERS", "2").with("LOG_FORMAT", "json");
    for too_few in [&["prlimit", "--nofile=12:12"], &["prlimit", "--nofile=73:73"]] {
        assert_eq!(plan.clone().through(too_few).spawn().wait().code(), Some(2));
    }
    let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap();
    for descriptors in [12, 73] {
        let told = format!(
            "file descriptors = {descriptors}: expected at least 74 with HTTP_WORKERS=2; raise `ulimit -n`"
        );
        assert_eq!(log.matches(&told).count(), 1, "{log}");
        assert_eq!(check_config_with(descriptors), (2, told));
    }
    assert!(!log.contains("panic"), "{log}");
    assert_eq!(check_config_with(74), (0, String::new()));
    let gateway = plan.through(&["prlimit", "--nofile=74:74"]).start();
    let mut open: Vec<_> = (0..8).map(|_| gateway.connection()).collect();
    for connection in &mut open {
        data(&connection.get("/api/products/search?keywords=usb").unwrap());
    }
    gateway.stop();
}
