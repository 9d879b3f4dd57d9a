//! A crowd that asks the same at the same moment.
//!
//! Owns: opening all connections first, then sending every request in one go, and callers that
//! close their connection before the answer. Times count from the moment the first was sent, so
//! that nobody's wait is hidden by the sending of the others.

use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::figures::quantile;
use crate::support::http::{Answer, read_answer};

/// Longest time anybody waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// One caller in so many goes away, the first one of all too.
pub(crate) const LEAVER_IN: usize = 10;

/// What became of one caller.
#[derive(Debug)]
pub(crate) enum Fate {
    /// Went away before the answer.
    Left,
    /// Was answered so long after the start.
    Answered(Duration, Answer),
    /// Got no answer.
    Lost(io::Error),
}

/// What became of all.
#[derive(Debug)]
pub(crate) struct Burst {
    /// When the first request was sent.
    pub(crate) began: Instant,
    /// One for each caller.
    pub(crate) fates: Vec<Fate>,
}

impl Burst {
    /// `callers` at once for `path`; every tenth leaves after `leave_after`, if that is given.
    pub(crate) fn of(
        address: SocketAddr,
        path: &str,
        callers: usize,
        leave_after: Option<Duration>,
    ) -> Self {
        make_room();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connections = Vec::with_capacity(callers);
            for _ in 0..callers {
                connections.push(TcpStream::connect(address).await.expect("it accepts"));
            }
            // Time for the workers to take what the kernel accepted.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            let began = monotonic();
            let calls = connections.into_iter().enumerate().map(|(place, connection)| {
                let leave_after = leave_after.filter(|_| place % LEAVER_IN == 0);
                call(connection, request.as_bytes(), began, leave_after)
            });
            Self { began, fates: join_all(calls).await }
        })
    }

    /// Times of those who were answered, shortest first.
    pub(crate) fn times(&self) -> Vec<Duration> {
        let mut times: Vec<_> = self.answers().map(|(took, _)| took).collect();
        times.sort_unstable();
        times
    }

    /// The time that this share of the answered did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        quantile(&self.times(), share)
    }

    /// Every answer and when it came.
    pub(crate) fn answers(&self) -> impl Iterator<Item = (Duration, &Answer)> {
        self.fates.iter().filter_map(|fate| match fate {
            Fate::Answered(took, answer) => Some((*took, answer)),
            Fate::Left | Fate::Lost(_) => None,
        })
    }

    /// Fails unless everyone who stayed was answered with `good`.
    pub(crate) fn assert_all(&self, what: &str, good: impl Fn(&Answer) -> bool) {
        let bad = self.fates.iter().filter_map(|fate| match fate {
            Fate::Left => None,
            Fate::Answered(_, answer) if good(answer) => None,
            Fate::Answered(_, answer) => Some(format!("{} {}", answer.status, answer.text())),
            Fate::Lost(error) => Some(error.to_string()),
        });
        let bad: Vec<String> = bad.collect();
        let shown = bad.iter().take(3).map(|text| text.chars().take(600).collect());
        let shown: Vec<String> = shown.collect();
        assert!(bad.is_empty(), "{what}: {} not answered as promised: {shown:#?}", bad.len());
    }
}

async fn call(
    mut connection: TcpStream,
    request: &[u8],
    began: Instant,
    leave_after: Option<Duration>,
) -> Fate {
    let exchange = async {
        connection.write_all(request).await?;
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).await?;
        let took = monotonic().saturating_duration_since(began);
        read_answer(&mut bytes.as_slice(), false).map(|(answer, _)| (took, answer))
    };
    match tokio::time::timeout(leave_after.unwrap_or(PATIENCE), exchange).await {
        Ok(Ok((took, answer))) => Fate::Answered(took, answer),
        Ok(Err(error)) => Fate::Lost(error),
        Err(_) if leave_after.is_some() => Fate::Left,
        Err(_) => Fate::Lost(io::ErrorKind::TimedOut.into()),
    }
}

/// A thousand sockets are more than some systems allow at first; what is started later inherits it.
pub(crate) fn make_room() {
    let own = std::process::id().to_string();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=8192:", "--pid", &own]).stderr(Stdio::null());
    // Where it cannot be raised it may be enough as it is; else connecting says so.
    drop(command.status());
}
