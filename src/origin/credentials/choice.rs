//! Which credential makes a call: a plain function of what each of them quotes.
//!
//! Owns: the rule. One that can start at once comes before one that has to wait; of several the next
//! in turn, so that their budgets fall evenly; one whose breaker can be probed now comes before
//! those, as otherwise it would never be found out that it is well again. A retry goes to another
//! credential than the one that failed, if there is one that can start soon. Refuses: only what all
//! refuse; the caller gets the one that ends first, and a fault of the configuration only
//! if there is nothing else to tell.

use std::time::{Duration, Instant};

use crate::origin::health::Fault;
use crate::origin::pacing::Refused;
use crate::resilience::breaker::Rejected;

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
    pub const fn is_check(self) -> bool {
        matches!(self, Self::Only(_))
    }
}

pub type Quote = Result<Offer, Refusal>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub at: Instant,
    /// Whether it would be a probe of a breaker that is half-open, at once.
    pub probes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The upstream does not accept its configuration.
    Health(Box<Fault>),
    Breaker(Rejected),
    /// Its pace, its budget or a ban.
    Pacing(Refused),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Takes(usize),
    /// None does; the caller gets this one's refusal.
    Refused(usize),
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

/// Chooses by `quotes`; `turn` is who is next, counted on without end.
pub fn choose(quotes: &[Quote], turn: usize, prefer: Prefer, now: Instant) -> Choice {
    if let Prefer::Only(index) = prefer {
        let takes = quotes.get(index).is_some_and(Result::is_ok);
        return if takes { Choice::Takes(index) } else { Choice::Refused(index) };
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
        return Choice::Takes(index);
    }
    let refusals = in_turn().filter_map(|(index, quote)| quote.as_ref().err().map(|r| (index, r)));
    let mildest = refusals
        .min_by_key(|(_, refusal)| (matches!(refusal, Refusal::Health(_)), refusal.lasts(now)));
    Choice::Refused(mildest.map_or(0, |(index, _)| index))
}
