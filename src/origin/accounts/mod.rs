//! The accounts that the upstream knows us by, used in turn.
//!
//! Owns: which of them makes the next call. Each has a pace, a day's budget, a breaker and a
//! standing of its own: what one has used up or spoilt, the others have not. Older than any actor.
//! Refuses: a call only when every account refuses it, with the refusal that ends first. When the
//! upstream is down, all of them find out by themselves; they have nothing in common but the
//! address.
//!
//! The rule is in [`choice`].

mod account;
pub mod choice;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

pub use account::{Account, Turn};
use choice::{Choice, Prefer, Refusal};

use super::Priority;
use crate::clock::Timestamp;

/// The names of accounts in labels, logs and paths, in the order of their settings.
pub const NAMES: [&str; 4] = ["upstream", "upstream_2", "upstream_3", "upstream_4"];

/// What a call wants of an account.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The method that is called.
    pub method: &'static str,
    /// For whom.
    pub priority: Priority,
    /// When it has to start, to be answered in time; a call that could start now may.
    pub latest: Instant,
    /// Which account it should be.
    pub prefer: Prefer,
}

/// Nobody can call an upstream that knows nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAccount;

impl std::fmt::Display for NoAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no credentials for the upstream")
    }
}

impl std::error::Error for NoAccount {}

/// A call that no account makes; neither is `None` as long as there is an account.
#[derive(Debug)]
pub struct TurnedAway<'a> {
    /// Whose refusal is told.
    pub account: Option<&'a Account>,
    /// What it is.
    pub refusal: Option<Refusal>,
}

/// All accounts; at least one.
#[derive(Debug)]
pub struct Accounts {
    all: Vec<Account>,
    /// Who is next when several could.
    turn: AtomicUsize,
}

impl Accounts {
    /// These, in order.
    ///
    /// # Errors
    /// There is none.
    pub fn new(all: Vec<Account>) -> Result<Self, NoAccount> {
        if all.is_empty() {
            return Err(NoAccount);
        }
        Ok(Self { all, turn: AtomicUsize::new(0) })
    }

    /// Each.
    pub fn iter(&self) -> std::slice::Iter<'_, Account> {
        self.all.iter()
    }

    /// Each, before anything is started.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Account> {
        self.all.iter_mut()
    }

    /// Gives the call to an account: a place in its pace, and the right to ask.
    ///
    /// # Errors
    /// What it is refused for, when all of them refuse it; nothing is taken then.
    pub fn choose(
        &self,
        ask: &Ask,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Turn<'_>, TurnedAway<'_>> {
        let (index, account) = self.decide(ask, now, wall)?;
        let turn = account
            .take(index, ask, now, wall)
            .map_err(|refusal| TurnedAway { account: Some(account), refusal: Some(refusal) })?;
        self.turn.store(index.saturating_add(1), Ordering::Relaxed);
        Ok(turn)
    }

    /// Whether a call would be refused now by all of them. Takes nothing, and may be asked on any
    /// thread: whoever is refused here costs nobody else anything.
    ///
    /// # Errors
    /// As [`Self::choose`].
    pub fn peek(&self, ask: &Ask, now: Instant, wall: Timestamp) -> Result<(), TurnedAway<'_>> {
        self.decide(ask, now, wall).map(drop)
    }

    /// Whether another account than `index` could make the call before its deadline.
    #[must_use]
    pub fn is_elsewhere(&self, index: usize, ask: &Ask, now: Instant, wall: Timestamp) -> bool {
        let others = self.all.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| other.quote(ask, now, wall)).any(|quote| quote.is_ok())
    }

    fn decide(
        &self,
        ask: &Ask,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(usize, &Account), TurnedAway<'_>> {
        let quotes: Vec<_> = self.all.iter().map(|account| account.quote(ask, now, wall)).collect();
        let turn = self.turn.load(Ordering::Relaxed);
        match choice::choose(&quotes, turn, ask.prefer, now) {
            Choice::Takes(index) => match self.all.get(index) {
                Some(account) => Ok((index, account)),
                None => Err(TurnedAway { account: None, refusal: None }),
            },
            Choice::Refused(index) => {
                let refusal = quotes.into_iter().nth(index).and_then(Result::err);
                Err(TurnedAway { account: self.all.get(index), refusal })
            }
        }
    }
}

#[cfg(test)]
mod tests;
