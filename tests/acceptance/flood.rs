//! Requests of very many clients, through one proxy.
//!
//! Owns: sending each request with the address it is said to come from, many at once on a connection,
//! and counting the answers by status. Addresses that nobody has: those of the range for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

use crate::support::http::{Connection, read_answer};

/// Connections of the proxy.
const CONNECTIONS: u32 = 4;
/// Requests on their way at once on each.
const AT_ONCE: u16 = 64;

/// How many answers there were of each status.
pub(crate) type Statuses = BTreeMap<u16, u64>;

/// An address for every number.
pub(crate) fn address_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits((11 << 24) | number)
}

/// One request from each of the addresses with these numbers.
pub(crate) fn flood(
    gateway: SocketAddr,
    numbers: Range<u32>,
    path_of: impl Fn(u32) -> String + Sync,
) -> Statuses {
    let mut sum = Statuses::new();
    std::thread::scope(|scope| {
        let share = (numbers.end - numbers.start).div_ceil(CONNECTIONS);
        let parts = (0..CONNECTIONS).map(|part| {
            let from = numbers.start + part * share;
            from..(from + share).min(numbers.end)
        });
        let path_of = &path_of;
        let threads: Vec<_> =
            parts.map(|part| scope.spawn(move || pour(gateway, part, path_of))).collect();
        for thread in threads {
            for (status, count) in thread.join().expect("a connection of the flood") {
                *sum.entry(status).or_default() += count;
            }
        }
    });
    sum
}

fn pour(gateway: SocketAddr, numbers: Range<u32>, path_of: impl Fn(u32) -> String) -> Statuses {
    let mut stream = TcpStream::connect(gateway).expect("it accepts");
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut answers = BufReader::with_capacity(1 << 17, stream.try_clone().unwrap());
    let (mut statuses, mut requests) = (Statuses::new(), String::new());
    for first in numbers.clone().step_by(AT_ONCE.into()) {
        let last = (first + u32::from(AT_ONCE)).min(numbers.end);
        requests.clear();
        for number in first..last {
            let (path, address) = (path_of(number), address_of(number));
            write!(
                requests,
                "GET {path} HTTP/1.1\r\nHost: {gateway}\r\nX-Forwarded-For: {address}\r\n\r\n"
            )
            .unwrap();
        }
        stream.write_all(requests.as_bytes()).expect("it reads");
        for _ in first..last {
            let (answer, stays_open) = read_answer(&mut answers, false).expect("it answers");
            assert!(stays_open, "{} {}", answer.status, answer.text());
            *statuses.entry(answer.status).or_default() += 1;
        }
    }
    statuses
}

/// A client behind the proxy, with this address.
pub(crate) fn client(gateway: SocketAddr, address: impl std::fmt::Display) -> Connection {
    Connection::to(gateway).with_header("x-forwarded-for", &address.to_string())
}
