//! Many clients that call at once and note what became of each call.
//!
//! Owns: threads with a connection each, asking their addresses in turn, and what the notes say
//! about limits. Times are the caller's own: an admission happened somewhere between the two. Refuses:
//! to retry; a call that breaks fails the test.

use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;

use super::http::{Answer, Connection};

/// One call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// Just before it was sent.
    pub(crate) sent: Instant,
    /// Just after its answer was read.
    pub(crate) answered: Instant,
    /// Its status.
    pub(crate) status: u16,
}

/// Who calls, and what.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    /// Who is asked, in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What is asked for.
    pub(crate) path: String,
    /// The client that all of them are, as a proxy would tell.
    pub(crate) client: String,
    /// How many call at once.
    pub(crate) count: usize,
    /// How often each calls.
    pub(crate) calls: usize,
}

impl Callers {
    /// Lets them call, all beginning at once, with `meanwhile` beside them.
    pub(crate) fn call(&self, meanwhile: impl FnOnce()) -> Vec<Call> {
        let begin = Arc::new(Barrier::new(self.count + 1));
        let threads: Vec<_> = (0..self.count)
            .map(|number| {
                let (begin, callers) = (Arc::clone(&begin), self.clone());
                thread::spawn(move || {
                    let mut connections = callers.connections();
                    begin.wait();
                    callers.calls_of(number, &mut connections)
                })
            })
            .collect();
        begin.wait();
        meanwhile();
        threads.into_iter().flat_map(|thread| thread.join().expect("a caller")).collect()
    }

    fn calls_of(&self, number: usize, connections: &mut [Connection]) -> Vec<Call> {
        let of = connections.len();
        let call = |turn: usize| {
            let (call, _) = ask(&mut connections[(number + turn) % of], &self.path);
            call
        };
        (0..self.calls).map(call).collect()
    }

    /// A connection to each address.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let to = |address: &SocketAddr| {
            Connection::to(*address).with_header("x-forwarded-for", &self.client)
        };
        self.addresses.iter().map(to).collect()
    }
}

/// One call and its answer.
pub(crate) fn ask(connection: &mut Connection, path: &str) -> (Call, Answer) {
    let sent = monotonic();
    let answer = connection.get(path).expect("the gateway answers");
    let status = answer.status;
    assert!(matches!(status, 200 | 429), "{status}: {}", answer.text());
    (Call { sent, answered: monotonic(), status }, answer)
}

/// Calls that were admitted.
pub(crate) fn admitted(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.status == 200).count()
}

/// Most that were surely admitted in one window: sent and answered within it.
pub(crate) fn densest(calls: &[Call], window: Duration) -> usize {
    let good: Vec<_> = calls.iter().filter(|call| call.status == 200).collect();
    let from = |start: Instant| {
        let inside = |call: &&&Call| call.sent >= start && call.answered < start + window;
        good.iter().filter(inside).count()
    };
    good.iter().map(|call| from(call.sent)).max().unwrap_or(0)
}
