//! What HTTP requests count: how many, how long, how many right now.
//!
//! Owns: the `http_*` metrics, the lag of the workers' loops, and the handles of every route. Refuses: raw paths; a route
//! is a template known at compile time, and beyond [`MAX_ROUTES`] of them they share `other`.
//! A finished request costs a few relaxed atomics and no lock, whoever else is scraping.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::family::{Labelled, Registrar};
use super::histogram::DurationHistogram;
use super::labels::{self, Fault, Method, STATUS_LABELS};
use super::slots::Slots;

/// How many route templates are told apart.
pub(super) const MAX_ROUTES: usize = 96;

/// Metrics of the HTTP surface; cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    families: Families,
    in_flight: Gauge,
    shed: Labelled<Counter, 1>,
    loop_lag: Gauge<f64, AtomicU64>,
    connections: Gauge,
    unread: Labelled<Counter, 1>,
    cut: Labelled<Counter, 1>,
    routes: Slots<RouteMetrics, MAX_ROUTES>,
}

#[derive(Debug, Clone)]
struct Families {
    requests: Labelled<Counter, 3>,
    durations: Labelled<DurationHistogram, 2>,
}

impl HttpMetrics {
    /// Registers the `http_*` metrics.
    pub(super) fn register(registrar: &mut Registrar) -> Self {
        let families = Families {
            requests: registrar.counters(
                "http_requests",
                "Requests answered, by route template and status",
                ["method", "route", "status"],
            ),
            durations: registrar.labelled_durations(
                "http_request_duration",
                "Time from the first byte of a request to its answer",
                ["method", "route"],
                DurationHistogram::latency,
            ),
        };
        let in_flight =
            registrar.gauge("http_requests_in_flight", "Requests that wait for their answer");
        let shed = registrar.counters(
            "http_requests_shed",
            "Requests refused because there were too many, by reason",
            ["reason"],
        );
        let loop_lag = registrar.fraction_gauge(
            "event_loop_lag_seconds",
            "How late the loop of the worst HTTP worker is",
        );
        let connections = registrar.gauge("http_connections", "Connections that are open");
        let unread = registrar.counters(
            "http_unread_requests",
            "What was refused before it was a request, by reason",
            ["reason"],
        );
        let cut = registrar.counters(
            "http_connections_cut",
            "Connections that were ended because of what the client did not do, by reason",
            ["reason"],
        );
        let routes = Slots::new();
        let inner = Inner { families, in_flight, shed, loop_lag, connections, unread, cut, routes };
        Self { inner: Arc::new(inner) }
    }

    /// The handle of a route template, for example `/api/products/details/{product_id}`.
    /// Resolve once a worker and keep it; asking again gives the same counters.
    #[must_use]
    pub fn route(&self, template: &'static str) -> RouteMetrics {
        let families = &self.inner.families;
        self.inner.routes.resolve(template, |name| RouteMetrics::new(name, families)).clone()
    }

    /// Counts a request as waiting until the returned guard is dropped, which also happens when
    /// the client goes away or the handler panics.
    #[must_use]
    pub fn begin(&self) -> InFlight {
        self.inner.in_flight.inc();
        InFlight(self.inner.in_flight.clone())
    }

    /// Requests that wait for their answer right now.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.inner.in_flight.get()
    }

    /// Counts a shed request; it is counted as finished, too.
    pub fn shed(&self, reason: &'static str) {
        self.inner.shed.at([reason]).inc();
    }

    /// Sets how late the loop of the worst worker is.
    pub fn loop_lag(&self, lag: Duration) {
        self.inner.loop_lag.set(lag.as_secs_f64());
    }

    /// Sets how many connections are open.
    pub fn connections(&self, open: u32) {
        self.inner.connections.set(i64::from(open));
    }

    /// Counts what was refused before it was a request.
    pub fn unread(&self, reason: &'static str) {
        self.inner.unread.at([reason]).inc();
    }

    /// Counts a connection that was ended.
    pub fn cut(&self, reason: &'static str) {
        self.inner.cut.at([reason]).inc();
    }

    /// Everything counted so far, by route template and method, in order of first use.
    #[must_use]
    pub fn by_route(&self) -> Vec<RouteTotals> {
        self.inner.routes.iter().flat_map(|(_, route)| route.totals()).collect()
    }

    /// Everything counted so far.
    #[must_use]
    pub fn totals(&self) -> RequestTotals {
        self.by_route().iter().fold(RequestTotals::default(), |sum, route| sum.plus(route.totals))
    }
}

/// One request that waits for its answer; ends when dropped.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counters of one route template, resolved; cheap to clone and to use.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    inner: Arc<RouteInner>,
}

#[derive(Debug)]
struct RouteInner {
    template: &'static str,
    families: Families,
    methods: [OnceLock<Box<MethodMetrics>>; Method::ALL.len()],
}

