//! What one HTTP worker works with.
//!
//! Its handles to the actors, its buffer of requests that MetricsActor has yet to learn of, and what
//! it shares with all workers. Built once a worker by `app`; handlers borrow it. When MetricsActor
//! does not take a batch, that is dropped and counted.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use actix_web::http::header::HeaderMap;
use slog::Logger;

use super::breakers::Breakers;
use super::connection::ConnectionLimiter;
use super::context::RequestContext;
use super::envelope::Integration;
use super::explain::Explain;
use super::handlers::rendered::RenderedMetrics;
use super::live::Live;
use super::load_shedder::{LoadShedder, LoopLags};
use super::log_sampler::{LogSampler, LogSamplers};
use super::service::Service;
use super::settings::HttpSettings;
use super::start_page::Documents;
use crate::access::{Access, AdminKeys, Guesses};
use crate::cache::upkeep::Warmer;
use crate::cache::{CacheClient, LongestLife};
use crate::clock;
use crate::clock::Timestamp;
use crate::config::InForce;
use crate::limits::{Abuse, Counter, OpenOfWorker, OpenRoutes, Pressure, RateLimiterActor, Table};
use crate::metrics::{Batch, Metrics, MetricsActor, MonitoringTable, Observed, RequestSeen};
use crate::origin::state::OriginState;
use crate::otlp::SpanExporter;
use crate::replication::Changes;
use crate::supervision::{Handle, Supervisor};
use crate::trace::{Ids, Trace};

/// What all workers share.
pub struct Shared {
    /// The settings that the process started with.
    pub settings: HttpSettings,
    /// What was taken over since.
    pub in_force: InForce,
    /// The longest time that anything in the cache is usable.
    pub longest: LongestLife,
    /// Whether answers come from the live upstream or from the simulator.
    pub integration: Integration,
    pub metrics: Metrics,
    pub supervisor: Supervisor,
    pub origins: Vec<Arc<OriginState>>,
    /// The breakers an admin may see and move, by name.
    pub breakers: Breakers,
    pub accounts: Arc<Table>,
    /// Who asked how often for what is never limited.
    pub open_routes: OpenRoutes,
    /// What the admin's page shows.
    pub live: Live,
    /// The last requests, as MetricsActor keeps them.
    pub observed: MonitoringTable,
    /// What `/metrics` showed last.
    pub rendered: RenderedMetrics,
    /// What is served beside the gateway's own endpoints.
    pub services: Vec<Arc<dyn Service>>,
    /// The log of changes that all instances follow.
    pub changes: Changes,
    /// Clients' keys, lists, and what admins did.
    pub access: Access,
    /// What clients asked lately, and who is throttled for it.
    pub abuse: Abuse,
    /// What became of requests lately.
    pub explain: Explain,
    /// The way to the collector of traces, if there is one.
    pub exporter: Option<SpanExporter>,
    pub pressure: Arc<Pressure>,
    /// The keys of admins, and the sessions begun with them.
    pub admin_keys: AdminKeys,
    /// How often who was wrong about it.
    pub guesses: Guesses,
    pub stop: StopState,
    pub connections: Arc<ConnectionLimiter>,
    pub lags: Arc<LoopLags>,
    pub log: Logger,
    pub started: Timestamp,
    pub losses: crate::telemetry::Losses,
    pub documents: Documents,
}

/// What is known of a stop.
#[derive(Debug, Default)]
pub struct StopState {
    pub draining: AtomicBool,
    /// Requests that ended without an answer since then. No metric: nobody can scrape it any more.
    pub cut: AtomicUsize,
}

impl Shared {
    /// Whether the process is about to stop: every answer is the last of its connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stop.draining.load(Ordering::Relaxed)
    }

    /// The trace of a request with these headers.
    pub(super) fn trace<'a>(&self, context: &'a RequestContext, headers: &HeaderMap) -> &'a Trace {
        context.trace(headers, self.exporter.is_some())
    }

    /// The ids for a log line of a request.
    pub(super) fn ids(&self, context: &RequestContext, headers: &HeaderMap) -> Ids {
        let trace = self.trace(context, headers);
        trace.ids(&context.id, trace.span)
    }
}

pub struct Worker {
    pub shared: Arc<Shared>,
    pub cache: CacheClient,
    pub warmer: Warmer,
    pub limiter: Handle<RateLimiterActor>,
    /// Its way to the counts that limits are kept in together with other instances; `None` when
    /// they are this instance's own.
    pub counter: Option<Arc<dyn Counter>>,
    /// The process's window keeper.
    pub monitor: Handle<MetricsActor>,
    pub shedder: LoadShedder,
    /// What it may do of what is never limited.
    pub open_routes: RefCell<OpenOfWorker>,
    /// What was seen and not yet reported.
    pub seen: RefCell<Batch>,
    /// Hits, of which a sample is explained.
    pub hits: Cell<u32>,
    /// Log lines that requests cause, and so anybody in any number.
    pub lines: LogSamplers,
    /// Log lines about forwarding headers that do not tell who the client is.
    pub doubts: RefCell<LogSampler>,
}

impl Worker {
    /// For its [`Worker::doubts`]: a line a minute.
    #[must_use]
    pub fn doubt_lines() -> RefCell<LogSampler> {
        RefCell::new(LogSampler::one_a_minute())
    }
}

impl Worker {
    /// Reports a request to MetricsActor, with others.
    pub(super) fn saw(&self, request: RequestSeen) {
        let now = request.finished;
        let batch = self.seen.borrow_mut().push(request, now);
        self.report(batch);
    }

    /// What answers have to do without now: tiers that are avoided, actors that are bypassed, an
    /// upstream that does not accept our configuration, lists that were not read yet, a log of changes that
    /// cannot be followed.
    #[must_use]
    pub fn degraded(&self) -> Vec<&'static str> {
        let mut degraded = self.cache.tables().degraded();
        let missing = [
            ("cache", self.cache.is_bypassed()),
            ("rate_limiter", self.limiter.is_down()),
            ("api_client", self.shared.services.iter().any(|service| service.is_cut_off())),
            ("shared_limits", self.shared.accounts.is_shared() && !self.shares_limits()),
            (
                "upstream_configuration",
                self.shared.origins.iter().any(|origin| origin.faults() > 0),
            ),
            ("access_lists", !self.shared.access.is_informed()),
            ("invalidations", self.shared.changes.is_behind()),
        ];
        degraded
            .extend(missing.iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| *name));
        degraded
    }

    /// Whether limits are exact over all instances now, and not kept by shares.
    #[must_use]
    pub fn shares_limits(&self) -> bool {
        let counter = self.counter.as_ref().filter(|_| self.shared.accounts.is_shared());
        counter.is_some_and(|counter| counter.is_exact())
    }

    /// Reports what has waited long enough.
    pub(crate) fn report_due(&self) {
        let batch = self.seen.borrow_mut().due(clock::monotonic());
        self.report(batch);
    }

    fn report(&self, batch: Option<Vec<RequestSeen>>) {
        let Some(batch) = batch else { return };
        let entries = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        if self.monitor.tell(Observed(batch)).is_err() {
            self.shared
                .metrics
                .actors
                .events_dropped
                .at([crate::metrics::ACTOR_NAME])
                .inc_by(entries);
        }
    }
}
