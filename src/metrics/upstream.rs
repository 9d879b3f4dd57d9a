//! What calls to the upstream count, and what the breakers say.
//!
//! Owns: `upstream_*`, `circuit_breaker_*` and `cache_circuit_breaker_state`. Refuses: to judge;
//! outcome labels and breaker states are handed in by the room that decides them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::family::{Labelled, Registrar};
use super::histogram::DurationHistogram;
use super::labels::BreakerState;

/// Metrics of upstream calls and circuit breakers; cheap to clone.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    calls: Labelled<Counter, 2>,
    calls_by_account: Labelled<Counter, 2>,
    duration: DurationHistogram,
    retries: Counter,
    background_refused: Labelled<Counter, 2>,
    load: Load,
    budget_remaining: Gauge,
    account_budget_remaining: Labelled<Gauge, 1>,
    misconfigured: Gauge,
    breaker_state: Labelled<Gauge, 1>,
    cache_breaker_state: Labelled<Gauge, 1>,
    transitions: Labelled<Counter, 2>,
    breaker_slow_start: Labelled<Gauge<f64, AtomicU64>, 1>,
}

/// How many calls are made at once, and what becomes of those that are too many.
#[derive(Debug, Clone)]
struct Load {
    shed: Labelled<Counter, 1>,
    limit: Gauge,
    in_flight: Gauge,
    waiting: Gauge,
}

impl Load {
    fn register(registrar: &mut Registrar) -> Self {
        Self {
            shed: registrar.counters(
                "upstream_shed",
                "Calls of clients that were not made, by what stood in their way",
                ["reason"],
            ),
            limit: registrar.gauge(
                "upstream_concurrency_limit",
                "Calls to the upstream that may be under way at once; falls when calls time out",
            ),
            in_flight: registrar.gauge("upstream_in_flight", "Calls to the upstream under way"),
            waiting: registrar
                .gauge("upstream_waiting", "Calls that wait for their moment, or for a slot"),
        }
    }
}

impl UpstreamMetrics {
    /// Registers the metrics of upstream and breakers.
    pub(super) fn register(registrar: &mut Registrar) -> Self {
        Self {
            calls: registrar.counters(
                "upstream_calls",
                "Calls to the upstream, every attempt counted",
                ["method", "outcome"],
            ),
            calls_by_account: registrar.counters(
                "upstream_calls_by_account",
                "Calls to the upstream, by the account that made them",
                ["account", "outcome"],
            ),
            duration: registrar.durations(
                "upstream_call_duration",
                "Time one call to the upstream took",
                DurationHistogram::latency,
            ),
            retries: registrar.counter("upstream_retries", "Attempts after the first of a call"),
            background_refused: registrar.counters(
                "upstream_background_refused",
                "Calls for a refresh or for warming that were not made, for the sake of clients or a ban",
                ["priority", "reason"],
            ),
            load: Load::register(registrar),
            budget_remaining: registrar
                .gauge("upstream_budget_remaining", "Calls left of today's budget, of all accounts"),
            account_budget_remaining: registrar.gauges(
                "upstream_account_budget_remaining",
                "Calls left of an account's budget of today",
                ["account"],
            ),
            misconfigured: registrar.gauge(
                "upstream_misconfigured",
                "Faults of the configuration that the upstream refuses calls for; 0: none",
            ),
            breaker_state: registrar.gauges(
                "circuit_breaker_state",
                "State of a circuit breaker: 0 closed, 1 open, 2 half-open",
                ["name"],
            ),
            cache_breaker_state: registrar.gauges(
                "cache_circuit_breaker_state",
                "State of a cache tier's circuit breaker: 0 closed, 1 open, 2 half-open",
                ["cache_type"],
            ),
            transitions: registrar.counters(
                "circuit_breaker_transitions",
                "Changes of a circuit breaker's state",
                ["name", "to"],
            ),
            breaker_slow_start: registrar.fraction_gauges(
                "circuit_breaker_slow_start_per_second",
                "Calls a second let through by a breaker that closed lately; 0 without such a limit",
                ["name"],
            ),
        }
    }

    /// Counts one attempt. `method` is the upstream's method, `outcome` a label of its outcome.
    pub fn called(&self, method: &'static str, outcome: &'static str, duration: Duration) {
        self.calls.at([method, outcome]).inc();
        self.duration.observe(duration);
    }

    /// Counts one attempt once more, for the account that made it.
    pub fn called_by(&self, account: &'static str, outcome: &'static str) {
        self.calls_by_account.at([account, outcome]).inc();
    }

