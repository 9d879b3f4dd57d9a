//! The catalogue: every metric the process exposes, made and registered once.
//!
//! Owns: [`Metrics`], the registry table. It is older than any actor and lives as long as the
//! process; whoever counts something holds a clone and bumps it where it happens. Refuses:
//! metrics made elsewhere. Counting never fails. Handles (routes, cache kinds, actors) count with
//! atomics alone; the rarer events look their labels up under a read lock of that one metric.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::access::AccessMetrics;
use super::actors::ActorMetrics;
use super::cache::CacheMetrics;
use super::family::{Labelled, Registrar};
use super::histogram::DurationHistogram;
use super::http::HttpMetrics;
use super::limits::LimitMetrics;
use super::process::ProcessCollector;
use super::upstream::UpstreamMetrics;

/// Every metric of the process; a clone is a reference to the same counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    http: HttpMetrics,
    cache: CacheMetrics,
    upstream: UpstreamMetrics,
    limits: LimitMetrics,
    access: AccessMetrics,
    actors: ActorMetrics,
    products_dropped: Labelled<Counter, 1>,
    compressed_bytes: Counter,
    log_lines_dropped: Counter,
    database_queries: Labelled<DurationHistogram, 1>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own with every count at nought; one a process.
    #[must_use]
    pub fn new() -> Self {
        let registrar = &mut Registrar::default();
        let http = HttpMetrics::register(registrar);
        let cache = CacheMetrics::register(registrar);
        let upstream = UpstreamMetrics::register(registrar);
        let limits = LimitMetrics::register(registrar);
        let access = AccessMetrics::register(registrar);
        let actors = ActorMetrics::register(registrar);
        let products_dropped = registrar.counters(
            "products_dropped",
            "Products of the upstream that failed validation",
            ["reason"],
        );
        let compressed_bytes =
            registrar.byte_counter("response_compressed", "Bytes of answers sent compressed");
        let log_lines_dropped =
            registrar.counter("log_lines_dropped", "Log lines given up because the log was behind");
        let database_queries = registrar.labelled_durations(
            "database_query_duration",
            "Time one database operation took, the wait for a connection included",
            ["operation"],
            DurationHistogram::operation,
        );
        registrar.collector(Box::new(ProcessCollector));
        let registry = std::mem::take(registrar).finish();
        let inner = Inner {
            registry,
            http,
            cache,
            upstream,
            limits,
            access,
            actors,
            products_dropped,
            compressed_bytes,
            log_lines_dropped,
            database_queries,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What HTTP requests count.
    #[must_use]
    pub fn http(&self) -> &HttpMetrics {
        &self.inner.http
    }

    /// What the cache counts.
    #[must_use]
    pub fn cache(&self) -> &CacheMetrics {
        &self.inner.cache
    }

    /// What upstream calls and breakers count.
    #[must_use]
    pub fn upstream(&self) -> &UpstreamMetrics {
        &self.inner.upstream
    }

    /// What the limiter counts.
    #[must_use]
    pub fn limits(&self) -> &LimitMetrics {
        &self.inner.limits
    }

    /// What is counted about who may come in.
    #[must_use]
    pub fn access(&self) -> &AccessMetrics {
        &self.inner.access
    }

    /// What supervision counts.
    #[must_use]
    pub fn actors(&self) -> &ActorMetrics {
        &self.inner.actors
    }

    /// Counts products that failed validation for a reason.
    pub fn products_dropped(&self, reason: &'static str, products: u64) {
        self.inner.products_dropped.at([reason]).inc_by(products);
    }

    /// Counts bytes of an answer sent compressed.
    pub fn response_compressed(&self, bytes: u64) {
        self.inner.compressed_bytes.inc_by(bytes);
    }

    /// Counts log lines given up because the log was behind.
    pub fn log_lines_dropped(&self, lines: u64) {
        self.inner.log_lines_dropped.inc_by(lines);
    }

    /// The counter of dropped log lines, for the log's own thread.
    #[must_use]
    pub fn log_lines_dropped_counter(&self) -> Counter {
        self.inner.log_lines_dropped.clone()
    }

    /// Notes how long a database operation took.
    pub fn database_query(&self, operation: &'static str, duration: Duration) {
        self.inner.database_queries.at([operation]).observe(duration);
    }

    /// The registry, for the exposition.
    pub(super) fn registry(&self) -> &Registry {
        &self.inner.registry
    }
}
