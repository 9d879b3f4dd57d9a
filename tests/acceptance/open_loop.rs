//! A load that does not wait: question `n` is sent when it is due, over any connection that is free.
//!
//! Owns: bounded connections, each with one question under way; when none is free the question is
//! not sent and counted so, as a crowd that has no more sockets. What was sent is kept, one by one,
//! with the time it took from being sent, so that a refusal's time is the service's and not the
//! crowd's. Also a volley: many questions at one moment, their connections open before it.
//! Refuses: to retry.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use breakwater::clock::monotonic;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use crate::closed_loop::wire::{Wire, connect};
use crate::figures::quantile;

/// Longest time anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How exact the timer is; all that is due in between goes at once.
const TICK: Duration = Duration::from_millis(1);
/// After an error of a connection, before it is used again.
const PAUSE: Duration = Duration::from_millis(5);

/// The path of question `n`.
pub(crate) type Paths = Arc<dyn Fn(u32) -> String + Send + Sync>;

/// What became of one question that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// When.
    pub(crate) at: Instant,
    /// From then to the answer.
    pub(crate) took: Duration,
    /// HTTP status; 0 when there was no answer.
    pub(crate) status: u16,
}

impl Sent {
    /// Whether it is what was asked for.
    pub(crate) const fn is_good(&self) -> bool {
        self.status == 200
    }

    /// Whether the service said that it will not.
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self.status, 429 | 503)
    }
}

/// What became of all questions.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What was sent, in the order of the answers.
    pub(crate) sent: Vec<Sent>,
    /// Questions for which no connection was free.
    pub(crate) unsent: u64,
}

impl Heard {
    /// Those that were sent in a stretch of time.
    pub(crate) fn within(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Sent> {
        self.sent.iter().filter(move |sent| from <= sent.at && sent.at < to)
    }

    /// How many of those were good, and how many there were.
    pub(crate) fn counts(&self, from: Instant, to: Instant) -> (u32, u32) {
        self.within(from, to)
            .fold((0, 0), |(good, all), sent| (good + u32::from(sent.is_good()), all + 1))
    }

    /// Good answers a second, by when they came.
    pub(crate) fn good_per_second(&self, from: Instant, to: Instant) -> f64 {
        let good = self.sent.iter().filter(|sent| sent.is_good());
        let came = good.map(|sent| sent.at + sent.took).filter(|came| from <= *came && *came < to);
        f64::from(u32::try_from(came.count()).unwrap()) / (to - from).as_secs_f64()
    }

    /// Both together.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.sent.extend(other.sent);
        self.unsent += other.unsent;
        self
    }
}

/// The time that `share` (0 to 1) of them did not exceed.
pub(crate) fn time_of<'a>(sent: impl Iterator<Item = &'a Sent>, share: f64) -> Duration {
    let mut times: Vec<Duration> = sent.map(|sent| sent.took).collect();
    times.sort_unstable();
    quantile(&times, share)
}

/// What is asked, of whom, and how often.
#[derive(Clone)]
pub(crate) struct Offer {
    /// Who is asked.
    pub(crate) address: SocketAddr,
    /// Questions a second.
    pub(crate) rate: u32,
    /// Most connections.
    pub(crate) connections: usize,
    /// Threads that ask; each has its share.
    pub(crate) threads: u32,
    /// What is asked.
    pub(crate) paths: Paths,
    /// Header lines of every question, each with its end.
    pub(crate) headers: &'static str,
}

/// A load that runs.
pub(crate) struct OpenLoop {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Heard>>,
}

impl OpenLoop {
    /// Starts asking.
    pub(crate) fn start(offer: &Offer) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let began = monotonic() + Duration::from_millis(20);
        let threads = (0..offer.threads).map(|thread| {
            let (offer, stop) = (offer.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                on_a_thread(async { Asker::new(&offer, began, thread).run(&stop).await })
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Asks for so long.
    pub(crate) fn run(offer: &Offer, lasting: Duration) -> Heard {
        let running = Self::start(offer);
        std::thread::sleep(lasting);
        running.stop()
    }

    /// Asks no more.
    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks no more, and waits for the answers to what was asked.
    pub(crate) fn stop(self) -> Heard {
        self.end();
        let heard = self.threads.into_iter().map(|thread| thread.join().unwrap());
        heard.fold(Heard::default(), Heard::and)
    }
}

/// One thread's share of a load.
struct Asker<'a> {
    offer: &'a Offer,
    free: Vec<Wire>,
    due: Instant,
    interval: Duration,
    number: u32,
    heard: Heard,
}

impl<'a> Asker<'a> {
    fn new(offer: &'a Offer, began: Instant, thread: u32) -> Self {
        let wire = || {
            let mut wire = Wire::default();
            wire.headers = offer.headers;
            wire
        };
        let each = offer.connections / usize::try_from(offer.threads).unwrap();
        let interval = Duration::from_secs(1) / offer.rate;
        Self {
            offer,
            free: std::iter::repeat_with(wire).take(each).collect(),
            due: began + interval * thread,
            interval: interval * offer.threads,
            number: thread,
            heard: Heard::default(),
        }
    }

    async fn run(mut self, stop: &AtomicBool) -> Heard {
        let mut under_way = FuturesUnordered::new();
        while !stop.load(Ordering::Relaxed) {
            for number in self.due_by(monotonic()) {
                match self.free.pop() {
                    Some(wire) => {
                        let path = (self.offer.paths)(number);
                        under_way.push(ask(wire, self.offer.address, path));
                    }
                    None => self.heard.unsent += 1,
                }
            }
            let next = self.due.max(monotonic() + TICK);
            tokio::select! {
                Some((wire, sent)) = under_way.next() => self.hear(wire, sent),
                () = tokio::time::sleep_until(next.into()) => {}
            }
        }
        while let Some((wire, sent)) = under_way.next().await {
            self.hear(wire, sent);
        }
        self.heard
    }

    fn due_by(&mut self, now: Instant) -> Vec<u32> {
        let mut due = Vec::new();
        while self.due <= now {
            due.push(self.number);
            self.due += self.interval;
            self.number += self.offer.threads;
        }
        due
    }

    fn hear(&mut self, wire: Wire, sent: Sent) {
        self.free.push(wire);
        self.heard.sent.push(sent);
    }
}

/// `paths` all at once at that moment, on connections of their own.
pub(crate) fn volley(address: SocketAddr, paths: Vec<String>, at: Instant) -> Heard {
    on_a_thread(async {
        let mut wires = Vec::with_capacity(paths.len());
        for _ in &paths {
            let mut wire = Wire::default();
            wire.stream = Some(connect(address).await.expect("it accepts"));
            wires.push(wire);
        }
        assert!(monotonic() <= at, "the connections were not open in time");
        tokio::time::sleep_until(at.into()).await;
        let asked = wires.into_iter().zip(paths).map(|(wire, path)| ask(wire, address, path));
        let sent = join_all(asked).await.into_iter().map(|(_, sent)| sent).collect();
        Heard { sent, unsent: 0 }
    })
}

async fn ask(mut wire: Wire, address: SocketAddr, path: String) -> (Wire, Sent) {
    let at = monotonic();
    let status = match tokio::time::timeout(PATIENCE, wire.ask(address, &path)).await {
        Ok(Ok(answer)) => answer.status,
        Ok(Err(_)) | Err(_) => 0,
    };
    let took = monotonic().saturating_duration_since(at);
    if status == 0 {
        tokio::time::sleep(PAUSE).await;
    }
    (wire, Sent { at, took, status })
}

/// Runs it to its end on this thread.
pub(crate) fn on_a_thread<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}
