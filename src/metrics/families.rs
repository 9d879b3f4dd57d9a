//! Every metric family of the core, in one table: a field each, its name, labels and help beside it.
//!
//! Owns: [`Metrics`], which is older than any actor and lives as long as the process; whoever counts
//! something holds a clone and bumps it where it happens. Refuses: addresses, keys and raw paths as
//! labels, of which there is no end. Counting never fails. Routes and kinds of cache entries count with
//! atomics alone; the rarer events look their labels up under a read lock of that one family.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::cache::CacheMetrics;
use super::catalogue::{Listed, Set, Words};
use super::histogram::DurationHistogram;
use super::process::ProcessCollector;
use super::registry::{Counters, Fraction, Gauge, Gauges, Handles, Labelled, Registrar, metrics};
use super::requests::{RequestCounts, RouteMetrics};
use super::series::Sample;
use crate::clock::Timestamp;
use crate::resilience::breaker::State;
use crate::resilience::{Priority, RejectReason};
use crate::supervision::RestartReason;

/// How many route templates are told apart.
const MAX_ROUTES: usize = 96;
/// Why requests have no series before the first.
const BY_REQUEST: &str = "a series for each method, route and status would be thousands; with the first \
    request of a method to a route come its failures, at 0";

/// Every metric of the process; a clone is a reference to the same counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: Arc<Families>,
    registrar: Arc<Mutex<Registrar>>,
}

