//! The crowd of calls at the upstream: how many at once, and who waits to be one of them.
//!
//! Owns: the limit on calls under way, which follows the upstream's latency (`limit`, `calm`), the
//! places within it and the queue before it; a table older than any actor, shared by cloning.
//! Refuses, at once: what finds the queue full, what would wait past its deadline, and what would
//! make a standing queue longer ([`super::patience`]). The decisions are in `table`.
//!
//! Clients wait, in the order in which they came. A call that nobody waits for never does: it gets a
//! place while less than half of them are taken and nobody stands in the queue, or none.
//!
//! When the upstream slows down it gets less, and when it hangs what is under way ends by its own
//! time-outs; places whose holder is never heard of again are given up after a while.

mod calm;
mod limit;
mod place;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Priority;
use limit::Limit;
pub use place::{Place, Ticket};
use table::{Decision, Next, Table};
pub use words::{Ended, Full, Reason, Settings, Snapshot};

/// The crowd of one upstream; clones are the same one.
#[derive(Clone)]
pub struct Crowd {
    table: Arc<Mutex<Table<oneshot::Sender<Place>>>>,
}

/// A place now, or later.
#[derive(Debug)]
pub enum Entry {
    /// Now.
    In(Place),
    /// Later.
    Wait(Ticket),
}

impl Crowd {
    /// An empty one.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let table = Table::new(settings, Limit::new(settings.most));
        Self { table: Arc::new(Mutex::new(table)) }
    }

    /// A place now, or one in the queue; never past somebody of the same or a higher priority.
    ///
    /// # Errors
    /// [`Full`]: there is none, and none before `deadline`; nothing is taken then.
    pub fn enter(
        &self,
        priority: Priority,
        now: Instant,
        deadline: Instant,
    ) -> Result<Entry, Full> {
        self.move_up(Some(now));
        let mut table = self.lock();
        match table.decide(priority, now, deadline)? {
            Decision::Take => Ok(Entry::In(self.place(table.take(now)))),
            Decision::Wait => {
                let (wake, place) = oneshot::channel();
                let id = table.join(now, deadline, wake);
                Ok(Entry::Wait(Ticket::new(self.clone(), id, deadline, place)))
            }
        }
    }

    /// Whether [`Self::enter`] would refuse now; takes nothing.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub fn peek(&self, priority: Priority, now: Instant, deadline: Instant) -> Result<(), Full> {
        self.move_up(Some(now));
        self.lock().decide(priority, now, deadline).map(|_| ())
    }

    /// A place for a call that nobody misses: one while less than half are taken and nobody waits.
    #[must_use]
    pub fn enter_spare(&self, now: Instant) -> Option<Place> {
        self.move_up(Some(now));
        let mut table = self.lock();
        table.has_to_spare().then(|| self.place(table.take(now)))
    }

    /// How long calls are under way, on average; zero before that is known.
    #[must_use]
    pub fn mean_hold(&self) -> Duration {
        self.lock().mean_hold()
    }

    /// The crowd as it is.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.lock().snapshot()
    }

    fn give_back(&self, call: u64, ended: Option<(Ended, Instant)>) {
        self.lock().give_back(call, ended);
        self.move_up(ended.map(|(_, now)| now));
    }

    fn leave(&self, id: u64) {
        let left = self.lock().leave(id);
        drop(left);
    }

    fn too_late(&self) -> Full {
        self.lock().full(Reason::Deadline)
    }

    /// Hands what is free to whoever is next, until there is no more of either. Wakes outside of the
    /// lock, and gives on what somebody did not take who left at that moment.
    fn move_up(&self, now: Option<Instant>) {
        if let Some(now) = now {
            self.lock().give_up_lost(now);
        }
        loop {
            let next = self.lock().next(now);
            match next {
                Some(Next::Takes(waiter, call)) => {
                    if let Err(place) = waiter.wake.send(self.place(call)) {
                        // Not by its drop, which would come back here once for each that left.
                        let call = place.into_call();
                        self.lock().give_back(call, None);
                    }
                }
                Some(Next::TooLate(waiter)) => drop(waiter),
                None => return,
            }
        }
    }

    fn place(&self, call: u64) -> Place {
        Place::new(self.clone(), call)
    }

    fn lock(&self) -> MutexGuard<'_, Table<oneshot::Sender<Place>>> {
        // Nothing under this lock can panic between two changes that belong together.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crowd").field(&self.snapshot()).finish()
    }
}
