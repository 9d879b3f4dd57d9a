//! The credentials that an upstream knows us by, used in turn.
//!
//! Owns: which of them makes the next call. Each has a pace, a day's budget, a breaker and a health
//! of its own: what one has used up or spoilt, the others have not. Older than any actor. Refuses,
//! without taking anything: a call that every credential refuses; its caller gets the refusal that ends
//! first, and a fault of the configuration only if there is nothing else to tell. When the upstream
//! is down, all of them find out by themselves.
//!
//! One that can start at once comes before one that has to wait; of several the next in turn, so that
//! their budgets fall evenly; one whose breaker can be probed now comes before those, as otherwise it
//! would never be found out that it is well again. A retry goes to another credential than the one
//! that failed, if there is one that can start soon.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::health::{CredentialHealth, Fault, Problem};
use super::pacing::{Booking, Pacing};
use super::{Payer, Priority};
use crate::clock::Timestamp;
use crate::resilience::Refused;
use crate::resilience::breaker::{Breaker, Rejected, RejectedBy};

#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub operation: &'static str,
    pub priority: Priority,
    pub payer: Option<&'a Payer>,
    /// When it has to start, to be answered in time; a call that could start now may.
    pub latest: Instant,
    pub prefer: Prefer,
}

/// A clone is the same credential.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Its name in labels and logs; also its breaker's.
    pub name: &'static str,
    /// Which one it is: the same text after every restart, another one for another credential, fit
    /// for logs and files. What is persisted of one is not applied to another.
    pub id: String,
    /// Judges how the upstream answers it.
    pub breaker: Breaker,
    pub pacing: Pacing,
    /// What of its configuration the upstream does not accept.
    pub health: Arc<CredentialHealth>,
}

impl Credential {
    pub fn problems(&self) -> Vec<Problem> {
        self.health.problems(self.name)
    }

    /// Whether a call may be a probe, if it would be one: probes go to a method that worked.
    pub fn may_probe(
        &self,
        operation: &'static str,
        prefer: Prefer,
        now: Instant,
    ) -> Result<(), Rejected> {
        if prefer.is_check() || !self.breaker.is_open() {
            return Ok(());
        }
        let by_open = |retry_after| Rejected { retry_after, by: RejectedBy::Open };
        self.health.may_probe(operation, now).map_err(by_open)
    }

    fn quote(&self, ask: &Ask<'_>, now: Instant, wall: Timestamp) -> Quote {
        let Ask { operation, priority, payer, latest, prefer } = *ask;
        if !prefer.is_check() {
            self.health.peek(operation, now).map_err(Refusal::Health)?;
        }
        // No call waits for an upstream that is left alone.
        self.breaker.peek(priority != Priority::Client, now).map_err(Refusal::Breaker)?;
        self.may_probe(operation, prefer, now).map_err(Refusal::Breaker)?;
        let at = self.pacing.quote(priority, payer, now, wall, latest).map_err(Refusal::Pacing)?;
        Ok(Offer { at, probes: self.breaker.is_open() && at <= now })
    }
}

/// A call that no credential makes; neither is `None` as long as there is a credential.
#[derive(Debug)]
pub struct AllRefused<'a> {
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
    turn: AtomicUsize,
}

/// The credentials of one upstream, and its language as spoken with each, in the same order. A reload
/// brings others; a call ends with those that it began with.
#[derive(Debug)]
pub struct Roster<O> {
    pub credentials: Arc<Credentials>,
    pub origins: Arc<[O]>,
}

impl<O> Clone for Roster<O> {
    fn clone(&self) -> Self {
        Self { credentials: Arc::clone(&self.credentials), origins: Arc::clone(&self.origins) }
    }
}

