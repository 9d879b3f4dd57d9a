//! Start and stop of the process: what is in flight is answered, what is idle holds nothing up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use breakwater::clock::monotonic;
use serde_json::json;

use crate::envelope::{data, metadata, refused};
use crate::support::gateway::{ADMIN_KEY, Plan};
use crate::support::http::Connection;
use crate::support::process::wait_until;
use crate::test_app::Upstream;

#[test]
fn what_is_in_flight_at_sigterm_is_answered() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let plan = Plan::in_folder(folder.path()).before(upstream.address);
    let gateway = plan.start();
    upstream.fails_with(&json!({"fault": "delay", "ms": 1000}));
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(stream, "GET /api/categories HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the call is made", Duration::from_secs(10), || upstream.calls() == 1);
    gateway.process.ask_to_end();
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status).unwrap();
    assert_eq!(status.trim_end(), "HTTP/1.1 200 OK");
    let mut rest = String::new();
    answer.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"total_count\""), "{rest}");
    assert!(gateway.process.wait().success());
    // What it brought is stored: the next process answers it without a call.
    let gateway = plan.start();
    let again = gateway.connection().get("/api/categories").unwrap();
    assert_eq!(metadata(&again)["cache_tier"], "database");
    gateway.stop();
}

#[test]
fn readiness_is_over_before_connections_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).start();
    gateway.process.ask_to_end();
    let mut statuses = Vec::new();
    wait_until("connections are refused", Duration::from_secs(10), || {
        if TcpStream::connect(gateway.address).is_err() {
            return true;
        }
        let ready = Connection::to(gateway.address).get("/health/ready");
        statuses.extend(ready.map(|answer| answer.status));
        statuses.ends_with(&[503])
    });
    assert!(statuses.ends_with(&[503]), "{statuses:?}");
    assert!(gateway.process.wait().success());
}

#[test]
fn readiness_is_over_for_as_long_as_it_is_set_and_all_else_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).with("SHUTDOWN_DRAIN_MS", "600000").start();
    gateway.process.ask_to_end();
    let ready = || Connection::to(gateway.address).get("/health/ready").unwrap().status;
    wait_until("readiness is over", Duration::from_secs(10), || ready() == 503);
    for _ in 0..3 {
        let answer = gateway.connection().get("/api/products/search?keywords=usb").unwrap();
        data(&answer);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(ready(), 503);
    }
    gateway.process.ask_to_end();
    assert_eq!(gateway.process.wait().code(), Some(1));
}

#[test]
fn what_the_stop_cuts_leaves_a_line_and_a_count() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let plan = Plan::in_folder(folder.path()).before(upstream.address);
    let plan = plan.with("SHUTDOWN_TIMEOUT_SECONDS", "1").with("SHUTDOWN_DRAIN_MS", "0");
    let plan = plan.with("UPSTREAM_TIMEOUT_MS", "60000").with("REQUEST_TIMEOUT_MS", "120000");
    let gateway = plan.start();
    upstream.fails_with(&json!({"fault": "hang"}));
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(stream, "GET /api/categories HTTP/1.1\r\nHost: a\r\nX-Request-ID: cut-me\r\n\r\n")
        .unwrap();
    wait_until("the call is made", Duration::from_secs(10), || upstream.calls() == 1);
    gateway.process.ask_to_end();
    assert!(gateway.process.wait().success());
    let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines: Vec<_> = lines.collect();
    let cut = lines.iter().find(|line| line["request_id"] == "cut-me").expect("its line");
    assert!(cut["msg"].as_str().unwrap().starts_with("request was cut"), "{cut}");
    assert_eq!(cut["path"], "/api/categories");
    let last = lines.iter().find(|line| line["msg"] == "stopped").expect("the last line");
    assert_eq!(last["requests_cut"], 1, "{last}");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).start();
    let mut connection = gateway.connection();
    data(&connection.get("/health/live").unwrap());
    let asked = monotonic();
    gateway.stop();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(connection.get("/health/live").is_err());
}

#[test]
fn the_start_line_names_the_documents_and_the_admin_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Plan::in_folder(folder.path()).spawn();
    let line = process.line(Duration::from_secs(60), |line| Some(line.to_owned()));
    let (listening, pages) = line.split_once(" - start at ").unwrap();
    let address = listening.strip_prefix("listening on ").unwrap();
    assert_eq!(pages, format!("{address}/docs; the admin page at {address}/admin"));
    let address = address.strip_prefix("http://").unwrap().parse().unwrap();
    for page in ["/docs", "/admin"] {
        assert_eq!(Connection::to(address).get(page).unwrap().status, 200, "{page}");
    }
    assert!(process.terminate().success());
}

