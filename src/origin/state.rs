//! What ApiClientActor works with and must not forget: credentials, slots, retry budget, bounds.
//!
//! Owns: the state of one upstream, older than any incarnation of its actor, what an admin may read of
//! it, and what of it must survive a restart: one small JSON object, by credential, so that what one
//! has used up is not held against another after a change of the configuration. Refuses, on the
//! caller's thread and without a message to the actor: what cannot be done in time; and, as if nothing
//! had been stored: what cannot be read, and what was written more than a day away from now (bans and
//! budgets are daily, and open times shorter).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use slog::{Logger, error, info};

use super::attempt::{LEAST_ATTEMPT, Policy};
use super::concurrency::{ConcurrencyLimiter, Load};
use super::credentials::{Ask, Credential, Credentials, Prefer};
use super::health::{Fault, Made, Problem};
use super::pacing::PacingStatus;
use super::pacing::shared::Sharing;
use super::transport::Wire;
use super::{Blame, Misconfiguration, Outcome, Payer, Priority};
use crate::clock::Timestamp;
use crate::config::Current;
use crate::failure::Failure;
use crate::metrics::UpstreamMetrics;
use crate::resilience::breaker::{self, State};
use crate::resilience::retry_budget::RetryBudget;
use crate::supervision::Observer;

/// The number of a call's first attempt.
const FIRST: u32 = 1;

pub struct OriginState {
    /// In health and in what is persisted of it: that of its first credential at the start.
    pub name: &'static str,
    /// Whether it is a simulator of our own, and answers are not live.
    pub is_simulated: bool,
    /// Who we are to it.
    pub credentials: Current<Arc<Credentials>>,
    /// How many calls may be under way at once, of all credentials together, and who waits.
    pub slots: ConcurrencyLimiter,
    /// How many retries are left, of all credentials together: they burden the same upstream.
    pub budget: RetryBudget,
    /// When a call is tried again.
    pub retry: Current<Policy>,
    /// The other instances, where pace, budget and bans are kept together with them.
    pub sharing: Option<Sharing>,
    pub wire: Wire,
    pub attempt_timeout: Duration,
    pub metrics: UpstreamMetrics,
    pub log: Logger,
    /// Receives calls that panic.
    pub observer: Arc<dyn Observer>,
}

#[derive(Debug, Clone)]
pub struct CredentialStatus {
    pub name: &'static str,
    /// Whether the upstream accepts its configuration, as far as is known.
    pub is_accepted: bool,
    pub breaker: breaker::Snapshot,
    pub pacing: PacingStatus,
}

/// The state of an upstream at one moment.
#[derive(Debug, Clone)]
pub struct OriginStatus {
    pub credentials: Vec<CredentialStatus>,
    pub load: Load,
}

impl OriginStatus {
    /// The state of the breaker that stands least in the way, of credentials that are of use: what a
    /// call meets.
    pub fn breaker(&self) -> State {
        let all_refused = self.credentials.iter().all(|credential| !credential.is_accepted);
        let used = || self.credentials.iter().filter(|one| all_refused || one.is_accepted);
        let states = || used().map(|credential| credential.breaker.state);
        let from_best = [State::Closed, State::HalfOpen].into_iter();
        let mut met = from_best.filter(|state| states().any(|other| other == *state));
        met.next().unwrap_or(State::Open)
    }

    /// Calls left today, of all credentials together; `None` without daily budgets.
    pub fn budget_remaining(&self) -> Option<u64> {
        self.credentials.iter().map(|credential| credential.pacing.budget_remaining).sum()
    }
}

impl OriginState {
    /// Whether a call may come in: looks at what would refuse it later, and takes nothing.
    pub fn check(
        &self,
        operation: &'static str,
        priority: Priority,
        payer: Option<&Payer>,
        deadline: Instant,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), Failure> {
        let latest = self.latest_start(now, deadline);
        let ask = Ask { operation, priority, payer, latest, prefer: Prefer::Any };
        self.credentials
            .get()
            .peek(&ask, now, wall)
            .map_err(|refused| self.refused(refused, priority, FIRST, now))?;
        self.slots.peek(priority, now, latest).map_err(|full| self.full(full, priority, FIRST))
    }

    /// When a call has to start to be answered by its deadline, if it takes as long as others did. A
    /// call that can start now may always.
    pub(super) fn latest_start(&self, now: Instant, deadline: Instant) -> Instant {
        let usual = self.slots.mean_hold();
        let usual = usual.max(LEAST_ATTEMPT).min(self.attempt_timeout);
        deadline.checked_sub(usual).map_or(now, |latest| latest.max(now))
    }

