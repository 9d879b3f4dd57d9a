//! The credentials that an upstream knows us by, used in turn.
//!
//! Owns: which of them makes the next call. Each has a pace, a day's budget, a breaker and a health
//! of its own: what one has used up or spoilt, the others have not. Older than any actor. Refuses,
//! without taking anything: a call that every credential refuses, with the refusal that ends first.
//! When the upstream is down, all of them find out by themselves. The rule is in [`choice`].

pub mod choice;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use choice::{Choice, Offer, Prefer, Quote, Refusal};

use super::Priority;
use super::health::{CredentialHealth, Problem};
use super::pacing::{Booking, Pacing};
use crate::clock::Timestamp;
use crate::resilience::breaker::Breaker;

/// What a call wants of a credential.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub operation: &'static str,
    pub priority: Priority,
    /// When it has to start, to be answered in time; a call that could start now may.
    pub latest: Instant,
    pub prefer: Prefer,
}

pub struct Credential {
    /// Its name in labels and logs; also its breaker's.
    pub name: &'static str,
    /// Which one it is: the same text after every restart, another one for another credential, fit
    /// for logs and files. What is persisted of one is not applied to another.
    pub id: String,
    /// Judges how the upstream answers it.
    pub breaker: Breaker,
    /// When its calls may start.
    pub pacing: Pacing,
    /// What of its configuration the upstream does not accept.
    pub health: CredentialHealth,
}

impl Credential {
    pub fn problems(&self) -> Vec<Problem> {
        self.health.problems(self.name)
    }

    /// What it offers; takes nothing.
    fn quote(&self, ask: &Ask, now: Instant, wall: Timestamp) -> Quote {
        let Ask { operation, priority, latest, prefer } = *ask;
        if !prefer.is_check() {
            self.health.peek(operation, now).map_err(Refusal::Health)?;
        }
        // No call waits for an upstream that is left alone.
        self.breaker.peek(priority != Priority::Client, now).map_err(Refusal::Breaker)?;
        let at = self.pacing.quote(priority, now, wall, latest).map_err(Refusal::Pacing)?;
        Ok(Offer { at, probes: self.breaker.is_open() && at <= now })
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A call that no credential makes; neither is `None` as long as there is a credential.
#[derive(Debug)]
pub struct AllRefused<'a> {
    /// Whose refusal the caller gets.
    pub credential: Option<&'a Credential>,
    pub refusal: Option<Refusal>,
}

/// The right to make a call with a credential; dropped before the call, it is given back.
#[must_use = "a dropped turn is given back"]
#[derive(Debug)]
pub struct Turn<'a> {
    pub index: usize,
    pub credential: &'a Credential,
    pub booking: Booking,
}

#[derive(Debug)]
pub struct Credentials {
    all: Vec<Credential>,
    /// Who is next when several could.
    turn: AtomicUsize,
}

impl Credentials {
    pub const fn new(all: Vec<Credential>) -> Self {
        Self { all, turn: AtomicUsize::new(0) }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Credential> {
        self.all.iter()
    }

    /// Each, before anything is started.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Credential> {
        self.all.iter_mut()
    }

    /// Gives the call to a credential and books a moment in its pace.
    pub fn choose(
        &self,
        ask: &Ask,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Turn<'_>, AllRefused<'_>> {
        let (index, credential) = self.decide(ask, now, wall)?;
        let refused = |refused| AllRefused {
            credential: Some(credential),
            refusal: Some(Refusal::Pacing(refused)),
        };
        let booking =
            credential.pacing.book(ask.priority, now, wall, ask.latest).map_err(refused)?;
        self.turn.store(index.saturating_add(1), Ordering::Relaxed);
        Ok(Turn { index, credential, booking })
    }

    /// Whether a call would be refused now by all of them. Takes nothing, and may be asked on any
    /// thread.
    pub fn peek(&self, ask: &Ask, now: Instant, wall: Timestamp) -> Result<(), AllRefused<'_>> {
        self.decide(ask, now, wall).map(drop)
    }

    /// Whether another credential than `index` could make the call before its deadline.
    pub fn is_elsewhere(&self, index: usize, ask: &Ask, now: Instant, wall: Timestamp) -> bool {
        let others = self.all.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| other.quote(ask, now, wall)).any(|quote| quote.is_ok())
    }

    fn decide(
        &self,
        ask: &Ask,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(usize, &Credential), AllRefused<'_>> {
        let quotes: Vec<_> = self.all.iter().map(|one| one.quote(ask, now, wall)).collect();
        let turn = self.turn.load(Ordering::Relaxed);
        let choice = choice::choose(&quotes, turn, ask.prefer, now);
        let (Choice::Takes(index) | Choice::Refused(index)) = choice;
        match (choice, self.all.get(index)) {
            (Choice::Takes(_), Some(credential)) => Ok((index, credential)),
            (_, credential) => {
                let refusal = quotes.into_iter().nth(index).and_then(Result::err);
                Err(AllRefused { credential, refusal })
            }
        }
    }
}
