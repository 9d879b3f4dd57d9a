//! The slots of calls to one upstream, and waiting for one.
//!
//! Owns: that a slot is given back exactly once, and that a call that goes away leaves the queue; a
//! table older than any actor, shared by cloning. How many slots there are and who waits is decided
//! by [`ConcurrencyLimit`]. When the upstream hangs, calls end by their own time-outs and free their
//! slots; a slot whose holder is lost is given up after a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Priority;
use crate::resilience::concurrency_limit::{ConcurrencyLimit, Decision};
pub use crate::resilience::concurrency_limit::{Ended, Load, Settings};
use crate::resilience::{Refused, RejectReason};

#[derive(Debug, Clone)]
pub struct ConcurrencyLimiter {
    limit: Arc<Mutex<ConcurrencyLimit<oneshot::Sender<Slot>>>>,
}

/// The right to have one call under way. Dropped, it is free again and says nothing about the
/// upstream.
#[must_use = "a dropped slot is free again"]
#[derive(Debug)]
pub struct Slot {
    slots: ConcurrencyLimiter,
    call: u64,
    is_held: bool,
}

/// A position in the queue. Dropped, it is left; a slot that arrives at that moment is free again.
#[must_use = "a dropped ticket leaves the queue"]
#[derive(Debug)]
struct Ticket {
    slots: ConcurrencyLimiter,
    id: u64,
    deadline: Instant,
    slot: oneshot::Receiver<Slot>,
}

impl ConcurrencyLimiter {
    pub fn new(settings: Settings) -> Self {
        Self { limit: Arc::new(Mutex::new(ConcurrencyLimit::new(settings))) }
    }

    /// A slot, as soon as there is one; never past a call of the same or a higher priority.
    pub async fn enter(
        &self,
        priority: Priority,
        now: Instant,
        deadline: Instant,
    ) -> Result<Slot, Refused> {
        match self.slot_or_ticket(priority, now, deadline)? {
            Ok(slot) => Ok(slot),
            Err(ticket) => ticket.wait().await,
        }
    }

    /// A slot if one is free, else a position in the queue.
    fn slot_or_ticket(
        &self,
        priority: Priority,
        now: Instant,
        deadline: Instant,
    ) -> Result<Result<Slot, Ticket>, Refused> {
        self.hand_out(Some(now));
        let mut limit = self.lock();
        Ok(match limit.decide(priority, now, deadline)? {
            Decision::Take => Ok(self.slot(limit.take(now))),
            Decision::Wait => {
                let (wake, slot) = oneshot::channel();
                let id = limit.join(now, deadline, wake);
                Err(Ticket { slots: self.clone(), id, deadline, slot })
            }
        })
    }

    /// Whether [`Self::enter`] would refuse now; takes nothing.
    pub fn peek(&self, priority: Priority, now: Instant, deadline: Instant) -> Result<(), Refused> {
        self.hand_out(Some(now));
        self.lock().decide(priority, now, deadline).map(|_| ())
    }

    pub fn load(&self) -> Load {
        self.lock().load()
    }

    /// How long calls are under way, on average; zero before that is known.
    pub fn mean_hold(&self) -> Duration {
        self.lock().mean_hold()
    }

    fn give_back(&self, call: u64, ended: Option<(Ended, Instant)>) {
        self.lock().give_back(call, ended);
        self.hand_out(ended.map(|(_, now)| now));
    }

    /// Hands what is free to the next call, until there is no more of either. Wakes outside of the
    /// lock, and passes on a slot whose receiver left at that moment.
    fn hand_out(&self, now: Option<Instant>) {
        if let Some(now) = now {
            self.lock().give_up_lost(now);
        }
        loop {
            let next = self.lock().next(now);
            let Some((wake, call)) = next else { return };
            if let Err(mut slot) = wake.send(self.slot(call)) {
                // Not by its drop, which would come back here once for each that left.
                slot.is_held = false;
                self.lock().give_back(call, None);
            }
        }
    }

    fn slot(&self, call: u64) -> Slot {
        Slot { slots: self.clone(), call, is_held: true }
    }

    fn lock(&self) -> MutexGuard<'_, ConcurrencyLimit<oneshot::Sender<Slot>>> {
        // Nothing under this lock can panic between two changes that belong together.
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    pub fn ended(mut self, ended: Ended, now: Instant) {
        self.is_held = false;
        self.slots.give_back(self.call, Some((ended, now)));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_held {
            self.slots.give_back(self.call, None);
        }
    }
}

impl Ticket {
    async fn wait(mut self) -> Result<Slot, Refused> {
        let slot = tokio::time::timeout_at(self.deadline.into(), &mut self.slot).await;
        match slot {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(self.slots.lock().full(RejectReason::Deadline)),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let left = self.slots.lock().leave(self.id);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn slots(most: u32) -> ConcurrencyLimiter {
        ConcurrencyLimiter::new(Settings { most, ..Settings::default() })
    }

    fn enter(slots: &ConcurrencyLimiter, within_ms: u64) -> Result<Slot, Ticket> {
        let now = clock::monotonic();
        let deadline = now + Duration::from_millis(within_ms);
        slots.slot_or_ticket(Priority::Client, now, deadline).unwrap()
    }

    fn slot(slots: &ConcurrencyLimiter) -> Slot {
        enter(slots, 60_000).expect("a slot is free")
    }

    fn ticket(slots: &ConcurrencyLimiter, within_ms: u64) -> Ticket {
        enter(slots, within_ms).expect_err("no slot is free")
    }

    #[tokio::test(start_paused = true)]
    async fn a_freed_slot_goes_to_the_first_that_is_still_in_time() {
        let slots = slots(1);
        let held = slot(&slots);
        let (late, first, second) =
            (ticket(&slots, 10), ticket(&slots, 5_000), ticket(&slots, 5_000));
        assert_eq!(late.wait().await.unwrap_err().reason, RejectReason::Deadline);
        held.ended(Ended::Answered, clock::monotonic());
        let first = first.wait().await.unwrap();
        assert_eq!((slots.load().in_flight, slots.load().waiting), (1, 1));
        drop(first);
        drop(second.wait().await.unwrap());
        assert_eq!((slots.load().in_flight, slots.load().waiting), (0, 0));
    }

    #[test]
    fn a_slot_that_nobody_takes_any_more_is_free_again() {
        let slots = slots(1);
        let held = slot(&slots);
        let (mut gone, arrived) = (ticket(&slots, 5_000), ticket(&slots, 5_000));
        // As if it left just before the slot is sent.
        gone.slot.close();
        drop(held);
        assert_eq!(slots.load().in_flight, 1, "the next one has it");
        drop((gone, arrived));
        assert_eq!((slots.load().in_flight, slots.load().waiting), (0, 0));
        drop(slot(&slots));
    }

    #[test]
    fn looking_takes_nothing_and_refusals_say_when_to_come_back() {
        let slots = slots(1);
        let now = clock::monotonic();
        let later = now + Duration::from_secs(5);
        assert!((0..9).all(|_| slots.peek(Priority::Client, now, later).is_ok()));
        let held = slot(&slots);
        let full = slots.peek(Priority::Refresh, now, later).unwrap_err();
        assert_eq!(full.reason, RejectReason::KeptForClients);
        assert!(!full.retry_after.is_zero());
        assert_eq!(
            slots.peek(Priority::Client, now, now).unwrap_err().reason,
            RejectReason::Deadline
        );
        drop(held);
    }
}
