//! Those who cost more than they ask for: slow connections, and connections that come and go.
//!
//! Owns: a crowd of connections that send a head or a body a byte a second or say nothing, opened
//! again whenever they are closed; and churn: so many connections a second that are reset, left in
//! mid-head, or used for one question. Refuses to count what the slow ones are answered: they ask
//! on another route than everybody else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use breakwater::clock::monotonic;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::open_loop::{Heard, Sent, on_a_thread};
use crate::support::http::read_answer;

/// Time of a byte.
const BYTE: Duration = Duration::from_secs(1);
/// After a connection was closed, before the next.
const AGAIN: Duration = Duration::from_millis(500);
/// Longest time anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Slow connections that are open.
pub(crate) struct SlowClients {
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    opened: Arc<AtomicU64>,
}

impl SlowClients {
    /// Opens so many, all within a second.
    pub(crate) fn start(address: SocketAddr, count: u32) -> Self {
        let (end, ended) = oneshot::channel();
        let opened = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&opened);
        let thread = std::thread::spawn(move || {
            on_a_thread(async {
                let all = (0..count).map(|number| stay(number, count, address, &counted));
                tokio::select! {
                    _ = ended => {}
                    _ = join_all(all) => {}
                }
            });
        });
        Self { end, thread, opened }
    }

    /// Closes all; how many were opened in all.
    pub(crate) fn stop(self) -> u64 {
        drop(self.end);
        self.thread.join().expect("being slow does not panic");
        self.opened.load(Ordering::Relaxed)
    }
}

/// One of them, for ever.
async fn stay(number: u32, count: u32, address: SocketAddr, opened: &AtomicU64) {
    let bytes: &[u8] = match number % 3 {
        0 => b"GET /api/categories HTTP/1.1\r\nHost: slow.example\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaa",
        1 => b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        _ => b"",
    };
    let head: &[u8] = match number % 3 {
        1 => {
            b"POST /api/affiliate/links HTTP/1.1\r\nHost: slow.example\r\n\
               Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
        }
        _ => b"",
    };
    tokio::time::sleep(Duration::from_secs(1) * number / count).await;
    loop {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            opened.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(head).await.is_ok() {
                drip(&mut stream, bytes).await;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Until the other side answers or closes, or all is sent and that for a minute.
async fn drip(stream: &mut TcpStream, bytes: &[u8]) {
    let mut answer = [0; 256];
    for byte in bytes.iter().map(Some).chain([None; 60]) {
        if tokio::time::timeout(BYTE, stream.read(&mut answer)).await.is_ok() {
            return;
        }
        if let Some(byte) = byte
            && stream.write_all(&[*byte]).await.is_err()
        {
            return;
        }
    }
}

/// Connections that come and go.
pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Heard>,
}

impl Churn {
    /// Opens so many connections a second; a third of them ask for `path`.
    pub(crate) fn start(address: SocketAddr, rate: u32, path: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            std::thread::spawn(move || on_a_thread(come_and_go(address, rate, &path, &stopped)));
        Self { stop, thread }
    }

    /// Opens no more; what those who asked were answered.
    pub(crate) fn stop(self) -> Heard {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("coming and going does not panic")
    }
}

async fn come_and_go(address: SocketAddr, rate: u32, path: &str, stop: &AtomicBool) -> Heard {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let (mut visits, mut heard, mut number) = (FuturesUnordered::new(), Heard::default(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        tokio::select! {
            _ = ticks.tick() => {
                visits.push(visit(address, path, number % 3));
                number += 1;
            }
            Some(sent) = visits.next() => heard.sent.extend(sent),
        }
    }
    while let Some(sent) = visits.next().await {
        heard.sent.extend(sent);
    }
    heard
}

/// One connection; what became of its question, if it had one.
async fn visit(address: SocketAddr, path: &str, kind: u32) -> Option<Sent> {
    let at = monotonic();
    let mut stream = TcpStream::connect(address).await.ok()?;
    match kind {
        0 => {
            stream.set_zero_linger().ok()?;
            None
        }
        1 => {
            stream.write_all(b"GET /api/categories HTTP/1.1\r\nHost: hal").await.ok()?;
            None
        }
        _ => {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: churn\r\nConnection: close\r\n\r\n");
            let exchange = async {
                stream.write_all(request.as_bytes()).await?;
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).await?;
                read_answer(&mut bytes.as_slice(), false)
            };
            let answer = tokio::time::timeout(PATIENCE, exchange).await;
            let status = answer.ok().and_then(Result::ok).map_or(0, |(answer, _)| answer.status);
            Some(Sent { at, took: monotonic().saturating_duration_since(at), status })
        }
    }
}
