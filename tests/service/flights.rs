//! Single flight: many callers of one cold key, one upstream call; success and failure shared.

use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::json;

use crate::envelope::{metadata, refused};
use crate::stand::Stand;
use crate::support::http::{Answer, Connection};

const CALLERS: usize = 200;
const SEARCH: &str = "/api/products/search?keywords=usb";

/// The same request from many connections at once.
fn ask_at_once(stand: &Stand, path: &'static str) -> Vec<Answer> {
    let (address, gate) = (stand.address(), Arc::new(Barrier::new(CALLERS)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                gate.wait();
                Connection::to(address).get(path).expect("an answer")
            })
        })
        .collect();
    callers.into_iter().map(|caller| caller.join().expect("a caller")).collect()
}

#[test]
fn two_hundred_callers_cost_one_call() {
    let stand = Stand::start();
    // The call is held until every caller is certainly there.
    stand.upstream.fails_with(&json!({"fault": "delay", "ms": 1500}));
    let answers = ask_at_once(&stand, SEARCH);
    let collapsed = answers.iter().filter(|answer| {
        metadata(answer);
        answer.header("cache-status").is_some_and(|status| status.ends_with("; collapsed"))
    });
    assert_eq!((collapsed.count(), stand.upstream.calls()), (CALLERS - 1, 1));
}

#[test]
fn a_failure_is_shared_the_same_way() {
    let stand = Stand::start();
    stand.upstream.fails_with(&json!({"fault": "status", "status": 503, "ms": 1500}));
    for answer in ask_at_once(&stand, SEARCH) {
        refused(&answer, 503, "upstream_unavailable");
    }
    assert_eq!(stand.upstream.calls(), 1);
}

#[test]
fn a_caller_that_goes_away_cancels_nothing() {
    let stand = Stand::start();
    stand.upstream.fails_with(&json!({"fault": "delay", "ms": 300}));
    let gone = thread::spawn({
        let address = stand.address();
        move || {
            use std::io::Write as _;
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            write!(stream, "GET {SEARCH} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
    });
    gone.join().unwrap();
    // Whoever comes next shares that flight, or finds what it brought; or the request of the one
    // who left was never read, then this is the first.
    metadata(&stand.get(SEARCH));
    assert_eq!(stand.upstream.calls(), 1);
}
