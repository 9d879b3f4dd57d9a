//! The thread that sends spans to the collector.
//!
//! Owns: the way from a worker to the queue, the requests, and the end. Workers put spans into the queue under
//! a lock that is held for no longer; JSON and I/O are the thread's. A panic there is counted, and the work is
//! begun anew over the same queue. When the collector is away, a line in the log says so, and one when it is
//! back.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use slog::{Logger, info, warn};
use tokio::sync::{Notify, watch};

use super::json;
use super::queue::{ExportOutcome, NextExport, SpanDrop, SpanQueue, SpansDone};
use super::settings::TracingSettings;
use super::span::Span;
use crate::clock;
use crate::config::Secret;
use crate::metrics::TracingMetrics;
use crate::origin::transport::{AwcTransport, Transport, Wire};
use crate::origin::{Answer, Request};
use crate::supervision::{Observer, keep_running};

/// The owner of the work, in metrics.
pub const TASK: &str = "trace-export";
/// Longest time of one export request.
const WITHIN: Duration = Duration::from_secs(10);
/// What a stop may take, and what of it is left for requests.
const STOP: Duration = Duration::from_secs(1);
const LAST_REQUESTS: Duration = Duration::from_millis(900);
/// An answer is a few words.
const LONGEST_ANSWER: usize = 64 << 10;

/// The way to the collector; all workers share it.
#[derive(Debug)]
pub struct SpanExporter {
    state: Arc<ExporterState>,
    /// Until when what is left may be sent; dropped, it ends the thread at once.
    stop: watch::Sender<Option<Instant>>,
    over: watch::Receiver<()>,
}

#[derive(Debug)]
struct ExporterState {
    queue: Mutex<SpanQueue>,
    wake: Notify,
    metrics: TracingMetrics,
}

impl ExporterState {
    fn queue(&self) -> MutexGuard<'_, SpanQueue> {
        // A queue is whole after every change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, done: SpansDone) {
        self.metrics.exported.inc_by(spans(done.exported));
        if let Some((reason, dropped)) = done.dropped {
            self.metrics.dropped.at([reason.as_str()]).inc_by(spans(dropped));
        }
    }
}

fn spans(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl SpanExporter {
    /// Starts the thread; `None` without a collector.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        settings: TracingSettings,
        metrics: &TracingMetrics,
        log: &Logger,
        observer: Arc<dyn Observer>,
    ) -> io::Result<Option<Self>> {
        let Some(endpoint) = &settings.endpoint else { return Ok(None) };
        let state = Arc::new(ExporterState {
            queue: Mutex::default(),
            wake: Notify::new(),
            metrics: metrics.clone(),
        });
        let (stop, stopping) = watch::channel(None);
        let (alive, over) = watch::channel(());
        let target = CollectorAddress::new(endpoint, &settings);
        info!(log, "spans are exported"; "to" => &target.url);
        let work = Arc::new(ExportWork {
            state: Arc::clone(&state),
            target,
            stopping,
            log: log.clone(),
            _alive: alive,
        });
        let mut ended = over.clone();
        std::thread::Builder::new().name(TASK.to_owned()).spawn(move || {
            // Without a runtime nothing can run: spans find no room when the queue is full.
            let Ok(runtime) = actix_rt::Runtime::new() else { return };
            runtime.block_on(async move {
                keep_running(TASK, observer, move || run(Arc::clone(&work)));
                ended.changed().await.unwrap_or_default();
            });
        })?;
        Ok(Some(Self { state, stop, over }))
    }

    /// Takes the spans of a request, so many, if there is room for them; else they are not even made. They are
    /// of one that is `kept`, or only its caller wants them.
    pub fn put(&self, number: usize, kept: bool, make: impl FnOnce() -> Vec<Span>) {
        let state = &self.state;
        let room = state.queue().has_room(number, kept);
        let put = if room {
            let spans = make();
            state.queue().put(spans, kept, clock::monotonic())
        } else {
            Err(number)
        };
        match put {
            Ok(true) => state.wake.notify_one(),
            Ok(false) => {}
            Err(dropped) => {
                state.metrics.dropped.at([SpanDrop::QueueFull.as_str()]).inc_by(spans(dropped));
            }
        }
    }

    /// Sends what waits, for a second at most; the rest is dropped.
    pub async fn stop(&self) {
        let now = clock::monotonic();
        self.stop.send_replace(Some(now + LAST_REQUESTS));
        let mut over = self.over.clone();
        drop(tokio::time::timeout_at((now + STOP).into(), over.changed()).await);
    }
}

/// Sends no span at all to the collector, for `check-config --connect`; `None` without one.
pub async fn try_collector(
    settings: &TracingSettings,
    log: &Logger,
) -> Option<Result<String, String>> {
    let target = CollectorAddress::new(settings.endpoint.as_deref()?, settings);
    let transport = AwcTransport::new(&Wire::default(), log);
    Some(match transport.send(target.request(&[]), WITHIN).await {
        Ok(answer) if matches!(outcome(&answer), ExportOutcome::Taken { .. }) => {
            Ok("takes spans".to_owned())
        }
        Ok(answer) => Err(format!("{} answers with status {}", target.url, answer.status)),
        Err(fault) => Err(format!("{}: {fault}", target.url)),
    })
}

