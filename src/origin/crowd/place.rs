//! What somebody holds who is in, or waits to be.
//!
//! Owns: that a place is given back exactly once, and that whoever goes away leaves the queue.
//! Refuses nothing.

use std::fmt;
use std::time::Instant;

use tokio::sync::oneshot;

use super::Crowd;
use super::words::{Ended, Full};

/// A place among the calls under way. Dropped, it is free again and says nothing about the upstream.
#[must_use = "a dropped place is free again"]
pub struct Place {
    crowd: Crowd,
    call: u64,
    is_held: bool,
}

impl Place {
    pub(super) const fn new(crowd: Crowd, call: u64) -> Self {
        Self { crowd, call, is_held: true }
    }

    /// The call ended so, `now`.
    pub fn ended(mut self, ended: Ended, now: Instant) {
        self.is_held = false;
        self.crowd.give_back(self.call, Some((ended, now)));
    }

    /// Forgets the place without giving it back; returns its number.
    pub(super) fn into_call(mut self) -> u64 {
        self.is_held = false;
        self.call
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_held {
            self.crowd.give_back(self.call, None);
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("call", &self.call).finish_non_exhaustive()
    }
}

/// A place in the queue. Dropped, it is left; a place that arrives at that moment is free again.
#[must_use = "a dropped ticket leaves the queue"]
pub struct Ticket {
    crowd: Crowd,
    id: u64,
    deadline: Instant,
    place: oneshot::Receiver<Place>,
}

impl Ticket {
    pub(super) const fn new(
        crowd: Crowd,
        id: u64,
        deadline: Instant,
        place: oneshot::Receiver<Place>,
    ) -> Self {
        Self { crowd, id, deadline, place }
    }

    /// Waits for a place, until the deadline it was asked for with.
    ///
    /// # Errors
    /// There was none until then.
    pub async fn wait(mut self) -> Result<Place, Full> {
        match tokio::time::timeout_at(self.deadline.into(), &mut self.place).await {
            Ok(Ok(place)) => Ok(place),
            // Out of the queue because of its deadline, which is the same.
            Ok(Err(_)) | Err(_) => Err(self.crowd.too_late()),
        }
    }

    /// Leaves as far as the sender can see: between a drop's two steps.
    #[cfg(test)]
    pub(super) fn turn_away(&mut self) {
        self.place.close();
    }

    /// The place, if it is there already.
    #[cfg(test)]
    pub(super) fn arrived(&mut self) -> Option<Place> {
        self.place.try_recv().ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.crowd.leave(self.id);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).finish_non_exhaustive()
    }
}
