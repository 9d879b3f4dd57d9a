//! The right to make one call at a moment.
//!
//! Owns: that it is used once or given back, whatever becomes of its holder. Refuses: to be used
//! while a ban lasts that came after it was given.

use std::time::Instant;

use super::schedule::Claim;
use super::{Pacing, Refused};
use crate::clock::Timestamp;

/// A place: the right to make one call at [`Self::at`]. Dropped before it is used, it is given
/// back: its moment to whoever asks next, its call to the day's budget, its claim to those behind.
#[must_use = "a dropped slot is given back"]
#[derive(Debug)]
pub struct Slot {
    pacing: Pacing,
    at: Instant,
    id: u64,
    day: i64,
    claim: Option<Claim>,
    used: bool,
}

impl Slot {
    pub(super) const fn new(pacing: Pacing, at: Instant, id: u64, day: i64) -> Self {
        Self { pacing, at, id, day, claim: None, used: false }
    }

    /// The moment the call may be made; wait for it first.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// When the call may really be made, now that everything else is ready for it: now, unless it
    /// was kept from its moment and others with it. Then they keep the pace among them.
    #[must_use]
    pub fn claim(&mut self, now: Instant) -> Instant {
        let pacing = &self.pacing;
        self.claim.get_or_insert_with(|| pacing.lock().schedule.claim(now)).at
    }

    /// Uses the place: the call is made now.
    ///
    /// # Errors
    /// [`Refused`] when a ban came while it waited; the place is given back then.
    pub fn start(mut self, now: Instant, wall: Timestamp) -> Result<(), Refused> {
        let mut table = self.pacing.lock();
        if let Some(left) = table.ban_left(now) {
            drop(table);
            return Err(Refused::banned(left, wall));
        }
        table.schedule.used(self.id);
        drop(table);
        self.used = true;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.used {
            let mut table = self.pacing.lock();
            table.schedule.give_back(self.id);
            table.quota.give_back(self.day);
            if let Some(claim) = self.claim {
                table.schedule.unclaim(claim);
            }
        }
    }
}
