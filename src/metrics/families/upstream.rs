//! The families of calls to the upstream and of circuit breakers.
//!
//! Owns: `upstream_*`, `circuit_breaker_*` and `cache_circuit_breaker_state`. Decides nothing:
//! outcomes and states come from the rooms that do.

use prometheus_client::metrics::counter::Counter;

use crate::metrics::histogram::DurationHistogram;
use crate::metrics::registry::{Counters, Fraction, Gauge, Gauges, Labelled, Registrar};
use crate::resilience::breaker::State;

/// What calls to the upstream count, and what the breakers say.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    pub calls: Counters<2>,
    pub calls_by_account: Counters<2>,
    pub duration: DurationHistogram,
    pub retries: Counter,
    pub background_refused: Counters<2>,
    pub shed: Counters<1>,
    pub concurrency_limit: Gauge,
    pub in_flight: Gauge,
    pub waiting: Gauge,
    pub budget_remaining: Gauge,
    pub account_budget_remaining: Gauges<1>,
    pub misconfigured: Gauge,
    pub breakers: BreakerMetrics,
}

impl UpstreamMetrics {
    pub(super) fn declare(add: &mut Registrar) -> Self {
        Self {
            calls: add.many(
                "upstream_calls",
                ["method", "outcome"],
                "Calls to the upstream, every attempt counted",
            ),
            calls_by_account: add.many(
                "upstream_calls_by_account",
                ["account", "outcome"],
                "Calls to the upstream, by the account that made them",
            ),
            duration: add.add(
                "upstream_call_duration_seconds",
                "Time one call to the upstream took",
                DurationHistogram::latency(),
            ),
            retries: add.one("upstream_retries", "Attempts after the first of a call"),
            background_refused: add.many(
                "upstream_background_refused",
                ["priority", "reason"],
                "Calls for a refresh or for warming that were not made, for the sake of clients or a ban",
            ),
            shed: add.many(
                "upstream_shed",
                ["reason"],
                "Calls of clients that were not made, by what stood in their way",
            ),
            concurrency_limit: add.one(
                "upstream_concurrency_limit",
                "Calls to the upstream that may be under way at once; falls when calls time out",
            ),
            in_flight: add.one("upstream_in_flight", "Calls to the upstream under way"),
            waiting: add
                .one("upstream_waiting", "Calls that wait for their moment, or for a slot"),
            budget_remaining: add
                .one("upstream_budget_remaining", "Calls left of today's budget, of all accounts"),
            account_budget_remaining: add.many(
                "upstream_account_budget_remaining",
                ["account"],
                "Calls left of an account's budget of today",
            ),
            misconfigured: add.one(
                "upstream_misconfigured",
                "Faults of the configuration that the upstream refuses calls for; 0: none",
            ),
            breakers: BreakerMetrics::declare(add),
        }
    }
}

/// What the breakers of upstreams and tiers show.
#[derive(Debug, Clone)]
pub struct BreakerMetrics {
    pub state: Gauges<1>,
    pub tier_state: Gauges<1>,
    transitions: Counters<2>,
    pub slow_start: Labelled<Fraction, 1>,
}

impl BreakerMetrics {
    fn declare(add: &mut Registrar) -> Self {
        Self {
            state: add.many(
                "circuit_breaker_state",
                ["name"],
                "State of a circuit breaker: 0 closed, 1 open, 2 half-open",
            ),
            tier_state: add.many(
                "cache_circuit_breaker_state",
                ["cache_type"],
                "State of a cache tier's circuit breaker: 0 closed, 1 open, 2 half-open",
            ),
            transitions: add.many(
                "circuit_breaker_transitions",
                ["name", "to"],
                "Changes of a circuit breaker's state",
            ),
            slow_start: add.many(
                "circuit_breaker_slow_start_per_second",
                ["name"],
                "Calls a second let through by a breaker that closed lately; 0 without such a limit",
            ),
        }
    }

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