/// Where spans go.
struct CollectorAddress {
    service: String,
    url: String,
    headers: Vec<(&'static str, String)>,
}

impl CollectorAddress {
    fn new(endpoint: &str, settings: &TracingSettings) -> Self {
        // A request names its fields as long as the process lives: these few do.
        let field = |(name, value): &(String, Secret)| -> (&'static str, String) {
            (name.clone().leak(), value.expose().to_owned())
        };
        let ours = [("content-type", "application/json".to_owned())];
        let set = settings.headers.iter().flatten().map(field);
        Self {
            service: settings.service_name.clone(),
            url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
            headers: ours.into_iter().chain(set).collect(),
        }
    }

    fn request(&self, spans: &[Span]) -> Request {
        Request {
            method: Method::POST,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: json::body(&self.service, spans).into(),
        }
    }
}

struct ExportWork {
    state: Arc<ExporterState>,
    target: CollectorAddress,
    stopping: watch::Receiver<Option<Instant>>,
    log: Logger,
    /// Dropped with the work, when that is over.
    _alive: watch::Sender<()>,
}

async fn run(work: Arc<ExportWork>) {
    let wire = Wire { connections: 1, max_body: LONGEST_ANSWER, ..Wire::default() };
    let transport = AwcTransport::new(&wire, &work.log);
    let mut told = None;
    let lost = work.state.queue().lost(clock::monotonic(), transport.chance());
    work.state.count(lost);
    loop {
        let stopping = *work.stopping.borrow();
        if let Some(until) = stopping {
            work.state.queue().close(until);
        }
        let next = work.state.queue().next(clock::monotonic());
        match next {
            NextExport::Send(spans) => {
                let (sent, trouble) = tokio::select! {
                    sent = work.send(&transport, &spans) => sent,
                    () = cut(work.stopping.clone()) => (ExportOutcome::Later(None), told.clone()),
                };
                work.tell(&mut told, trouble);
                let now = clock::monotonic();
                let done = work.state.queue().ended(sent, now, transport.chance());
                work.state.count(done);
            }
            NextExport::Wait(until) if work.wait(until).await => {}
            NextExport::Wait(_) | NextExport::Over => break,
        }
    }
    let left = work.state.queue().give_up();
    work.state.count(left);
}

/// Comes when nothing may be sent any more.
async fn cut(mut stopping: watch::Receiver<Option<Instant>>) {
    let until = stopping.wait_for(Option::is_some).await.ok().and_then(|until| *until);
    if let Some(until) = until {
        tokio::time::sleep_until(until.into()).await;
    }
}

impl ExportWork {
    /// What came of a batch, and what was wrong with it.
    async fn send(
        &self,
        transport: &AwcTransport,
        spans: &[Span],
    ) -> (ExportOutcome, Option<String>) {
        match transport.send(self.target.request(spans), WITHIN).await {
            Ok(answer) => {
                let received_at = transport.wall();
                let answer = Answer { received_at, ..answer };
                let sent = outcome(&answer);
                let trouble = match sent {
                    ExportOutcome::Taken { rejected: 0 } => None,
                    ExportOutcome::Taken { rejected } => {
                        Some(format!("{rejected} spans are refused"))
                    }
                    ExportOutcome::Rejected | ExportOutcome::Later(_) => {
                        Some(format!("status {}", answer.status))
                    }
                };
                (sent, trouble)
            }
            Err(fault) => (ExportOutcome::Later(None), Some(fault.to_string())),
        }
    }

    /// Waits until then, or until something changes; `false`: nobody can put anything any more.
    async fn wait(&self, until: Option<Instant>) -> bool {
        let mut stopping = self.stopping.clone();
        let due = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => true,
            () = self.state.wake.notified() => true,
            stopped = stopping.wait_for(Option::is_some) => stopped.is_ok(),
        }
    }

    /// A line when trouble begins or is another, and one when it is over.
    fn tell(&self, told: &mut Option<String>, trouble: Option<String>) {
        if trouble == *told {
            return;
        }
        match &trouble {
            Some(trouble) => {
                warn!(self.log, "spans are not taken by the collector"; "reason" => trouble);
            }
            None => info!(self.log, "spans are taken by the collector again"),
        }
        *told = trouble;
    }
}

/// What an answer means (OTLP/HTTP, "Response").
fn outcome(answer: &Answer) -> ExportOutcome {
    match answer.status {
        200..=299 => ExportOutcome::Taken { rejected: json::rejected(&answer.body) },
        429 | 502..=504 => ExportOutcome::Later(answer.retry_after()),
        _ => ExportOutcome::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_some_statuses_ask_to_come_again() {
        let later = |seconds: Option<u64>| ExportOutcome::Later(seconds.map(Duration::from_secs));
        for (status, told, wanted) in [
            (200, None, ExportOutcome::Taken { rejected: 0 }),
            (202, None, ExportOutcome::Taken { rejected: 0 }),
            (302, None, ExportOutcome::Rejected),
            (400, Some("3"), ExportOutcome::Rejected),
            (429, Some("3"), later(Some(3))),
            (429, None, later(None)),
            (500, None, ExportOutcome::Rejected),
            (502, None, later(None)),
            (503, Some("soon"), later(None)),
            (504, None, later(None)),
        ] {
            let told = told.map(|told: &'static str| ("retry-after".to_owned(), told.into()));
            let answer = Answer::new(status, told.into_iter().collect(), Bytes::new());
            assert_eq!(outcome(&answer), wanted, "{status}");
        }
    }

    #[test]
    fn the_path_is_below_the_endpoint() {
        let settings = TracingSettings::default();
        for (endpoint, url) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("https://a/otlp/", "https://a/otlp/v1/traces"),
        ] {
            assert_eq!(CollectorAddress::new(endpoint, &settings).url, url);
        }
    }
}