#[derive(Debug)]
struct MethodMetrics {
    duration: DurationHistogram,
    statuses: [OnceLock<Counter>; STATUS_LABELS],
}

impl RouteMetrics {
    fn new(template: &'static str, families: &Families) -> Self {
        let methods = [const { OnceLock::new() }; Method::ALL.len()];
        Self { inner: Arc::new(RouteInner { template, families: families.clone(), methods }) }
    }

    /// The template this handle counts for; `other` when there were too many.
    #[must_use]
    pub fn template(&self) -> &'static str {
        self.inner.template
    }

    /// Counts one answered request.
    pub fn finished(&self, method: Method, status: u16, duration: Duration) {
        let inner = &*self.inner;
        let Some(slot) = inner.methods.get(method.index()) else { return };
        let of_method = slot.get_or_init(|| {
            Box::new(MethodMetrics {
                duration: inner.families.durations.at([method.label(), inner.template]),
                statuses: [const { OnceLock::new() }; STATUS_LABELS],
            })
        });
        of_method.duration.observe(duration);
        let (at, label) = labels::status(status);
        if let Some(counter) = of_method.statuses.get(at) {
            let labels = || [method.label(), inner.template, label];
            counter.get_or_init(|| inner.families.requests.at(labels())).inc();
        }
    }

    fn totals(&self) -> impl Iterator<Item = RouteTotals> {
        let route = self.inner.template;
        self.inner.methods.iter().zip(Method::ALL).filter_map(move |(slot, method)| {
            slot.get().map(|of_method| RouteTotals { method, route, totals: of_method.totals() })
        })
    }
}

impl MethodMetrics {
    fn totals(&self) -> RequestTotals {
        let counts = self.statuses.iter().enumerate();
        counts.fold(RequestTotals::default(), |mut sum, (at, counter)| {
            let count = counter.get().map_or(0, Counter::get);
            sum.requests += count;
            match labels::status_code(at).and_then(Fault::of) {
                Some(Fault::Client) => sum.client_errors += count,
                Some(Fault::Server) => sum.server_errors += count,
                None => {}
            }
            sum
        })
    }
}

/// Exact counts since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestTotals {
    /// Requests answered.
    pub requests: u64,
    /// Of these, answered with 4xx.
    pub client_errors: u64,
    /// Of these, answered with 5xx.
    pub server_errors: u64,
}

impl RequestTotals {
    const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            client_errors: self.client_errors + other.client_errors,
            server_errors: self.server_errors + other.server_errors,
        }
    }
}

/// Exact counts of one route template and method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteTotals {
    /// The method.
    pub method: Method,
    /// The route template.
    pub route: &'static str,
    /// The counts.
    pub totals: RequestTotals,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> HttpMetrics {
        HttpMetrics::register(&mut Registrar::default())
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn two_handles_of_one_template_share_their_counters() {
        let http = http();
        http.route("/a").finished(Method::Get, 200, MS);
        http.route("/a").finished(Method::Get, 404, MS);
        http.route("/b").finished(Method::Post, 503, MS);
        assert_eq!(
            http.totals(),
            RequestTotals { requests: 3, client_errors: 1, server_errors: 1 }
        );
        let by_route = http.by_route();
        assert_eq!(by_route.len(), 2);
        assert_eq!((by_route[0].route, by_route[0].totals.requests), ("/a", 2));
        assert_eq!((by_route[1].method, by_route[1].totals.server_errors), (Method::Post, 1));
    }

    #[test]
    fn an_unheard_of_status_is_counted_as_a_request() {
        let http = http();
        http.route("/a").finished(Method::Other, 799, MS);
        assert_eq!(http.totals().requests, 1);
        assert_eq!(http.totals().server_errors, 0);
    }

    #[test]
    fn a_request_is_in_flight_until_its_guard_goes() {
        let http = http();
        let first = http.begin();
        let second = http.begin();
        assert_eq!(http.in_flight(), 2);
        drop(first);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = second;
            panic!("handler");
        }));
        assert!(panicked.is_err());
        assert_eq!(http.in_flight(), 0);
    }

    #[test]
    fn too_many_templates_share_other_and_lose_no_count() {
        let http = http();
        for number in 0..MAX_ROUTES + 20 {
            http.route(format!("/{number}").leak()).finished(Method::Get, 200, MS);
        }
        let by_route = http.by_route();
        assert_eq!(by_route.len(), MAX_ROUTES + 1);
        let last = by_route[MAX_ROUTES];
        assert_eq!((last.route, last.totals.requests), (labels::OTHER, 20));
    }

    #[test]
    fn threads_lose_no_request() {
        let http = http();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let route = http.route("/a");
                    for _ in 0..5_000 {
                        route.finished(Method::Get, 200, MS);
                    }
                });
            }
        });
        assert_eq!(http.totals().requests, 20_000);
    }
}
