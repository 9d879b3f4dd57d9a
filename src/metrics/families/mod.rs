//! Every metric family of the core, in one table: a field each, its name, labels and help beside it.
//!
//! Owns: [`Metrics`], which is older than any actor and lives as long as the process; whoever counts
//! something holds a clone and bumps it where it happens. Refuses: addresses, keys and raw paths as
//! labels, of which there is no end. Counting never fails. Routes and kinds of cache entries count with
//! atomics alone; the rarer events look their labels up under a read lock of that one family.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handles::Handles;
use super::histogram::DurationHistogram;
use super::process::ProcessCollector;
use super::registry::{Counters, Fraction, Gauge, Gauges, Registrar};
use super::requests::{RequestCounts, RouteFamilies, RouteMetrics};
pub use cache::{CacheMetrics, CacheTotals, KindTotals, TierTotals};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
pub use upstream::{BreakerMetrics, UpstreamMetrics};

mod cache;
mod upstream;

/// How many route templates are told apart.
const MAX_ROUTES: usize = 96;
/// The patterns of abuse.
const ABUSE: [&str; 3] = ["repeated_query", "sequential_ids", "page_scan"];

/// Every metric of the process; a clone is a reference to the same counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: Arc<Families>,
    registrar: Arc<Mutex<Registrar>>,
}

/// The families by who counts them.
#[derive(Debug)]
pub struct Families {
    pub http: HttpMetrics,
    pub cache: CacheMetrics,
    pub upstream: UpstreamMetrics,
    pub limits: LimitMetrics,
    pub access: AccessMetrics,
    pub actors: ActorMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.families
    }
}

impl Metrics {
    /// A registry of its own with every count at zero; one a process.
    pub fn new() -> Self {
        let mut registrar = Registrar::default();
        let families = Families {
            http: HttpMetrics::declare(&mut registrar),
            cache: CacheMetrics::declare(&mut registrar),
            upstream: UpstreamMetrics::declare(&mut registrar),
            limits: LimitMetrics::declare(&mut registrar),
            access: AccessMetrics::declare(&mut registrar),
            actors: ActorMetrics::declare(&mut registrar),
        };
        registrar.registry.register_collector(Box::new(ProcessCollector));
        Self { families: Arc::new(families), registrar: Arc::new(Mutex::new(registrar)) }
    }

    /// A counter that a service declares for itself, exposed as `{name}_total`. Asked for again by the
    /// same name it is the same counter.
    pub fn service_counter(
        &self,
        name: &'static str,
        label: &'static str,
        help: &'static str,
    ) -> Counters<1> {
        self.registrar().of_service(name, label, help)
    }

    /// Works on the registry; nothing can be declared meanwhile.
    pub(super) fn with_registry<T>(&self, work: impl FnOnce(&Registry) -> T) -> T {
        work(&self.registrar().registry)
    }

    fn registrar(&self) -> MutexGuard<'_, Registrar> {
        self.registrar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What HTTP requests count.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    pub(super) requests: RouteFamilies,
    pub in_flight: Gauge,
    pub shed: Counters<1>,
    pub loop_lag: Fraction,
    pub connections: Gauge,
    pub unread: Counters<1>,
    pub cut: Counters<1>,
    pub compressed_bytes: Counter,
    routes: Arc<Handles<RouteMetrics, MAX_ROUTES>>,
}

impl HttpMetrics {
    fn declare(add: &mut Registrar) -> Self {
        Self {
            requests: RouteFamilies {
                counts: add.many(
                    "http_requests",
                    ["method", "route", "status"],
                    "Requests answered, by route template and status",
                ),
                durations: add.family(
                    "http_request_duration_seconds",
                    ["method", "route"],
                    "Time from the first byte of a request to its answer",
                    DurationHistogram::latency,
                ),
            },
            in_flight: add.one("http_requests_in_flight", "Requests that wait for their answer"),
            shed: add.many(
                "http_requests_shed",
                ["reason"],
                "Requests refused because there were too many, by reason",
            ),
            loop_lag: add
                .one("event_loop_lag_seconds", "How late the loop of the worst HTTP worker is"),
            connections: add.one("http_connections", "Connections that are open"),
            unread: add.many(
                "http_unread_requests",
                ["reason"],
                "What was refused before it was a request, by reason",
            ),
            cut: add.many(
                "http_connections_cut",
                ["reason"],
                "Connections that were ended because of what the client did not do, by reason",
            ),
            compressed_bytes: add
                .one("response_compressed_bytes", "Bytes of answers sent compressed"),
            routes: Arc::default(),
        }
    }

    /// The handle of a route template, for example `/api/items/{id}`; beyond `MAX_ROUTES` of them they
    /// share `other`. Resolve once a worker and keep it; asking again gives the same counters.
    pub fn route(&self, template: &'static str) -> RouteMetrics {
        self.routes.resolve(template, |name| RouteMetrics::new(name, &self.requests)).clone()
    }