    /// Attempts counted so far for one method and outcome.
    #[must_use]
    pub fn calls(&self, method: &'static str, outcome: &'static str) -> u64 {
        self.calls.at([method, outcome]).get()
    }

    /// Attempts counted so far, of any outcome.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        self.duration.count()
    }

    /// Counts an attempt after the first.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts a call that nobody waited for and that was not made. `priority` is `refresh` or
    /// `warming`, `reason` the pacing's label.
    pub fn background_refused(&self, priority: &'static str, reason: &'static str) {
        self.background_refused.at([priority, reason]).inc();
    }

    /// Calls that nobody waited for and that were not made, so far.
    #[must_use]
    pub fn background_refusals(&self, priority: &'static str, reason: &'static str) -> u64 {
        self.background_refused.at([priority, reason]).get()
    }

    /// Counts a call that was not made because of the load. `reason` is a label of who refused it.
    pub fn shed(&self, reason: &'static str) {
        self.load.shed.at([reason]).inc();
    }

    /// Calls that were not made because of the load, so far.
    #[must_use]
    pub fn sheds(&self, reason: &'static str) -> u64 {
        self.load.shed.at([reason]).get()
    }

    /// Shows how many calls may be under way, how many are, and how many wait to be.
    pub fn load(&self, limit: u32, in_flight: u32, waiting: usize) {
        self.load.limit.set(i64::from(limit));
        self.load.in_flight.set(i64::from(in_flight));
        self.load.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Sets how many calls are left of today's budget.
    pub fn budget_remaining(&self, calls: u64) {
        self.budget_remaining.set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// Sets how many calls are left of an account's budget of today.
    pub fn account_budget_remaining(&self, account: &'static str, calls: u64) {
        self.account_budget_remaining.at([account]).set(i64::try_from(calls).unwrap_or(i64::MAX));
    }

    /// Sets how many faults of the configuration stand.
    pub fn misconfigured(&self, faults: usize) {
        self.misconfigured.set(i64::try_from(faults).unwrap_or(i64::MAX));
    }

    /// Shows a breaker's state without counting a change: at start, or when it was restored.
    pub fn breaker_state(&self, name: &'static str, state: BreakerState) {
        self.breaker_state.at([name]).set(state.gauge());
    }

    /// Shows how many calls a second a breaker lets through since it closed; `None` for all.
    pub fn breaker_slow_start(&self, name: &'static str, per_second: Option<f64>) {
        self.breaker_slow_start.at([name]).set(per_second.unwrap_or_default());
    }

    /// A breaker changed its state: shows and counts it.
    pub fn breaker_moved(&self, name: &'static str, to: BreakerState) {
        self.breaker_state(name, to);
        self.transitions.at([name, to.label()]).inc();
    }

    /// Shows the state of a cache tier's breaker, for example `redis`.
    pub fn cache_breaker_state(&self, tier: &'static str, state: BreakerState) {
        self.cache_breaker_state.at([tier]).set(state.gauge());
    }

    /// A cache tier's breaker changed its state: shows and counts it.
    pub fn cache_breaker_moved(&self, tier: &'static str, to: BreakerState) {
        self.cache_breaker_state(tier, to);
        self.breaker_moved(tier, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_outcome_and_in_all() {
        let upstream = UpstreamMetrics::register(&mut Registrar::default());
        upstream.called("query", "ok", Duration::from_millis(3));
        upstream.called("query", "transient", Duration::from_millis(3));
        assert_eq!(upstream.calls("query", "ok"), 1);
        assert_eq!(upstream.all_calls(), 2);
    }

    #[test]
    fn showing_a_state_is_no_transition() {
        let upstream = UpstreamMetrics::register(&mut Registrar::default());
        upstream.breaker_state("aliexpress", BreakerState::Closed);
        upstream.breaker_moved("aliexpress", BreakerState::HalfOpen);
        assert_eq!(upstream.breaker_state.at(["aliexpress"]).get(), 2);
        assert_eq!(upstream.transitions.at(["aliexpress", "half_open"]).get(), 1);
        assert_eq!(upstream.transitions.at(["aliexpress", "closed"]).get(), 0);
    }

    #[test]
    fn a_tiers_breaker_shows_under_both_names() {
        let upstream = UpstreamMetrics::register(&mut Registrar::default());
        upstream.cache_breaker_moved("redis", BreakerState::Open);
        assert_eq!(upstream.breaker_state.at(["redis"]).get(), 1);
        assert_eq!(upstream.cache_breaker_state.at(["redis"]).get(), 1);
    }
}
