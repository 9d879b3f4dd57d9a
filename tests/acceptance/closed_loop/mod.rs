//! A load as heavy as the answers allow: so many connections, each asking again when answered.
//!
//! Owns: exact counts by status, by what the answer holds and by second, and percentiles of the
//! times; a request left without an answer at the end is counted and its waiting is among the times.
//! Shared with the outage bench, so that both measure the same. Refuses: to retry; answers
//! without a length, which count as errors of the connection.

mod tally;
pub(crate) mod wire;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use wire::{Answer, Wire};

pub(crate) use tally::Tally;

/// Threads that ask; each has its share of the connections.
const THREADS: usize = 2;
/// A request that waited so long at the end was left waiting; a shorter one was only under way.
const LEFT_WAITING: Duration = Duration::from_secs(1);
/// After an error of a connection, before the next is opened.
const PAUSE: Duration = Duration::from_millis(5);

/// What is asked, of whom, and what an answer must hold.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    /// Who is asked.
    pub(crate) address: SocketAddr,
    /// The paths, asked for in turn.
    pub(crate) paths: Arc<[String]>,
    /// Connections in all.
    pub(crate) connections: usize,
    /// Near the start of the body of a good answer.
    pub(crate) good: String,
    /// Near the end of the body of an answer that says it is stale.
    pub(crate) stale: String,
}

/// Asks for so long and says what became of it.
pub(crate) fn run(course: &Course, lasting: Duration) -> io::Result<Tally> {
    let began = monotonic();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let course = course.clone();
            std::thread::spawn(move || ask_on(thread, &course, began, began + lasting))
        })
        .collect();
    let mut sum = Tally::new()?;
    for thread in threads {
        let tally = thread.join().map_err(|_| io::Error::other("a thread of the load panicked"))?;
        sum.add(&tally?);
    }
    Ok(sum)
}

/// One thread's share of the connections.
fn ask_on(thread: usize, course: &Course, began: Instant, until: Instant) -> io::Result<Tally> {
    let tally = Rc::new(RefCell::new(Tally::new()?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let places = (thread..course.connections).step_by(THREADS);
        let asking: FuturesUnordered<_> =
            places.map(|place| ask_until(place, course, began, until, &tally)).collect();
        asking.collect::<()>().await;
    });
    let mut tally = tally.replace(Tally::new()?);
    tally.lasted = monotonic() - began;
    Ok(tally)
}

/// One connection, until time is up.
async fn ask_until(
    place: usize,
    course: &Course,
    began: Instant,
    until: Instant,
    tally: &RefCell<Tally>,
) {
    let asked_at = Cell::new(None);
    let asking = async {
        let mut wire = Wire::default();
        let first = place * course.paths.len() / course.connections.max(1);
        for path in course.paths.iter().cycle().skip(first) {
            let asked = monotonic();
            asked_at.set(Some(asked));
            let answer = wire.ask(course.address, path).await;
            if count(tally, answer.ok(), course, asked, began) {
                continue;
            }
            asked_at.set(None);
            wire = Wire::default();
            tokio::time::sleep(PAUSE).await;
        }
    };
    if tokio::time::timeout_at(until.into(), asking).await.is_err() {
        let waited = asked_at.get().map(|asked: Instant| monotonic() - asked);
        if let Some(waited) = waited.filter(|waited| *waited >= LEFT_WAITING) {
            let mut tally = tally.borrow_mut();
            tally.left_waiting += 1;
            tally.times.saturating_record(micros(waited));
        }
    }
}

/// Counts what came back; whether it was an answer.
fn count(
    tally: &RefCell<Tally>,
    answer: Option<Answer<'_>>,
    course: &Course,
    asked: Instant,
    began: Instant,
) -> bool {
    let answered = monotonic();
    let mut tally = tally.borrow_mut();
    tally.times.saturating_record(micros(answered - asked));
    if let Some(answer) = &answer {
        tally.count(answer, course, usize::try_from((answered - began).as_secs()).unwrap_or(0));
    } else {
        tally.errors += 1;
    }
    answer.is_some()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
