//! What is counted of a request: its route template, method and status.
//!
//! Owns: the closed sets of methods and statuses, and the counters of a route, resolved once. Refuses:
//! open ended values; whatever is not in a set is counted as `other`, so a client can never make the
//! registry grow. A finished request costs a few relaxed atomics and no lock.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use utoipa::ToSchema;

use super::histogram::DurationHistogram;
use super::registry::{Counters, Labelled, OTHER};
use super::series::Sample;

/// Methods that are told apart; the last stands for anything else a client came up with.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", OTHER];

/// Every status that the gateway or its framework answers with; sorted.
const STATUSES: [u16; 41] = [
    100, 101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406,
    408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 428, 429, 431, 500, 501, 502,
    503, 504, 505,
];

/// The place after the last status is that of every other.
const STATUS_LABELS: usize = STATUSES.len() + 1;

/// Index and label of a method as it stands on the request line; methods are case-sensitive
/// (RFC 9110, 9.1).
fn method(text: &str) -> (usize, &'static str) {
    let known = METHODS.iter().enumerate().find(|(_, known)| **known == text);
    known.map_or((METHODS.len() - 1, OTHER), |(at, label)| (at, label))
}

/// Index and label of a status.
fn status(code: u16) -> (usize, &'static str) {
    static LABELS: LazyLock<[String; STATUSES.len()]> =
        LazyLock::new(|| STATUSES.map(|code| code.to_string()));
    let at = STATUSES.binary_search(&code).unwrap_or(STATUSES.len());
    (at, LABELS.get(at).map_or(OTHER, String::as_str))
}

/// How many requests were answered, and how many of them with an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct RequestCounts {
    /// Requests answered.
    pub requests: u64,
    /// Of these, answered with 4xx.
    pub client_errors: u64,
    /// Of these, answered with 5xx.
    pub server_errors: u64,
}

impl RequestCounts {
    /// So many requests that were answered with this status.
    pub(super) const fn of(status: u16, requests: u64) -> Self {
        let (client_errors, server_errors) = match status {
            400..=499 => (requests, 0),
            500..=599 => (0, requests),
            _ => (0, 0),
        };
        Self { requests, client_errors, server_errors }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            client_errors: self.client_errors.saturating_add(other.client_errors),
            server_errors: self.server_errors.saturating_add(other.server_errors),
        }
    }
}

/// Counters of one route template, resolved; cheap to clone and to use.
#[derive(Debug, Clone)]
pub struct RouteMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    template: &'static str,
    requests: Counters<3>,
    durations: Labelled<DurationHistogram, 2>,
    methods: [OnceLock<Box<OfMethod>>; METHODS.len()],
}

#[derive(Debug)]
struct OfMethod {
    duration: DurationHistogram,
    statuses: [OnceLock<Counter>; STATUS_LABELS],
}

impl RouteMetrics {
    pub(super) fn new(
        template: &'static str,
        requests: &Counters<3>,
        durations: &Labelled<DurationHistogram, 2>,
    ) -> Self {
        let methods = [const { OnceLock::new() }; METHODS.len()];
        let (requests, durations) = (requests.clone(), durations.clone());
        Self { inner: Arc::new(Inner { template, requests, durations, methods }) }
    }

    /// Counts one answered request; gives the label of its method.
    pub fn finished(&self, method: &str, status: u16, duration: Duration) -> &'static str {
        let inner = &*self.inner;
        let (at, method) = self::method(method);
        let Some(place) = inner.methods.get(at) else { return method };
        let of_method = place.get_or_init(|| inner.of_method(method));
        of_method.duration.observe(duration);
        let (at, label) = self::status(status);
        if let Some(counter) = of_method.statuses.get(at) {
            let labels = || [method, inner.template, label];
            counter.get_or_init(|| inner.requests.at(labels())).inc();
        }
        method
    }

    /// What was counted, by method.
    pub(super) fn counts(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, RequestCounts)> {
        let inner = &*self.inner;
        inner.methods.iter().zip(METHODS).filter_map(|(place, method)| {
            place.get().map(|of_method| (inner.template, method, of_method.counts()))
        })
    }
}

/// Too many requests: a limit, or abuse.
const LIMITED: u16 = 429;
/// What alerts count: there at 0 with the first request, so that the first failure is an increase.
const WATCHED: [u16; 5] = [LIMITED, 500, 502, 503, 504];

