//! A load of so many requests a second, whatever the answers do.
//!
//! Owns: an open loop: request `n` is due at `n` times the interval, and its time counts from then,
//! so that a service that stalls is charged for everybody who waited. Bounded in connections and
//! in number. Refuses to retry: a request that has no good answer is a failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;

use crate::support::http::Connection;

/// Requests that one run may send at most.
const MOST: u32 = 200_000;

/// What the requests are: the path of number `n`.
pub(crate) type Paths = Arc<dyn Fn(u32) -> String + Send + Sync>;

/// What became of one request.
#[derive(Debug)]
pub(crate) struct Sample {
    /// From the time it was due to its answer.
    pub(crate) took: Duration,
    /// Whether the answer was marked as second best.
    pub(crate) degraded: bool,
    /// Why it is a failure, if it is one.
    pub(crate) failure: Option<Failure>,
}

/// A request without a good answer.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was asked for.
    pub(crate) path: String,
    /// What came back.
    pub(crate) text: String,
}

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Vec<Sample>>>,
}

impl Load {
    /// Starts sending `rate` requests a second over `connections` connections.
    pub(crate) fn start(address: SocketAddr, rate: u32, connections: u32, paths: &Paths) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_secs(1) / rate;
        let began = monotonic() + Duration::from_millis(20);
        let senders = (0..connections)
            .map(|first| {
                let (stop, paths) = (Arc::clone(&stop), Arc::clone(paths));
                std::thread::spawn(move || {
                    let mut connection = Connection::to(address);
                    let mut samples = Vec::new();
                    for number in (first..MOST).step_by(usize::try_from(connections).unwrap()) {
                        let due = began + interval * number;
                        std::thread::sleep(due.saturating_duration_since(monotonic()));
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        samples.push(send(&mut connection, &paths(number), due));
                    }
                    samples
                })
            })
            .collect();
        Self { stop, senders }
    }

    /// Stops sending and returns what became of every request.
    pub(crate) fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.senders.into_iter().flat_map(|sender| sender.join().unwrap());
        samples.collect()
    }
}

fn send(connection: &mut Connection, path: &str, due: Instant) -> Sample {
    let answer = connection.get(path);
    let took = monotonic().saturating_duration_since(due);
    let failed = |text: String| Some(Failure { path: path.to_owned(), text });
    let (degraded, failure) = match answer {
        Ok(answer) if (200..300).contains(&answer.status) => {
            (!contains(&answer.body, b"\"degraded\":[]"), None)
        }
        Ok(answer) => (false, failed(format!("{} {}", answer.status, answer.text()))),
        Err(error) => (false, failed(error.to_string())),
    };
    Sample { took, degraded, failure }
}

fn contains(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}