impl Credentials {
    pub const fn new(all: Vec<Credential>) -> Self {
        Self { all, turn: AtomicUsize::new(0) }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Credential> {
        self.all.iter()
    }

    /// Gives the call to a credential and books a moment in its pace.
    pub fn choose(
        &self,
        ask: &Ask<'_>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Turn<'_>, AllRefused<'_>> {
        let (index, credential) = self.decide(ask, now, wall)?;
        let refused = |refused| AllRefused {
            credential: Some(credential),
            refusal: Some(Refusal::Pacing(refused)),
        };
        let booking = credential
            .pacing
            .book(ask.priority, ask.payer, now, wall, ask.latest)
            .map_err(refused)?;
        self.turn.store(index.saturating_add(1), Ordering::Relaxed);
        Ok(Turn { index, credential, booking })
    }

    /// Whether a call would be refused now by all of them. Takes nothing, and may be asked on any
    /// thread.
    pub fn peek(&self, ask: &Ask<'_>, now: Instant, wall: Timestamp) -> Result<(), AllRefused<'_>> {
        self.decide(ask, now, wall).map(drop)
    }

    /// Whether another credential than `index` could make the call before its deadline.
    pub fn is_elsewhere(&self, index: usize, ask: &Ask<'_>, now: Instant, wall: Timestamp) -> bool {
        let others = self.all.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| other.quote(ask, now, wall)).any(|quote| quote.is_ok())
    }

    fn decide(
        &self,
        ask: &Ask<'_>,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(usize, &Credential), AllRefused<'_>> {
        let quotes: Vec<_> = self.all.iter().map(|one| one.quote(ask, now, wall)).collect();
        let turn = self.turn.load(Ordering::Relaxed);
        let choice = choose(&quotes, turn, ask.prefer, now);
        let (Ok(index) | Err(index)) = choice;
        match (choice, self.all.get(index)) {
            (Ok(_), Some(credential)) => Ok((index, credential)),
            (_, credential) => {
                let refusal = quotes.into_iter().nth(index).and_then(Result::err);
                Err(AllRefused { credential, refusal })
            }
        }
    }
}

/// A retry waits so long for another credential; longer, and the one that failed may be well again.
const SOON: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefer {
    #[default]
    Any,
    /// Any other than this, if another can; it has just failed.
    Not(usize),
    /// This one alone: the call checks an outcome that it brought.
    Only(usize),
}

impl Prefer {
    pub(super) const fn is_check(self) -> bool {
        matches!(self, Self::Only(_))
    }
}

type Quote = Result<Offer, Refusal>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offer {
    at: Instant,
    /// Whether it would be a probe of a breaker that is half-open, at once.
    probes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Health(Box<Fault>),
    Breaker(Rejected),
    Pacing(Refused),
}

impl Refusal {
    fn lasts(&self, now: Instant) -> Duration {
        match self {
            Self::Health(fault) => fault.wait(now),
            Self::Breaker(rejected) => rejected.retry_after,
            Self::Pacing(refused) => refused.retry_after,
        }
    }
}

/// Chooses by `quotes`; `turn` is who is next, counted on without end. An error: none makes the call,
/// and the caller gets this one's refusal.
fn choose(quotes: &[Quote], turn: usize, prefer: Prefer, now: Instant) -> Result<usize, usize> {
    if let Prefer::Only(index) = prefer {
        let takes = quotes.get(index).is_some_and(Result::is_ok);
        return if takes { Ok(index) } else { Err(index) };
    }
    let count = quotes.len().max(1);
    let in_turn = || {
        (0..quotes.len()).filter_map(move |step| {
            let index = (turn % count).saturating_add(step) % count;
            quotes.get(index).map(|quote| (index, quote))
        })
    };
    let offers = in_turn().filter_map(|(index, quote)| quote.as_ref().ok().map(|o| (index, *o)));
    // The first of those that are equal wins, and they come in turn.
    let best = offers.min_by_key(|(index, offer)| {
        let is_late = offer.at.saturating_duration_since(now) > SOON;
        (is_late, prefer == Prefer::Not(*index), !offer.probes, offer.at.max(now))
    });
    if let Some((index, _)) = best {
        return Ok(index);
    }
    let refusals = in_turn().filter_map(|(index, quote)| quote.as_ref().err().map(|r| (index, r)));
    let mildest = refusals
        .min_by_key(|(_, refusal)| (matches!(refusal, Refusal::Health(_)), refusal.lasts(now)));
    Err(mildest.map_or(0, |(index, _)| index))
}
