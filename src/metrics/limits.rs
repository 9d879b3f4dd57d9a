//! What the limiter counts: refusals, abuse, sizes of the access lists.
//!
//! Owns: `rate_limit_*`. Refuses: addresses and keys as labels, of which there is no end.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::family::{Labelled, Registrar};

/// The patterns of abuse.
const ABUSE: [&str; 3] = ["repeated_query", "sequential_ids", "page_scan"];

/// Metrics of limits and access lists; cheap to clone.
#[derive(Debug, Clone)]
pub struct LimitMetrics {
    hits: Labelled<Counter, 2>,
    abuse: Labelled<Counter, 1>,
    alone: Counter,
    shared: Gauge,
    abuse_refused: Labelled<Counter, 1>,
    abuse_throttled: Gauge,
    whitelist_size: Gauge,
    blacklist_size: Gauge,
    pressure: Gauge,
}

impl LimitMetrics {
    /// Registers the `rate_limit_*` metrics.
    pub(super) fn register(registrar: &mut Registrar) -> Self {
        let limits = Self::registered(registrar);
        // There from the start: an alert on the first abuser needs a nought before it.
        for pattern in ABUSE {
            limits.abuse.at([pattern]);
        }
        limits
    }

    fn registered(registrar: &mut Registrar) -> Self {
        Self {
            hits: registrar.counters(
                "rate_limit_hits",
                "Requests refused by a limit, by the limit's own type",
                ["endpoint", "type"],
            ),
            abuse: registrar.counters(
                "rate_limit_abuse_detected",
                "Clients found abusive, by what gave them away",
                ["pattern"],
            ),
            alone: registrar.counter(
                "rate_limit_local_decisions",
                "Requests decided by this instance's share of a limit, because the counts that all \
                 instances share could not be asked",
            ),
            shared: registrar.gauge(
                "rate_limit_shared",
                "Whether limits are exact over all instances now (1) or kept by this one alone (0)",
            ),
            abuse_refused: registrar.counters(
                "rate_limit_abuse_refused",
                "Requests refused for abuse; by mode shadow those that would have been",
                ["mode"],
            ),
            abuse_throttled: registrar.gauge(
                "rate_limit_abuse_throttled",
                "Clients throttled for abuse now, or in shadow mode those that would be",
            ),
            whitelist_size: registrar
                .gauge("rate_limit_whitelist_size", "Entries on the allow list"),
            blacklist_size: registrar
                .gauge("rate_limit_blacklist_size", "Entries on the deny list"),
            pressure: registrar.gauge(
                "pressure_level",
                "Whether the process is near its bounds and limits are halved (1) or not (0)",
            ),
        }
    }

    /// Counts a refused request: the route template, and which limit it was (`ip`, `key`, …).
    pub fn refused(&self, endpoint: &'static str, kind: &'static str) {
        self.hits.at([endpoint, kind]).inc();
    }

    /// Counts a client found abusive, for example by `repeated_query`.
    pub fn abuse_detected(&self, pattern: &'static str) {
        self.abuse.at([pattern]).inc();
    }

    /// Counts a decision made without the counts that all instances share.
    pub fn decided_alone(&self) {
        self.alone.inc();
    }

    /// Sets whether limits are exact over all instances.
    pub fn shared(&self, shared: bool) {
        self.shared.set(i64::from(shared));
    }

    /// Counts a request refused for abuse; `mode` is `shadow` if it only would have been.
    pub fn abuse_refused(&self, mode: &'static str) {
        self.abuse_refused.at([mode]).inc();
    }

    /// Sets how many clients are throttled for abuse.
    pub fn abuse_throttled(&self, clients: usize) {
        self.abuse_throttled.set(i64::try_from(clients).unwrap_or(i64::MAX));
    }

    /// Sets how many entries the lists have.
    pub fn list_sizes(&self, whitelist: usize, blacklist: usize) {
        let clamp = |size| i64::try_from(size).unwrap_or(i64::MAX);
        self.whitelist_size.set(clamp(whitelist));
        self.blacklist_size.set(clamp(blacklist));
    }

    /// Sets whether limits are halved because the process is near its bounds.
    pub fn pressure(&self, high: bool) {
        self.pressure.set(i64::from(high));
    }

    /// Refusals counted so far for one route template and limit.
    #[must_use]
    pub fn refusals(&self, endpoint: &'static str, kind: &'static str) -> u64 {
        self.hits.at([endpoint, kind]).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_and_sizes_are_kept() {
        let limits = LimitMetrics::register(&mut Registrar::default());
        limits.refused("/api/products/search", "ip");
        limits.abuse_detected("sequential_ids");
        limits.list_sizes(2, 3);
        limits.list_sizes(1, 4);
        assert_eq!(limits.refusals("/api/products/search", "ip"), 1);
        assert_eq!(limits.refusals("/api/products/search", "key"), 0);
        assert_eq!((limits.whitelist_size.get(), limits.blacklist_size.get()), (1, 4));
    }
}