#[derive(Debug)]
pub struct Families {
    pub http: HttpMetrics,
    pub cache: CacheMetrics,
    pub upstream: UpstreamMetrics,
    pub limits: LimitMetrics,
    pub database: DatabaseMetrics,
    pub access: AccessMetrics,
    pub actors: ActorMetrics,
    pub config: ConfigMetrics,
    pub tracing: TracingMetrics,
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
            database: DatabaseMetrics::declare(&mut registrar),
            access: AccessMetrics::declare(&mut registrar),
            actors: ActorMetrics::declare(&mut registrar),
            config: ConfigMetrics::declare(&mut registrar),
            tracing: TracingMetrics::declare(&mut registrar),
        };
        registrar.registry.register_collector(Box::new(ProcessCollector));
        Self { families: Arc::new(families), registrar: Arc::new(Mutex::new(registrar)) }
    }

    /// The counters now: requests to the routes that are `counted`. Of upstream calls the caller knows
    /// how many were of no use.
    pub fn sample(&self, counted: impl Fn(&str) -> bool, upstream_failed: u64) -> Sample {
        let cache = self.cache.totals();
        let of = |tier| cache.tier(tier).map_or(0, |tier| tier.hits);
        let mut sample = Sample {
            memory: of("memory"),
            redis: of("redis"),
            database: of("database"),
            miss: cache.misses,
            stale: self.cache.stale_total(),
            upstream: self.upstream.duration.count(),
            upstream_failed,
            ..Sample::default()
        };
        let routes = self.http.routes.iter().filter(|(template, _)| counted(template));
        routes.for_each(|(_, route)| route.add_to(&mut sample));
        sample
    }

    /// A counter that a service declares for itself, once; exposed as `{name}_total`.
    pub fn service_counter(
        &self,
        name: &'static str,
        label: (&'static str, Words),
        help: &'static str,
    ) -> Counters<1> {
        self.registrar().many(name, [label], help)
    }

    /// These words may stand in labels from now on: their series are there, at 0.
    pub fn words(&self, set: Set, words: impl IntoIterator<Item = &'static str>) {
        self.registrar().catalogue.add(set, words);
    }

    /// Every family with its series, but for those of the process itself.
    pub fn catalogue(&self) -> Vec<Listed> {
        self.registrar().catalogue.list()
    }

    /// Works on the registry; nothing can be declared meanwhile.
    pub(super) fn with_registry<T>(&self, work: impl FnOnce(&Registry) -> T) -> T {
        work(&self.registrar().registry)
    }

    fn registrar(&self) -> MutexGuard<'_, Registrar> {
        self.registrar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

metrics! {
    /// What HTTP requests count.
    pub struct HttpMetrics(add) {
        requests: Counters<3> = add.open("http_requests", ["method", "route", "status"],
            (Counter::default, BY_REQUEST), "Requests answered, by route template and status");
        durations: Labelled<DurationHistogram, 2> = add.open("http_request_duration_seconds",
            ["method", "route"], (DurationHistogram::latency, BY_REQUEST),
            "Time from the first byte of a request to its answer");
        in_flight: Gauge = add.one("http_requests_in_flight", "Requests that wait for their answer");
        shed: Counters<1> = add.many("http_requests_shed", [("reason", Words::of(Set::Shed))],
            "Requests refused because there were too many, by reason");
        loop_lag: Fraction = add.one("event_loop_lag_seconds",
            "How late the loop of the worst HTTP worker is");
        connections: Gauge = add.one("http_connections", "Connections that are open");
        unread: Counters<1> = add.many("http_unread_requests", [("reason", Words::of(Set::Unread))],
            "What was refused before it was a request, by reason");
        cut: Counters<1> = add.many("http_connections_cut", [("reason", Words::of(Set::Cut))],
            "Connections that were ended because of what the client did not do, by reason");
        compressed_bytes: Counter = add.one("response_compressed_bytes",
            "Bytes of answers sent compressed");
        routes: Arc<Handles<RouteMetrics, MAX_ROUTES>> = Arc::default();
    }
}

impl HttpMetrics {
    /// The handle of a route template, for example `/api/items/{id}`; beyond `MAX_ROUTES` of them they
    /// share `other`. Resolve once a worker and keep it; asking again gives the same counters.
    pub fn route(&self, template: &'static str) -> RouteMetrics {
        let make = |name| RouteMetrics::new(name, &self.requests, &self.durations);
        self.routes.resolve(template, make).clone()
    }

    /// Everything counted so far, by route template and method, in order of first use.
    pub(super) fn by_route(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, RequestCounts)> {
        self.routes.iter().flat_map(|(_, route)| route.counts())
    }

    pub fn totals(&self) -> RequestCounts {
        self.by_route().fold(RequestCounts::default(), |sum, (_, _, counts)| sum.plus(counts))
    }
}

/// For whom no client waits.
const BACKGROUND: [Priority; 2] = [Priority::Refresh, Priority::Warming];

/// What may stand in the way of a call.
fn bounds() -> Words {
    Words::these(RejectReason::ALL.map(RejectReason::as_str))
}

metrics! {
    /// What calls to the upstream count.
    pub struct UpstreamMetrics(add) {
        calls: Counters<2> = add.many("upstream_calls",
            [("method", Words::of(Set::Operations)), ("outcome", Words::of(Set::Outcomes))],
            "Calls to the upstream, every attempt counted");
        calls_by_account: Counters<2> = add.many("upstream_calls_by_account",
            [("account", Words::of(Set::Accounts)), ("outcome", Words::of(Set::Outcomes))], "Calls to the upstream, by the account that made them");
        duration: DurationHistogram = add.add("upstream_call_duration_seconds",
            "Time one call to the upstream took", DurationHistogram::latency());
        retries: Counter = add.one("upstream_retries", "Attempts after the first of a call");
        background_refused: Counters<2> = add.many("upstream_background_refused",
            [("priority", Words::these(BACKGROUND.map(Priority::label))), ("reason", bounds())],
            "Calls for a refresh or for warming that were not made, for the sake of clients or a ban");
        shed: Counters<1> = add.many("upstream_shed", [("reason", bounds())],
            "Calls of clients that were not made, by what stood in their way");
        concurrency_limit: Gauge = add.one("upstream_concurrency_limit",
            "Calls to the upstream that may be under way at once; falls when calls time out");
        in_flight: Gauge = add.one("upstream_in_flight", "Calls to the upstream under way");
        waiting: Gauge = add.one("upstream_waiting",
            "Calls that wait for their moment, or for a slot");
        budget_remaining: Gauge = add.one("upstream_budget_remaining",
            "Calls left of today's budget, of all accounts");
        account_budget_remaining: Gauges<1> = add.open("upstream_account_budget_remaining", ["account"],
            (Gauge::default, "an account without a budget has nothing left to tell, and 0 would be an alarm"),
            "Calls left of an account's budget of today");
        misconfigured: Gauge = add.one("upstream_misconfigured",
            "Faults of the configuration that the upstream refuses calls for; 0: none");
        breakers: BreakerMetrics = BreakerMetrics::declare(add);
    }
}

metrics! {
    /// What the breakers of upstreams and tiers show.
    pub struct BreakerMetrics(add) {
        state: Gauges<1> = add.many("circuit_breaker_state", [("name", Words::of(Set::Breakers))],
            "State of a circuit breaker: 0 closed, 1 open, 2 half-open");
        tier_state: Gauges<1> = add.many("cache_circuit_breaker_state",
            [("cache_type", Words::of(Set::Stores))],
            "State of a cache tier's circuit breaker: 0 closed, 1 open, 2 half-open");
        transitions: Counters<2> = add.many("circuit_breaker_transitions",
            [("name", Words::of(Set::Breakers)), ("to", Words::these(State::ALL.map(State::as_str)))],
            "Changes of a circuit breaker's state");
        slow_start: Labelled<Fraction, 1> = add.many("circuit_breaker_slow_start_per_second",
            [("name", Words::of(Set::Accounts))],
            "Calls a second let through by a breaker that closed lately; 0 without such a limit");
    }
}

impl BreakerMetrics {
    /// A breaker changed its state: shows and counts it.
    pub fn moved(&self, name: &'static str, to: State) {
        self.state.at([name]).set(to.gauge());
        self.transitions.at([name, to.as_str()]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn showing_a_state_is_no_transition() {
        let breakers = BreakerMetrics::declare(&mut Registrar::default());
        breakers.state.at(["one"]).set(State::Closed.gauge());
        breakers.moved("one", State::HalfOpen);
        assert_eq!(breakers.state.at(["one"]).get(), 2);
        assert_eq!(breakers.transitions.at(["one", "half_open"]).get(), 1);
        assert_eq!(breakers.transitions.at(["one", "closed"]).get(), 0);
    }
}

metrics! {
    /// What the limiter counts.
    pub struct LimitMetrics(add) {
        refused: Counters<2> = add.many("rate_limit_hits",
            [("endpoint", Words::of(Set::Classes)), ("type", Words::of(Set::Rules))],
            "Requests refused by a limit, by the limit's own type");
        abuse_detected: Counters<1> = add.many("rate_limit_abuse_detected",
            [("pattern", Words::of(Set::AbusePatterns))],
            "Clients found abusive, by what gave them away");
        local_decisions: Counter = add.one("rate_limit_local_decisions",
            "Requests decided by this instance's share of a limit, because the counts that all \
             instances share could not be asked");
        shared: Gauge = add.one("rate_limit_shared",
            "Whether limits are exact over all instances now (1) or kept by this one alone (0)");
        abuse_refused: Counters<1> = add.many("rate_limit_abuse_refused",
            [("mode", Words::of(Set::AbuseModes))],
            "Requests refused for abuse; by mode shadow those that would have been");
        abuse_throttled: Gauge = add.one("rate_limit_abuse_throttled",
            "Clients throttled for abuse now, or in shadow mode those that would be");
        whitelist_size: Gauge = add.one("rate_limit_whitelist_size", "Entries on the allow list");
        blacklist_size: Gauge = add.one("rate_limit_blacklist_size", "Entries on the deny list");
        pressure: Gauge = add.one("pressure_level",
            "Whether the process is near its bounds and limits are halved (1) or not (0)");
    }
}

metrics! {
    /// What is counted of the database's connections and statements.
    pub struct DatabaseMetrics(add) {
        connections: Gauges<1> = add.many("db_connection_pool_size",
            [("state", Words::these(["idle", "in_use"]))],
            "Connections to the database, by whether somebody works on them");
        duration: Labelled<DurationHistogram, 1> = add.many("db_query_duration_seconds",
            [("query_type", Words::of(Set::QueryTypes))],
            "Time one statement took, by its first word");
        slow: Counters<1> = add.many("db_slow_queries", [("query_type", Words::of(Set::QueryTypes))],
            "Statements that took 100 ms or longer; the log has their shape");
        lag: Labelled<Fraction, 1> = add.open("db_replication_lag_seconds", ["replica"],
            (Fraction::default, "servers that DATABASE_REPLICA_URLS names, without it none; each is set before the first scrape"),
            "How far a replica is behind the primary, to the second; +Inf: it is not known");
    }
}

metrics! {
    /// What is counted about who may come in, the log of changes, the disk it lies on, and the log for people.
    pub struct AccessMetrics(add) {
        admin_refused: Counters<1> = add.many("admin_auth_failures",
            [("reason", Words::of(Set::AdminRefusals))],
            "Admin requests refused for their key, by what was wrong with it");
        blocked: Counters<1> = add.many("access_blocked", [("by", Words::of(Set::DeniedBy))],
            "Requests rejected by the deny list, by what of them is on it");
        keys: Gauge = add.one("api_keys", "Stored keys of clients that are in force");
        pending: Gauge = add.one("replication_pending",
            "Changes that are in force here and wait to be written to the log");
        unreadable: Gauge = add.one("replication_unreadable",
            "Changes in the log that could not be read, since the start");
        audit_waiting: Gauge = add.one("audit_waiting", "Audit events that wait for the database");
        audit_dropped: Gauge = add.one("audit_given_up",
            "Audit events that were never stored, since the start");
        disk_free: Gauge = add.one("database_disk_free_bytes",
            "Bytes free on the file system of the database");
        certificates: Labelled<Fraction, 1> = add.many("certificate_expires_timestamp_seconds",
            [("setting", Words::these(["REDIS_CA_FILE", "REDIS_CERT_FILE", "DATABASE_URL"]))],
            "When the first certificate of the file ends that the setting names; +Inf: none is named, 0: it cannot be read");
        log_lost: Gauges<1> = add.many("log_lines_lost",
            [("reason", Words::these(["failed", "dropped"]))],
            "Lines of the log that were never written, since the start: failed, or dropped because the writer was behind");
    }
}

metrics! {
    /// What supervision counts, by the name of the actor.
    pub struct ActorMetrics(add) {
        up: Gauges<1> = add.many("actor_up", [("actor", Words::of(Set::Actors))], "Instances of an actor that are running");
        restarts: Counters<2> = add.many("actor_restarts",
            [("actor", Words::of(Set::Actors)), ("reason", Words::these(RestartReason::ALL.map(RestartReason::label)))],
            "Restarts of an actor's instances");
        queue_length: Gauges<1> = add.many("actor_queue_length", [("actor", Words::of(Set::Actors))],
            "Messages that wait for an actor, all instances");
        events_dropped: Counters<1> = add.many("actor_events_dropped", [("actor", Words::of(Set::Actors))],
            "Droppable events that an actor was too busy for");
        task_panics: Counters<1> = add.many("actor_task_panics", [("actor", Words::of(Set::Tasks))],
            "Panics in tasks an actor started");
    }
}

metrics! {
    /// What became of the configuration.
    pub struct ConfigMetrics(add) {
        last_successful: Gauge = add.one("config_last_reload_successful",
            "Whether the configuration was taken over when it was read last (1) or had mistakes (0)");
        last_read: Gauge = add.one("config_last_reload_timestamp_seconds",
            "When the configuration was read last, the start included, in seconds since the Unix epoch");
    }
}

impl ConfigMetrics {
    /// It was read.
    pub fn read(&self, is_good: bool, at: Timestamp) {
        self.last_successful.set(is_good);
        self.last_read.set(at.as_millis() / 1_000);
    }
}

metrics! {
    /// What became of spans for the collector.
    pub struct TracingMetrics(add) {
        exported: Counter = add.one("trace_spans_exported", "Spans that the collector took");
        dropped: Counters<1> = add.many("trace_spans_dropped",
            [("reason", Words::of(Set::SpanDrops))], "Spans that never reached the collector, by reason");
    }
}
