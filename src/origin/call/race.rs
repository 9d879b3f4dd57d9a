//! A second call beside one that is late: a hedge (Dean and Barroso, "The Tail at Scale", CACM 2013).
//!
//! Owns: when a second call is made, and which of the two answers counts. Refuses, silently: to make
//! one for what is no read, before the usual time of the method is known and over, without a grant
//! of the retry budget, or at the cost of anybody who waits: neither for its moment nor for its
//! place does it wait, and a breaker that lets little through gets none. When both fail, the failure
//! that says more is told.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde_json::Value;

use super::Course;
use super::attempt::{Made, NotMade, Started};
use crate::clock;
use crate::origin::accounts::choice::Prefer;
use crate::origin::edge::Edge;
use crate::origin::outcome::Blame;
use crate::origin::{Outcome, Priority, Request};
use crate::resilience::breaker::Verdict;

/// The number of the second call among a call's attempts.
const SECOND: u32 = 2;

impl<'a, E: Edge> Course<'a, E> {
    /// Makes the exchange of an attempt that has started, and another when it is late.
    pub(super) async fn race(
        &self,
        first: Started<'a>,
        request: &Request,
    ) -> Result<Made<'a>, NotMade> {
        let exchange = pin!(self.exchange(first.account, request, first.within));
        let Some(usual) = self.usual(&first, request) else {
            let outcome = exchange.await;
            return self.end(first, request, outcome);
        };
        let late = pin!(tokio::time::sleep_until((first.at + usual).into()));
        let exchange = match select(exchange, late).await {
            Either::Left((outcome, _)) => return self.end(first, request, outcome),
            Either::Right(((), exchange)) => exchange,
        };
        let Some(second) = self.hedge(first.index, request, usual) else {
            self.tables.metrics.hedged("denied");
            let outcome = exchange.await;
            return self.end(first, request, outcome);
        };
        let other = pin!(self.exchange(second.account, request, second.within));
        match select(exchange, other).await {
            Either::Left((outcome, other)) => {
                self.decide(first, outcome, second, other, request).await
            }
            Either::Right((outcome, exchange)) => {
                self.decide(second, outcome, first, exchange, request).await
            }
        }
    }

    /// What the method usually takes at most, if a call that takes longer may be made again. What
    /// finds out whether an account is well must be seen to its end.
    fn usual(&self, first: &Started<'a>, request: &Request) -> Option<Duration> {
        let may = self.call.retry
            && self.call.priority == Priority::Client
            && !first.account.breaker.is_open()
            && !first.trial.is_leased()
            && first.account.protocol.is_read(request);
        may.then(|| self.tables.latencies.p95(request.method)).flatten()
    }

    /// A second call, if it costs nobody anything.
    fn hedge(&self, first: usize, request: &Request, usual: Duration) -> Option<Started<'a>> {
        let (now, wall) = (clock::monotonic(), self.edge.wall());
        let is_worth_it = now + usual <= self.call.deadline;
        if !is_worth_it || self.tables.budget.snapshot(now).remaining == 0 {
            return None;
        }
        let mut ask = self.ask(request, Prefer::Not(first), now);
        // Its moment is now or never.
        ask.latest = now;
        let mut turn = self.tables.accounts.choose(&ask, now, wall).ok()?;
        let breaker = &turn.account.breaker;
        let is_well = !breaker.is_open() && !breaker.is_ramping(now) && !turn.trial.is_leased();
        if !is_well || turn.slot.claim(now) > now {
            return None;
        }
        let place = self.tables.crowd.enter_spare(now)?;
        self.start(turn, place, SECOND).ok()
    }

    /// One has ended: its answer counts, unless the other may have a better one.
    async fn decide(
        &self,
        ended: Started<'a>,
        outcome: Outcome<Value>,
        other: Started<'a>,
        exchange: impl Future<Output = Outcome<Value>>,
        request: &Request,
    ) -> Result<Made<'a>, NotMade> {
        if settles(&outcome) {
            self.won(&ended);
            self.abandon(other, request);
            return self.end(ended, request, outcome);
        }
        let earlier = self.end(ended, request, outcome);
        let last = exchange.await;
        let by_second = other.number == SECOND;
        let later = self.end(other, request, last);
        let is_later = worth(&later) >= worth(&earlier);
        self.tables.metrics.hedged(if is_later == by_second { "won" } else { "lost" });
        let (told, kept) = if is_later { (later, earlier) } else { (earlier, later) };
        if let Ok(Made { account, trial, outcome, .. }) = kept {
            // What it says of its account is true all the same.
            self.tables.learned(account, trial, &outcome, clock::monotonic(), self.edge.wall());
        }
        told
    }

    fn won(&self, winner: &Started<'a>) {
        self.tables.metrics.hedged(if winner.number == SECOND { "won" } else { "lost" });
    }

    /// A call whose answer nobody wants any more: it is counted, and it took at least so long.
    fn abandon(&self, loser: Started<'a>, request: &Request) {
        let now = clock::monotonic();
        let took = now.saturating_duration_since(loser.at);
        self.tables.metrics.called(request.method, "abandoned", took);
        self.tables.metrics.called_by(loser.account.name, "abandoned");
        if self.tables.latencies.p95(request.method).is_some_and(|usual| took > usual) {
            self.tables.latencies.note(request.method, took);
        }
        if loser.account.breaker.slow_after().is_some_and(|slow| took >= slow) {
            // However it would have ended, it was slow.
            loser.permit.record(Verdict::Slow, now);
        }
    }
}

/// Whether another answer could not be better.
const fn settles(outcome: &Outcome<Value>) -> bool {
    match outcome {
        Outcome::Ok(_) | Outcome::Empty | Outcome::Permanent { blame: Blame::Caller, .. } => true,
        Outcome::Throttled { .. }
        | Outcome::Permanent { blame: Blame::Configuration(_) | Blame::Capability, .. }
        | Outcome::Transient { .. }
        | Outcome::BadResponse { .. } => false,
    }
}

/// How much an end is worth telling: an answer, what to wait for or to put right, or only that it
/// failed.
const fn worth(end: &Result<Made<'_>, NotMade>) -> u8 {
    match end {
        Ok(Made { outcome, .. }) if settles(outcome) => 3,
        Ok(Made { outcome: Outcome::Throttled { .. } | Outcome::Permanent { .. }, .. }) => 2,
        Ok(_) => 1,
        Err(_) => 0,
    }
}