#[test]
fn a_full_disk_under_standard_output_does_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let onto_a_full_disk = &["/bin/sh", "-c", "exec \"$0\" \"$@\" >/dev/full"];
    let process = Plan::in_folder(folder.path()).through(onto_a_full_disk).spawn();
    let told = || {
        let log = std::fs::read_to_string(folder.path().join("gateway.log")).ok()?;
        let line = log.lines().find(|line| line.contains("cannot be told on standard output"))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["address"].as_str()?.parse().ok()
    };
    wait_until("it listens", Duration::from_secs(60), || told().is_some());
    assert_eq!(Connection::to(told().unwrap()).get("/health/live").unwrap().status, 200);
    assert!(process.terminate().success());
}

#[test]
fn without_credentials_the_simulator_inside_answers_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).start();
    let answer = gateway.connection().get("/api/products/search?keywords=usb").unwrap();
    assert_eq!(metadata(&answer)["api_integration"], "simulator");
    let products = data(&answer)["products"].as_array().unwrap().clone();
    assert!(!products.is_empty());
    let status = data(&gateway.connection().get("/api/status").unwrap());
    assert_eq!(status["api_integration"], "simulator");
    // On any free port nobody knows the gateway's address before it listens: its simulator shows them.
    for product in &products {
        let address = product["image_url"].as_str().unwrap();
        let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let path = format!("/{path}");
        let simulator = Connection::to(host.parse().unwrap());
        for mut shows in [simulator, gateway.connection()] {
            let picture = shows.get(&path).unwrap();
            assert_eq!(picture.header("content-type"), Some("image/svg+xml"), "{path}");
            assert!(picture.status == 200 && picture.text().starts_with("<svg"), "{path}");
        }
    }
    let none = "/simulator/pictures/lamp/ultraviolet/1.svg";
    refused(&gateway.connection().get(none).unwrap(), 404, "not_found");
    gateway.stop();
    let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap();
    assert!(log.contains("simulator inside"), "{log}");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway = Plan::in_folder(folder.path()).before(upstream.address).start();
    upstream.fails_with(&json!({"fault": "hang"}));
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    write!(stream, "GET /api/categories HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    wait_until("the call is made", Duration::from_secs(10), || upstream.calls() == 1);
    let log = folder.path().join("gateway.log");
    gateway.process.ask_to_end();
    wait_until("the stop begins", Duration::from_secs(10), || {
        std::fs::read_to_string(&log).unwrap().contains("\"stopping\"")
    });
    gateway.process.ask_to_end();
    let asked = monotonic();
    assert_eq!(gateway.process.wait().code(), Some(1));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("ended at once by a second signal"), "{log}");
}

#[test]
fn after_a_clean_stop_everything_is_in_the_one_file_of_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = Plan::in_folder(folder.path()).start();
    data(&gateway.connection().get("/api/products/search?keywords=usb").unwrap());
    gateway.stop();
    let mut beside = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        let name = file.file_name().into_string().unwrap();
        if name.contains(".db") {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            beside.push(name);
        }
    }
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn an_address_in_use_is_named_with_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = Command::new(env!("CARGO_BIN_EXE_breakwater"))
        .current_dir(folder.path())
        .env_clear()
        .envs([("API_PORT", port.as_str()), ("DATABASE_URL", "sqlite://x.db")])
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("cannot listen on 127.0.0.1:{port} (API_HOST, API_PORT)");
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn metrics_health_and_admin_may_have_an_address_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::in_folder(folder.path()).with("METRICS_LISTEN", "127.0.0.1:0");
    let gateway = plan.with("LOG_FORMAT", "json").with("HTTP_WORKERS", "2").start();
    let mut line = String::new();
    wait_until("the address is told", Duration::from_secs(10), || {
        let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap();
        let told = log.lines().find(|line| line.contains("have an address of their own"));
        line = told.unwrap_or_default().to_owned();
        !line.is_empty()
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let inside = line["address"].as_str().unwrap().parse().unwrap();
    let mut inside = Connection::to(inside).with_header("x-admin-key", ADMIN_KEY);
    let mut public = gateway.admin();
    for (path, is_public, is_inside) in [
        ("/metrics", false, true),
        ("/health", false, true),
        ("/health/detailed", false, true),
        ("/health/live", true, true),
        ("/health/ready", true, true),
        ("/admin/actors", false, true),
        ("/api/monitoring/metrics", false, true),
        ("/api/cache/stats", true, false),
        ("/api/products/search?keywords=usb", true, false),
        ("/openapi.json", true, false),
    ] {
        let status = |connection: &mut Connection| connection.get(path).unwrap().status;
        let expected = |is_served| if is_served { 200 } else { 404 };
        assert_eq!(status(&mut public), expected(is_public), "{path}");
        assert_eq!(status(&mut inside), expected(is_inside), "{path} inside");
    }
    assert_eq!(public.post("/api/cache/clear").unwrap().status, 404);
    assert_eq!(inside.post("/api/cache/clear").unwrap().status, 200);
    // Both are served by the same workers.
    let actors = data(&inside.get("/admin/actors").unwrap());
    let caches = actors.as_array().unwrap().iter().filter(|actor| actor["name"] == "cache");
    assert_eq!(caches.count(), 2, "{actors}");
    gateway.stop();
}
