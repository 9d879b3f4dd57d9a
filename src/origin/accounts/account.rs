//! One account: what belongs to a key of the upstream's.
//!
//! Owns: what it offers a call, and giving it. Refuses, without taking anything: what the upstream
//! would refuse for its configuration, what its breaker refuses, what its pace has no place for.

use std::sync::Arc;
use std::time::Instant;

use super::Ask;
use super::choice::{Offer, Quote, Refusal};
use crate::clock::Timestamp;
use crate::origin::pacing::{Pacing, Slot};
use crate::origin::standing::{Standing, Trial};
use crate::origin::{Priority, Protocol, verdict};
use crate::resilience::breaker::Breaker;

/// One account.
pub struct Account {
    /// Its name in labels and logs; also its breaker's.
    pub name: &'static str,
    /// The upstream's language, with the credential in it.
    pub protocol: Arc<dyn Protocol>,
    /// The breaker that judges how the upstream answers it.
    pub breaker: Breaker,
    /// When its calls may start.
    pub pacing: Pacing,
    /// What of its configuration the upstream does not accept.
    pub standing: Standing,
}

/// The right to make a call with an account; dropped before the call, all of it is given back.
#[must_use = "a dropped turn is given back"]
#[derive(Debug)]
pub struct Turn<'a> {
    /// Which one it is.
    pub index: usize,
    /// The account.
    pub account: &'a Account,
    /// The right to ask, told of the outcome.
    pub trial: Trial<'a>,
    /// The place in its pace.
    pub slot: Slot,
}

impl Account {
    /// Who it is, over restarts and changes of the configuration.
    #[must_use]
    pub fn id(&self) -> &str {
        self.protocol.account()
    }

    /// What it offers; takes nothing.
    pub(super) fn quote(&self, ask: &Ask, now: Instant, wall: Timestamp) -> Quote {
        if !ask.prefer.is_granted() {
            self.standing.peek(ask.method, now).map_err(Refusal::Standing)?;
        }
        // Nobody queues for an upstream that is left alone.
        verdict::peek(&self.breaker, ask.priority, now).map_err(Refusal::Breaker)?;
        let at = match ask.priority {
            Priority::Client => self.pacing.quote(now, wall, ask.latest),
            spare @ (Priority::Refresh | Priority::Warming) => {
                self.pacing.quote_spare(spare, now, wall).map(|()| now)
            }
        };
        let is_open = self.breaker.is_open();
        at.map(|at| Offer { at, probes: is_open && at <= now }).map_err(Refusal::Pacing)
    }

    /// Takes what it has just offered.
    pub(super) fn take(
        &self,
        index: usize,
        ask: &Ask,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Turn<'_>, Refusal> {
        let trial = if ask.prefer.is_granted() {
            self.standing.granted(ask.method, now)
        } else {
            self.standing.ask(ask.method, now).map_err(Refusal::Standing)?
        };
        let slot = match ask.priority {
            Priority::Client => self.pacing.reserve(now, wall, ask.latest),
            spare @ (Priority::Refresh | Priority::Warming) => {
                self.pacing.reserve_spare(spare, now, wall)
            }
        };
        let slot = slot.map_err(Refusal::Pacing)?;
        Ok(Turn { index, account: self, trial, slot })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}
