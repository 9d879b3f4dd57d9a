//! An even stream of questions of several kinds, and what became of each.
//!
//! Owns: an open loop: question `n` is due at `n` times the interval and its time counts from then.
//! Everything is kept, refusals too, so that a test can look at any stretch of it. Refuses to
//! retry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use serde_json::Value;

use crate::figures::quantile;
use crate::support::http::{Answer, Connection};

/// Question `n`: its kind and its path.
pub(crate) type Questions = Arc<dyn Fn(u32) -> (&'static str, String) + Send + Sync>;

/// What became of one question.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The kind of the question.
    pub(crate) kind: &'static str,
    /// When it was due.
    pub(crate) due: Instant,
    /// From then to the answer.
    pub(crate) took: Duration,
    /// HTTP status; 0 when there was no answer.
    pub(crate) status: u16,
    /// The tier that answered; empty for refusals.
    pub(crate) tier: String,
    /// What was asked and what came back, where that was no success.
    pub(crate) trouble: Option<String>,
}

/// A stream that runs.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    senders: Vec<JoinHandle<Vec<Asked>>>,
}

impl Traffic {
    /// Starts asking `rate` questions a second over `connections` connections.
    pub(crate) fn start(
        address: SocketAddr,
        rate: u32,
        connections: u32,
        questions: &Questions,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_secs(1) / rate;
        let began = monotonic() + Duration::from_millis(20);
        let senders = (0..connections).map(|first| {
            let (stop, questions) = (Arc::clone(&stop), Arc::clone(questions));
            std::thread::spawn(move || {
                let mut connection = Connection::to(address);
                let mut asked = Vec::new();
                for number in (first..).step_by(usize::try_from(connections).unwrap()) {
                    let due = began + interval * number;
                    std::thread::sleep(due.saturating_duration_since(monotonic()));
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (kind, path) = questions(number);
                    asked.push(ask(&mut connection, kind, &path, due));
                }
                asked
            })
        });
        let senders = senders.collect();
        Self { stop, senders }
    }

    /// A few questions a second to a process that has no part in the fault: what they take longer
    /// is the machine's doing, which others may use too.
    pub(crate) fn control(bystander: SocketAddr) -> Self {
        let questions: Questions = Arc::new(|_| ("control", "/__simulator/stats".to_owned()));
        Self::start(bystander, 40, 4, &questions)
    }

    /// Stops asking; everything that was asked, in the order in which it was due.
    pub(crate) fn stop(self) -> Vec<Asked> {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.senders.into_iter().flat_map(|sender| sender.join().unwrap());
        let mut asked: Vec<Asked> = asked.collect();
        asked.sort_by_key(|one| one.due);
        asked
    }
}

fn ask(connection: &mut Connection, kind: &'static str, path: &str, due: Instant) -> Asked {
    let answer = connection.get(path);
    let took = monotonic().saturating_duration_since(due);
    let (status, tier, trouble) = match answer {
        Ok(answer) if answer.status == 200 => (200, tier_of(&answer), None),
        Ok(answer) => (answer.status, String::new(), Some(format!("{path}: {}", answer.text()))),
        Err(error) => (0, String::new(), Some(format!("{path}: {error}"))),
    };
    Asked { kind, due, took, status, tier, trouble }
}

/// From the metadata, which stands at the end: the data before it need not be read.
fn tier_of(answer: &Answer) -> String {
    let text = answer.text();
    let metadata = text.rfind("\"metadata\":").and_then(|at| text.get(at + 11..text.len() - 1));
    let metadata: Value =
        metadata.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    metadata["cache_tier"].as_str().unwrap_or_default().to_owned()
}

/// Those of a kind that were due in a stretch of time.
pub(crate) fn within<'a>(
    asked: &'a [Asked],
    kinds: &'a [&'a str],
    from: Instant,
    to: Instant,
) -> impl Iterator<Item = &'a Asked> {
    let fits = move |one: &&Asked| from <= one.due && one.due < to && kinds.contains(&one.kind);
    asked.iter().filter(fits)
}

/// The time that this share of them did not exceed.
pub(crate) fn time_of<'a>(asked: impl Iterator<Item = &'a Asked>, share: f64) -> Duration {
    let mut times: Vec<_> = asked.map(|one| one.took).collect();
    times.sort_unstable();
    quantile(&times, share)
}

/// Fails with the first few that were not answered with 200.
pub(crate) fn assert_no_failure(what: &str, asked: &[Asked]) {
    let bad: Vec<_> = asked.iter().filter(|one| one.status != 200).collect();
    let shown: Vec<_> = bad.iter().take(5).map(|one| (one.status, &one.trouble)).collect();
    assert!(bad.is_empty(), "{what}: {} of {} failed: {shown:#?}", bad.len(), asked.len());
}