impl Inner {
    fn of_method(&self, method: &'static str) -> Box<OfMethod> {
        let statuses = [const { OnceLock::new() }; STATUS_LABELS];
        for (at, label) in WATCHED.map(status) {
            let place: Option<&OnceLock<Counter>> = statuses.get(at);
            place.map(|place| {
                place.get_or_init(|| self.requests.at([method, self.template, label]))
            });
        }
        Box::new(OfMethod { duration: self.durations.at([method, self.template]), statuses })
    }
}

impl RouteMetrics {
    /// Adds what was counted, and how long requests took.
    pub(super) fn add_to(&self, sample: &mut Sample) {
        for of_method in self.inner.methods.iter().filter_map(OnceLock::get) {
            let counts = of_method.counts();
            sample.requests += counts.requests;
            sample.client_errors += counts.client_errors;
            sample.server_errors += counts.server_errors;
            let limited = of_method.statuses.get(status(LIMITED).0).and_then(OnceLock::get);
            sample.limited += limited.map_or(0, Counter::get);
            of_method.duration.add_to(&mut sample.latency);
        }
    }
}

impl OfMethod {
    fn counts(&self) -> RequestCounts {
        let codes = STATUSES.into_iter().chain([0]);
        let counts =
            self.statuses.iter().zip(codes).map(|(counter, code)| {
                RequestCounts::of(code, counter.get().map_or(0, Counter::get))
            });
        counts.fold(RequestCounts::default(), RequestCounts::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn whatever_a_client_calls_its_method_is_other() {
        for (at, label) in METHODS.into_iter().enumerate() {
            assert_eq!(method(label), (at, label));
        }
        for text in ["", "get", "PROPFIND", "GET ", "\u{1F600}"] {
            assert_eq!(method(text), (METHODS.len() - 1, OTHER), "{text:?}");
        }
    }

    #[test]
    fn a_status_has_its_own_label_or_shares_the_last() {
        assert!(STATUSES.is_sorted());
        for (at, code) in STATUSES.into_iter().enumerate() {
            assert_eq!(status(code), (at, &*code.to_string()));
        }
        for code in [0, 99, 299, 418, 599, 600, u16::MAX] {
            assert_eq!(status(code), (STATUS_LABELS - 1, OTHER));
        }
    }

    #[test]
    fn errors_follow_the_class_of_the_status() {
        let errors = |code| {
            let counts = RequestCounts::of(code, 1);
            (counts.client_errors, counts.server_errors)
        };
        for code in [200, 304, 399, 600] {
            assert_eq!(errors(code), (0, 0), "{code}");
        }
        assert_eq!((errors(400), errors(499)), ((1, 0), (1, 0)));
        assert_eq!((errors(500), errors(599)), ((0, 1), (0, 1)));
    }

    #[test]
    fn two_handles_of_one_template_share_their_counters() {
        let metrics = Metrics::new();
        let http = &metrics.http;
        http.route("/a").finished("GET", 200, MS);
        http.route("/a").finished("GET", 404, MS);
        assert_eq!(http.route("/b").finished("POST", 503, MS), "POST");
        assert_eq!(
            http.totals(),
            RequestCounts { requests: 3, client_errors: 1, server_errors: 1 }
        );
        let by_route: Vec<_> = http.by_route().collect();
        assert_eq!(
            by_route[0],
            ("/a", "GET", RequestCounts::of(200, 1).plus(RequestCounts::of(404, 1)))
        );
        assert_eq!(by_route[1], ("/b", "POST", RequestCounts::of(503, 1)));
    }

    #[test]
    fn an_unknown_method_and_status_are_counted_as_a_request() {
        let metrics = Metrics::new();
        assert_eq!(metrics.http.route("/a").finished("BREW", 799, MS), OTHER);
        assert_eq!(metrics.http.totals(), RequestCounts::of(0, 1));
    }

    #[test]
    fn too_many_templates_share_other_and_lose_no_count() {
        let metrics = Metrics::new();
        for number in 0..200 {
            metrics.http.route(format!("/{number}").leak()).finished("GET", 200, MS);
        }
        let (last, _, counts) = metrics.http.by_route().last().unwrap();
        assert_eq!(last, OTHER);
        assert!(counts.requests > 1);
        assert_eq!(metrics.http.totals().requests, 200);
    }

    #[test]
    fn threads_lose_no_request() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let route = metrics.http.route("/a");
                    for _ in 0..5_000 {
                        route.finished("GET", 200, MS);
                    }
                });
            }
        });
        assert_eq!(metrics.http.totals().requests, 20_000);
    }
}
