//! How we stand with the upstream: what of our configuration it does not accept, and who may ask
//! again.
//!
//! Owns: the table that every call asks before an attempt and tells the outcome after it, and the
//! words about it for operators: one error line when a fault is first seen, one info line when it
//! ends, the gauge in between. Older than the actor, so a restart of it forgets nothing. Refuses:
//! questions that would be refused upstream anyway, within microseconds and with the same failure.
//! The rule itself is in [`faults`].

pub mod faults;
#[cfg(test)]
mod faults_tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use slog::{error, info};

use self::faults::{Change, Fault, Faults, Lease};
use super::accounts::Account;
use super::tables::UpstreamTables;
use super::{Misconfiguration, Outcome};
use crate::clock::Timestamp;

/// The table; one per credential.
#[derive(Debug, Default)]
pub struct Standing {
    faults: Mutex<Faults>,
    /// How many of `faults` there are: whoever only wants to know whether all is well takes no
    /// lock.
    count: AtomicUsize,
}

/// The right to ask one question; comes back by itself when it is dropped without an outcome.
#[derive(Debug)]
pub struct Trial<'a> {
    standing: &'a Standing,
    method: &'static str,
    lease: Lease,
    asked_at: Instant,
}

/// A fault that stands, for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// The account.
    pub account: &'static str,
    /// What is wrong.
    pub what: Misconfiguration,
    /// The one method it is about; `None`: all of them.
    pub method: Option<&'static str>,
    /// When it was first seen.
    pub since: Timestamp,
    /// What to do about it.
    pub advice: &'static str,
}

impl Standing {
    /// How many faults stand.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether [`Self::ask`] would grant the right; takes nothing.
    ///
    /// # Errors
    /// The fault that stands against it.
    pub fn peek(&self, method: &str, now: Instant) -> Result<(), Box<Fault>> {
        if self.faults() == 0 {
            return Ok(());
        }
        Ok(self.lock().peek(method, now)?)
    }

    /// Asks for the right to ask the upstream.
    ///
    /// # Errors
    /// The fault that stands against it.
    pub fn ask(&self, method: &'static str, now: Instant) -> Result<Trial<'_>, Box<Fault>> {
        let lease =
            if self.faults() == 0 { None } else { self.change(|all| all.ask(method, now))? };
        Ok(Trial { standing: self, method, lease, asked_at: now })
    }

    /// The right to ask one more question for one that was granted.
    pub const fn granted(&self, method: &'static str, now: Instant) -> Trial<'_> {
        Trial { standing: self, method, lease: None, asked_at: now }
    }

    fn change<T>(&self, how: impl FnOnce(&mut Faults) -> T) -> T {
        let mut faults = self.lock();
        let told = how(&mut faults);
        self.count.store(faults.len(), Ordering::Relaxed);
        told
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        // Nothing under this lock can panic between two changes that belong together.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trial<'_> {
    /// Notes what became of the question.
    fn note(mut self, outcome: &Outcome<Value>, now: Instant, wall: Timestamp) -> Change {
        let is_well = matches!(outcome, Outcome::Ok(_) | Outcome::Empty);
        let lease = self.lease.take();
        if is_well && self.standing.faults() == 0 {
            return Change::default();
        }
        self.standing.change(|faults| faults.note(self.method, lease, outcome, now, wall))
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.lease.is_some() {
            self.standing.change(|faults| faults.give_back(self.method, self.lease, self.asked_at));
        }
    }
}

impl Account {
    /// What stands against it, for operators.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |(method, fault): (_, &Fault)| Problem {
            account: self.name,
            what: fault.what,
            method,
            since: fault.since,
            advice: self.protocol.advice(fault.what),
        };
        self.standing.lock().iter().map(problem).collect()
    }
}

impl UpstreamTables {
    /// Notes what became of a question to `account`, and tells operators what it changed.
    pub(super) fn learned(
        &self,
        account: &Account,
        trial: Trial<'_>,
        outcome: &Outcome<Value>,
        now: Instant,
        wall: Timestamp,
    ) {
        let change = trial.note(outcome, now, wall);
        if let (Some(what), Outcome::Permanent { reason, .. }) = (change.begun, outcome) {
            error!(self.log, "upstream does not accept the configuration";
                "account" => account.name, "fault" => what.as_str(),
                "advice" => account.protocol.advice(what), "reason" => reason);
        }
        self.ended(account, &change.ended);
    }

    /// Forgets what stands against an account, and a ban, so that the next question is asked: an
    /// admin says that it was put right.
    pub fn forgive(&self, account: &Account) {
        let ended = account.standing.change(Faults::clear);
        account.pacing.lift_ban();
        self.ended(account, &ended);
    }

    /// What stands, for operators.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.accounts.iter().flat_map(Account::problems).collect()
    }

    /// How many faults stand against any account.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.accounts.iter().map(|account| account.standing.faults()).sum()
    }

    fn ended(&self, account: &Account, faults: &[Misconfiguration]) {
        for what in faults {
            info!(self.log, "upstream fault of the configuration ended";
                "account" => account.name, "fault" => what.as_str());
        }
        self.metrics.misconfigured(self.faults());
    }
}
