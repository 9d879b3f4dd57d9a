//! P15: SIGTERM under load.
//!
//! Holds when every request that was accepted is answered in full, the exit status is 0, and all
//! that was answered is in SQL afterwards: the next process answers it with the upstream gone.
//! Whoever had sent a request when the signal came must get the whole answer. Whoever comes later
//! is answered too, or refused without a byte, which tells a client that it may ask elsewhere.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::json;

use crate::figures::{Table, millis};
use crate::fixture::{Fixture, page};
use crate::support::http::read_answer;
use crate::survey::{ask_all, assert_all_good, by_tier};

const CLIENTS: u32 = 48;
/// One request in so many asks for what was asked before.
const WARM_EVERY: u32 = 3;
/// Long enough that at every moment most of the clients wait for the upstream.
const UPSTREAM_TAKES_MS: u64 = 150;
const LOAD: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// The whole answer, with its status.
    Answered(u16),
    /// The connection was refused.
    Refused,
    /// The connection ended without a byte of an answer.
    Unread,
    /// The connection ended within the answer, or the answer never came.
    Lost(String),
}

struct Asked {
    number: u32,
    /// When the last byte of the request was handed over; `None` when it never was.
    sent: Option<Instant>,
    fate: Fate,
}

#[test]
fn p15_stopping_loses_nothing() {
    let fixture = Fixture::set();
    let plan = fixture.plan();
    let gateway = plan.start();
    fixture.upstream(&json!({"fault": "delay", "ms": UPSTREAM_TAKES_MS}));
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let address = gateway.address;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
            std::thread::spawn(move || client(address, &stop, &next))
        })
        .collect();
    std::thread::sleep(LOAD);
    let signalled = monotonic();
    gateway.process.ask_to_end();
    let status = gateway.process.wait();
    let took = monotonic() - signalled;
    stop.store(true, Ordering::Relaxed);
    let asked: Vec<Asked> = clients.into_iter().flat_map(|one| one.join().unwrap()).collect();

    let paths: Vec<String> = answered(&asked).into_iter().map(|number| page(15, number)).collect();
    fixture.upstream(&json!({"fault": "status", "status": 503}));
    let gateway = plan.start();
    let replies = ask_all(gateway.address, &paths);
    gateway.stop();
    fixture.end();

    print(&asked, signalled, took, &by_tier(&replies));
    assert!(status.success(), "stopping ended with {status}");
    for one in &asked {
        let in_time = one.sent.is_some_and(|sent| sent < signalled);
        let (good, refused) =
            (one.fate == Fate::Answered(200), matches!(one.fate, Fate::Refused | Fate::Unread));
        assert!(good || (refused && !in_time), "{}: {:?}", one.number, one.fate);
    }
    assert_all_good("what was answered is stored", &replies);
}

/// Numbers of the questions that were answered, each once.
fn answered(asked: &[Asked]) -> Vec<u32> {
    let good = asked.iter().filter(|one| one.fate == Fate::Answered(200));
    let mut numbers: Vec<u32> = good.map(|one| one.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Asks one question after the other on a connection that is kept, until nobody listens any more.
fn client(address: SocketAddr, stop: &AtomicBool, next: &AtomicU32) -> Vec<Asked> {
    let (mut asked, mut kept) = (Vec::new(), None);
    while !stop.load(Ordering::Relaxed) {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let number = if turn.is_multiple_of(WARM_EVERY) { turn / 2 } else { turn };
        let one = ask(address, &mut kept, number);
        let over = one.fate == Fate::Refused;
        asked.push(one);
        if over {
            break;
        }
    }
    asked
}

fn ask(address: SocketAddr, kept: &mut Option<BufReader<TcpStream>>, number: u32) -> Asked {
    let mut one = Asked { number, sent: None, fate: Fate::Unread };
    let stream = match kept.take() {
        Some(stream) => Ok(stream),
        None => TcpStream::connect(address).map(BufReader::new),
    };
    let Ok(mut stream) = stream else {
        one.fate = Fate::Refused;
        return one;
    };
    stream.get_ref().set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let request = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", page(15, number));
    if stream.get_mut().write_all(request.as_bytes()).is_err() {
        return one;
    }
    one.sent = Some(monotonic());
    match stream.fill_buf() {
        Ok([]) => return one,
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset) => return one,
        Err(error) => {
            one.fate = Fate::Lost(error.to_string());
            return one;
        }
    }
    one.fate = match read_answer(&mut stream, false) {
        Ok((answer, stays_open)) => {
            *kept = stays_open.then_some(stream);
            Fate::Answered(answer.status)
        }
        Err(error) => Fate::Lost(error.to_string()),
    };
    one
}

fn print(
    asked: &[Asked],
    signalled: Instant,
    took: Duration,
    stored: &std::collections::BTreeMap<String, usize>,
) {
    let count = |of: &dyn Fn(&&Asked) -> bool| asked.iter().filter(of).count().to_string();
    let before = |one: &&Asked| one.sent.is_some_and(|sent| sent < signalled);
    let good = |one: &&Asked| one.fate == Fate::Answered(200);
    let mut table = Table::new(
        format!("P15: SIGTERM under {CLIENTS} clients, upstream {UPSTREAM_TAKES_MS} ms"),
        &["", "answered", "not answered", "refused", "closed unread", "lost"],
    );
    for (name, early) in [("sent before the signal", true), ("later", false)] {
        let of = |fate: &dyn Fn(&&Asked) -> bool| count(&|one| before(one) == early && fate(one));
        table.row([
            name.to_owned(),
            of(&good),
            of(&|one| !good(one)),
            of(&|one| one.fate == Fate::Refused),
            of(&|one| one.fate == Fate::Unread),
            of(&|one| matches!(one.fate, Fate::Lost(_))),
        ]);
    }
    table.print();
    println!("  ended after {} ms; asked again without upstream: {stored:?}", millis(took));
}
