//! Several requests at once on one connection: each answer is about its own request.
//!
//! Owns: what an answer says of the connection, what follows a request that says close, and wishes for
//! another protocol. Written as bytes, because no client library sends such things.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::test_app::TestApp;

const SOON: Duration = Duration::from_secs(30);
const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
const CLOSE: &str = "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const SEARCH: &str = "GET /api/products/search?keywords=lamp HTTP/1.1\r\nHost: a\r\n\r\n";

/// What comes back for these bytes until the gateway closes; with `end` it learns that none follow.
fn answers(app: &TestApp, sent: &str, end: bool) -> String {
    let mut stream = TcpStream::connect(app.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    if end {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The heads in it, each with whether it says close.
fn heads(text: &str) -> Vec<(&str, bool)> {
    let heads =
        text.match_indices("HTTP/1.").filter_map(|(at, _)| text[at..].split("\r\n\r\n").next());
    heads.map(|head| (&head[..12], head.to_lowercase().contains("connection: close"))).collect()
}

#[test]
fn only_the_last_answer_says_close() {
    let app = TestApp::start();
    // The search waits for the upstream while what follows it is there already.
    app.upstream.fails_with(&json!({"fault": "delay", "ms": 50}));
    for first in [SEARCH, LIVE] {
        let text = answers(&app, &[first, LIVE, CLOSE].concat(), false);
        let expected = [("HTTP/1.1 200", false), ("HTTP/1.1 200", false), ("HTTP/1.1 200", true)];
        assert_eq!(heads(&text), expected, "{text}");
    }
}

#[test]
fn the_next_request_changes_nothing_of_an_answer() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"fault": "delay", "ms": 50}));
    let head = "HEAD /health/live HTTP/1.0\r\n\r\n";
    let text = answers(&app, &[SEARCH, head].concat(), false);
    assert_eq!(heads(&text), [("HTTP/1.1 200", false), ("HTTP/1.0 200", false)], "{text}");
    assert_eq!(text.matches("\"success\":true").count(), 1, "the search has its body: {text}");
}

#[test]
fn nothing_is_answered_behind_a_request_that_says_close() {
    let app = TestApp::start();
    let slow = SEARCH.replace("lamp", "desk").replace("Host", "Connection: close\r\nHost");
    let body = "{\"keywords\":\"lamp\"}";
    let post = format!(
        "POST /api/products/search HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let older = "GET /health/live HTTP/1.0\r\n\r\n";
    for last in [CLOSE, &slow, &post, older] {
        let text = answers(&app, &[LIVE, last, LIVE, SEARCH].concat(), false);
        assert_eq!(heads(&text).len(), 2, "{last}: {text}");
    }
}

#[test]
fn a_client_that_ends_what_it_sends_gets_every_answer() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"fault": "delay", "ms": 50}));
    let text = answers(&app, &[SEARCH, LIVE, SEARCH, LIVE].concat(), true);
    assert_eq!(heads(&text).len(), 4, "{text}");
    let many = LIVE.repeat(300);
    assert_eq!(heads(&answers(&app, &many, true)).len(), 300);
}

#[test]
fn a_wish_for_another_protocol_is_ignored_and_the_connection_kept() {
    let app = TestApp::start();
    let body = "{\"keywords\":\"lamp\"}";
    let wishes = [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "connection: upgrade\r\nupgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Upgrade: websocket\r\n",
    ];
    for wish in wishes {
        let get = format!("GET /health/live HTTP/1.1\r\nHost: a\r\n{wish}\r\n");
        let post = format!(
            "POST /api/products/search HTTP/1.1\r\n{wish}Host: a\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let text = answers(&app, &[&get, &post, LIVE, CLOSE].concat(), false);
        let expected = [
            ("HTTP/1.1 200", false),
            ("HTTP/1.1 200", false),
            ("HTTP/1.1 200", false),
            ("HTTP/1.1 200", true),
        ];
        assert_eq!(heads(&text), expected, "{wish}: {text}");
        assert!(!text.to_lowercase().contains("connection: upgrade"), "{text}");
    }
}