    /// Everything counted so far, by route template and method, in order of first use.
    pub(super) fn by_route(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, RequestCounts)> {
        self.routes.iter().flat_map(|(_, route)| route.counts())
    }

    /// Everything counted so far.
    pub fn totals(&self) -> RequestCounts {
        self.by_route().fold(RequestCounts::default(), |sum, (_, _, counts)| sum.plus(counts))
    }
}

/// What the limiter counts.
#[derive(Debug, Clone)]
pub struct LimitMetrics {
    pub refused: Counters<2>,
    pub abuse_detected: Counters<1>,
    pub local_decisions: Counter,
    pub shared: Gauge,
    pub abuse_refused: Counters<1>,
    pub abuse_throttled: Gauge,
    pub whitelist_size: Gauge,
    pub blacklist_size: Gauge,
    pub pressure: Gauge,
}

impl LimitMetrics {
    fn declare(add: &mut Registrar) -> Self {
        let limits = Self {
            refused: add.many(
                "rate_limit_hits",
                ["endpoint", "type"],
                "Requests refused by a limit, by the limit's own type",
            ),
            abuse_detected: add.many(
                "rate_limit_abuse_detected",
                ["pattern"],
                "Clients found abusive, by what gave them away",
            ),
            local_decisions: add.one(
                "rate_limit_local_decisions",
                "Requests decided by this instance's share of a limit, because the counts that all \
                 instances share could not be asked",
            ),
            shared: add.one(
                "rate_limit_shared",
                "Whether limits are exact over all instances now (1) or kept by this one alone (0)",
            ),
            abuse_refused: add.many(
                "rate_limit_abuse_refused",
                ["mode"],
                "Requests refused for abuse; by mode shadow those that would have been",
            ),
            abuse_throttled: add.one(
                "rate_limit_abuse_throttled",
                "Clients throttled for abuse now, or in shadow mode those that would be",
            ),
            whitelist_size: add.one("rate_limit_whitelist_size", "Entries on the allow list"),
            blacklist_size: add.one("rate_limit_blacklist_size", "Entries on the deny list"),
            pressure: add.one(
                "pressure_level",
                "Whether the process is near its bounds and limits are halved (1) or not (0)",
            ),
        };
        // There from the start: an alert on the first abuser needs a zero before it.
        for pattern in ABUSE {
            limits.abuse_detected.at([pattern]);
        }
        limits
    }
}

/// What is counted about who may come in, and about the log of changes.
#[derive(Debug, Clone)]
pub struct AccessMetrics {
    pub admin_refused: Counters<1>,
    pub blocked: Counters<1>,
    pub keys: Gauge,
    pub pending: Gauge,
    pub unreadable: Gauge,
    pub audit_waiting: Gauge,
    pub audit_dropped: Gauge,
}

impl AccessMetrics {
    fn declare(add: &mut Registrar) -> Self {
        Self {
            admin_refused: add.many(
                "admin_auth_failures",
                ["reason"],
                "Admin requests refused for their key, by what was wrong with it",
            ),
            blocked: add.many(
                "access_blocked",
                ["by"],
                "Requests rejected by the deny list, by what of them is on it",
            ),
            keys: add.one("api_keys", "Stored keys of clients that are in force"),
            pending: add.one(
                "replication_pending",
                "Changes that are in force here and wait to be written to the log",
            ),
            unreadable: add.one(
                "replication_unreadable",
                "Changes in the log that could not be read, since the start",
            ),
            audit_waiting: add.one("audit_waiting", "Audit events that wait for the database"),
            audit_dropped: add
                .one("audit_given_up", "Audit events that were never stored, since the start"),
        }
    }
}

/// What supervision counts, by the name of the actor.
#[derive(Debug, Clone)]
pub struct ActorMetrics {
    pub up: Gauges<1>,
    pub restarts: Counters<2>,
    pub queue_length: Gauges<1>,
    pub events_dropped: Counters<1>,
    pub task_panics: Counters<1>,
}

impl ActorMetrics {
    fn declare(add: &mut Registrar) -> Self {
        Self {
            up: add.many("actor_up", ["actor"], "Instances of an actor that are running"),
            restarts: add.many(
                "actor_restarts",
                ["actor", "reason"],
                "Restarts of an actor's instances",
            ),
            queue_length: add.many(
                "actor_queue_length",
                ["actor"],
                "Messages that wait for an actor, all instances",
            ),
            events_dropped: add.many(
                "actor_events_dropped",
                ["actor"],
                "Droppable events that an actor was too busy for",
            ),
            task_panics: add.many(
                "actor_task_panics",
                ["actor"],
                "Panics in tasks an actor started",
            ),
        }
    }
}
