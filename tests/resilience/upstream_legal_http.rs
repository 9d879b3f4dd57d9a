//! HTTP that is legal and rare: interim answers, bodies that end with the connection, idle connections
//! that are closed as they are used again.

use std::sync::Barrier;

use crate::upstream_script::{Asked, Reply, Scripted, good, page, product};

fn legal(before: &'static str, version: &'static str, lines: &'static str) -> Scripted {
    Scripted::start_with(&[("RETRY_MAX_ATTEMPTS", "1")], move |asked| {
        let body = page(asked, &[product(7, "A copper kettle")]);
        let head = format!("{before}{version} 200 OK\r\n{lines}\r\n");
        Reply::last([head.as_bytes(), &body].concat())
    })
}

#[test]
fn interim_answers_are_skipped_and_bodies_may_end_with_the_connection() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n\
        HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    for (before, version, lines) in [
        (early, "HTTP/1.1", "connection: close\r\n"),
        ("", "HTTP/1.1", "connection: close\r\n"),
        ("", "HTTP/1.1", ""),
        ("", "HTTP/1.0", ""),
    ] {
        let mut scripted = legal(before, version, lines);
        for keywords in ["a", "b", "c"] {
            let (status, body) = scripted.search(keywords);
            assert_eq!(status, 200, "{version} {lines:?}: {body}");
            assert_eq!(body["data"]["products"][0]["product_id"], "7");
        }
        assert_eq!(scripted.calls("product.query"), 3);
        scripted.stop();
    }
}

#[test]
fn interim_answers_leave_the_connection_in_order() {
    let mut scripted = Scripted::start(|asked| {
        let Reply { bytes, keeps } = Reply::json(page(asked, &[product(7, &asked.form[..20])]));
        let early = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        Reply { bytes: [&early[..], &bytes].concat(), keeps }
    });
    for keywords in ["a", "b", "c", "d"] {
        assert_eq!(scripted.search(keywords).0, 200);
    }
    assert_eq!(scripted.turns(), [1, 2, 3, 4], "one connection serves all");
    scripted.stop();
}

/// Answers the first request of each connection, and closes it at the second without a word.
fn closes_at_the_second(asked: &Asked) -> Reply {
    if asked.turn == 1 { good(asked) } else { Reply::last("") }
}

#[test]
fn an_idle_connection_that_dies_is_replaced_at_once_and_counts_nowhere() {
    let mut scripted = Scripted::start_with(
        &[("RETRY_MAX_ATTEMPTS", "1"), ("BREAKER_FAILURES", "1")],
        closes_at_the_second,
    );
    for number in 0..8 {
        let (status, body) = scripted.search(&format!("kettle{number}"));
        assert_eq!(status, 200, "{number}: {body}");
    }
    assert!(scripted.turns().contains(&2), "a connection was used again");
    assert_eq!(scripted.health().0, "healthy");
    let calls =
        scripted.metric("upstream_calls_total{method=\"aliexpress.affiliate.product.query\"");
    assert!((calls - 8.0).abs() < 0.1, "{calls}");
    assert!(scripted.metric("upstream_retries_total ") < 0.1);
    scripted.stop();
}

/// Four searches at once, each with words of its own, and their statuses.
fn four_at_once(scripted: &Scripted, words: &str) -> Vec<u16> {
    std::thread::scope(|threads| {
        let ask = |number: usize| {
            let mut connection = scripted.gateway.connection();
            let path = format!("/api/products/search?keywords={words}{number}");
            threads.spawn(move || connection.get(&path).unwrap().status)
        };
        let asked: Vec<_> = (0..4).map(ask).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

/// Four connections are open, and all are closed as they are used again.
#[test]
fn when_all_idle_connections_die_one_call_goes_ahead_of_the_others() {
    for (heals, calls, status) in [(true, 12, 200), (false, 9, 503)] {
        let together = Barrier::new(4);
        let scripted = Scripted::start_with(&[("RETRY_MAX_ATTEMPTS", "1")], move |asked| {
            if asked.number <= 8 {
                together.wait();
            }
            let answers = asked.number <= 4 || (heals && asked.number > 8);
            if answers { good(asked) } else { Reply::last("") }
        });
        assert_eq!(four_at_once(&scripted, "kettle"), [200; 4]);
        assert_eq!(four_at_once(&scripted, "toaster"), [status; 4]);
        assert_eq!(scripted.calls("product.query"), calls);
        scripted.stop();
    }
}

#[test]
fn a_new_connection_that_says_nothing_is_a_failure() {
    let mut scripted = Scripted::start_with(&[("RETRY_MAX_ATTEMPTS", "1")], |_| Reply::last(""));
    assert_eq!(scripted.search("kettle").0, 503);
    assert_eq!(scripted.calls("product.query"), 1);
    scripted.stop();
}

#[test]
fn an_answer_that_ends_before_its_end_is_none() {
    for lines in ["transfer-encoding: chunked", "content-length: 100000"] {
        let mut scripted = Scripted::start_with(&[("RETRY_MAX_ATTEMPTS", "1")], move |asked| {
            let body = page(asked, &[product(7, "A copper kettle")]);
            let chunk = format!("{:x}\r\n", body.len());
            let chunk = if lines.contains("chunked") { chunk } else { String::new() };
            let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n{chunk}");
            Reply::last([head.as_bytes(), &body, b"\r\n"].concat())
        });
        assert_eq!(scripted.search("kettle").0, 503, "{lines}");
        scripted.stop();
    }
}