    pub fn status(&self, now: Instant, wall: Timestamp) -> OriginStatus {
        let all = self.credentials.get();
        let credentials = all.iter().map(|credential| CredentialStatus {
            name: credential.name,
            is_accepted: !credential.problems().iter().any(|problem| problem.operation.is_none()),
            breaker: credential.breaker.snapshot(now),
            pacing: credential.pacing.status(now, wall),
        });
        OriginStatus { credentials: credentials.collect(), load: self.slots.load() }
    }
}

impl OriginState {
    /// Notes what the outcome of a call says about its credential, and tells operators what changed.
    pub(super) fn note_health<T>(
        &self,
        credential: &Credential,
        made: Made,
        outcome: &Outcome<T>,
        advice: impl FnOnce(Misconfiguration) -> String,
        (now, wall): (Instant, Timestamp),
    ) {
        let ended = match (outcome, outcome.misconfiguration()) {
            (Outcome::Ok(_) | Outcome::Empty, _) => {
                credential.health.succeeded(made.asked.operation)
            }
            (Outcome::Permanent { reason, .. }, Some(what)) => {
                let advice = advice(what);
                let logged = advice.clone();
                let fault = Fault::new(what, reason.clone(), advice, (now, wall));
                let (is_new, ended) = credential.health.failed(made, fault, now);
                if is_new {
                    error!(self.log, "upstream does not accept the configuration";
                        "account" => credential.name, "fault" => what.name, "advice" => logged,
                        "reason" => reason);
                }
                ended
            }
            (Outcome::Permanent { blame: Blame::Unknown, reason }, None) => {
                if credential.health.refused_unknown(made, reason, (now, wall)) {
                    error!(self.log, "upstream refuses different questions, and nobody knows why";
                        "account" => credential.name, "reason" => reason);
                }
                return;
            }
            _ => return,
        };
        self.report_ended(credential, &ended);
    }

    /// Forgets the faults of a credential, and a ban: an admin says that it was put right.
    pub fn forgive(&self, credential: &Credential) {
        credential.pacing.lift_ban();
        self.try_again(credential);
    }

    /// Forgets the faults of a credential: its configuration is another one.
    pub(super) fn try_again(&self, credential: &Credential) {
        let ended = credential.health.forgive();
        self.report_ended(credential, &ended);
    }

    pub fn problems(&self) -> Vec<Problem> {
        self.credentials.get().iter().flat_map(Credential::problems).collect()
    }

    pub fn faults(&self) -> usize {
        self.credentials.with(|all| all.iter().map(|one| one.health.faults()).sum())
    }

    fn report_ended(&self, credential: &Credential, faults: &[Misconfiguration]) {
        for what in faults {
            info!(self.log, "upstream accepts the configuration again";
                "account" => credential.name, "fault" => what.name);
        }
        self.metrics.misconfigured.set(self.faults());
    }
}

/// Older than this it says nothing about now.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of all credentials for a later process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    accounts: Vec<Saved>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    id: String,
    saved_at: Timestamp,
    breaker: breaker::Persisted,
    pacing: PacingStatus,
}

impl Persisted {
    pub fn to_json(&self) -> String {
        // A struct of numbers and names always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As it was stored, but for what is too old; `None` when it is not that.
    pub fn from_json(text: &str, wall: Timestamp) -> Option<Self> {
        let mut stored: Self = serde_json::from_str(text).ok()?;
        let apart = |then: Timestamp| wall.since(then).max(then.since(wall));
        stored.accounts.retain(|saved| apart(saved.saved_at) <= LONGEST);
        (!stored.accounts.is_empty()).then_some(stored)
    }

    /// Whether it is worth storing again after `last` was.
    pub fn changed_since(&self, last: &Self) -> bool {
        let without_time =
            |saved: &Saved| Saved { saved_at: Timestamp::default(), ..saved.clone() };
        !self.accounts.iter().map(without_time).eq(last.accounts.iter().map(without_time))
    }
}

impl OriginState {
    /// What a later process needs to go on from here.
    pub fn persist(&self, now: Instant, wall: Timestamp) -> Persisted {
        let all = self.credentials.get();
        let accounts = all.iter().map(|credential| Saved {
            id: credential.id.clone(),
            saved_at: wall,
            breaker: credential.breaker.persist(now, wall),
            pacing: credential.pacing.status(now, wall),
        });
        Persisted { accounts: accounts.collect() }
    }

    /// Goes on where an earlier process stopped; once. Calls made meanwhile stay counted. The answer
    /// is the credentials of which something was stored.
    pub fn restore(&self, saved: &Persisted, now: Instant, wall: Timestamp) -> Vec<Credential> {
        let mut restored = Vec::new();
        for credential in self.credentials.get().iter() {
            if let Some(saved) = saved.accounts.iter().find(|saved| saved.id == credential.id) {
                credential.breaker.restore(&saved.breaker, now, wall);
                credential.pacing.restore(&saved.pacing, now, wall);
                restored.push(credential.clone());
            }
        }
        restored
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
