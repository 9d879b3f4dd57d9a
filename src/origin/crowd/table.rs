//! Who is in and who waits: the decisions of the crowd, without lock and without waiting.
//!
//! Owns: the places held, the queue and how long places are held. Refuses: what [`Table::decide`]
//! says. Pure: it is told the time and wakes nobody; whom it takes from the queue it hands out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::limit::{Begun, End, Limit, whole};
use super::words::{Ended, Full, Reason, Settings, Snapshot};
use crate::origin::Priority;
use crate::origin::patience::Patience;

/// When to come back if it is not known how long calls take.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);
/// Calls that may stand in a queue that never empties, however slow the upstream.
const FEW: u32 = 4;
/// Weight of a new call in the mean time that a place is held.
const WEIGHT: f64 = 0.1;

/// The state; `W` is how whoever waits is woken.
#[derive(Debug)]
pub(super) struct Table<W> {
    settings: Settings,
    limit: Limit,
    /// By the number of the call.
    held: BTreeMap<u64, Held>,
    /// In the order in which they came, which is that of their ids.
    queue: VecDeque<Waiter<W>>,
    next_id: u64,
    patience: Patience,
    /// Mean time that a place is held, in seconds.
    hold: Option<f64>,
    /// The latest time that anybody told.
    now: Option<Instant>,
}

#[derive(Debug)]
struct Held {
    begun: Begun,
    since: Instant,
}

/// Somebody in the queue.
#[derive(Debug)]
pub(super) struct Waiter<W> {
    id: u64,
    deadline: Instant,
    pub(super) wake: W,
}

/// What somebody who comes may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Take,
    Wait,
}

/// Who is next.
#[derive(Debug)]
pub(super) enum Next<W> {
    /// This one, with the place of this number, which is held from now on.
    Takes(Waiter<W>, u64),
    /// This one is out of the queue: its deadline is over.
    TooLate(Waiter<W>),
}

impl<W> Table<W> {
    pub(super) const fn new(settings: Settings, limit: Limit) -> Self {
        Self {
            settings,
            limit,
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            next_id: 0,
            patience: Patience::new(),
            hold: None,
            now: None,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            limit: whole(self.limit.places()),
            in_flight: self.in_flight(),
            waiting: self.queue.len(),
        }
    }

    /// What a call of this priority may do now. Takes nothing.
    pub(super) fn decide(
        &self,
        priority: Priority,
        now: Instant,
        deadline: Instant,
    ) -> Result<Decision, Full> {
        if priority != Priority::Client {
            let spare = self.has_to_spare().then_some(Decision::Take);
            return spare.ok_or_else(|| self.full(Reason::KeptForClients));
        }
        if self.queue.is_empty() && self.limit.admits(self.in_flight()) {
            return Ok(Decision::Take);
        }
        if self.queue.len() >= self.settings.queue {
            return Err(self.full(Reason::Queue));
        }
        let (wait, left) = (self.expected_wait(), deadline.saturating_duration_since(now));
        if left.is_zero() || wait > left {
            return Err(self.full(Reason::Deadline));
        }
        let mut patience = self.patience;
        let longest = patience.longest_wait(self.queue.is_empty(), now, self.settings.patience);
        if longest.is_some_and(|longest| wait > longest.max(self.turn().saturating_mul(FEW))) {
            return Err(self.full(Reason::Standing));
        }
        Ok(Decision::Wait)
    }

    /// Whether a call that nobody waits for takes nothing from those who do.
    pub(super) fn has_to_spare(&self) -> bool {
        let in_flight = self.in_flight();
        self.queue.is_empty() && self.limit.is_half_empty(in_flight) && self.limit.admits(in_flight)
    }

    /// Takes a place; returns its number.
    pub(super) fn take(&mut self, now: Instant) -> u64 {
        let begun = self.limit.begins(self.in_flight().saturating_add(1));
        self.held.insert(begun.call, Held { begun, since: now });
        begun.call
    }

    /// Joins the queue; returns the id with which to leave it.
    pub(super) fn join(&mut self, now: Instant, deadline: Instant, wake: W) -> u64 {
        // Whoever comes first sees it empty: from then on it stands.
        let _ = self.patience.longest_wait(self.queue.is_empty(), now, self.settings.patience);
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        self.queue.push_back(Waiter { id, deadline, wake });
        id
    }

    /// Leaves the queue; `None` when no longer in it.
    pub(super) fn leave(&mut self, id: u64) -> Option<Waiter<W>> {
        let place = self.queue.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
        self.queue.remove(place)
    }

    /// Gives back the place of this number; nothing happens if it was given up already. `None`: it
    /// was not used, or nobody said how that ended.
    pub(super) fn give_back(&mut self, call: u64, ended: Option<(Ended, Instant)>) {
        let Some(Held { begun, since }) = self.held.remove(&call) else { return };
        let end = ended.map_or(End::Silent, |(ended, _)| match ended {
            Ended::Well(took) => End::Answered(took),
            Ended::Overloaded => End::Overloaded,
            Ended::Silent => End::Silent,
        });
        self.limit.ended(begun, end);
        if let Some((_, now)) = ended {
            let held = now.saturating_duration_since(since).as_secs_f64();
            self.hold = Some(self.hold.map_or(held, |hold| hold + WEIGHT * (held - hold)));
        }
    }

    /// Gives up what was lost: places held for too long.
    pub(super) fn give_up_lost(&mut self, now: Instant) {
        let longest = self.settings.longest;
        // They are in the order in which they began.
        while let Some((&call, held)) = self.held.first_key_value()
            && now.saturating_duration_since(held.since) > longest
        {
            self.give_back(call, None);
        }
    }

    /// The next one out of the queue, if there is a place, or if its deadline is over.
    pub(super) fn next(&mut self, told: Option<Instant>) -> Option<Next<W>> {
        self.now = self.now.max(told);
        let now = self.now?;
        if self.queue.front()?.deadline <= now {
            return self.queue.pop_front().map(Next::TooLate);
        }
        if !self.limit.admits(self.in_flight()) {
            return None;
        }
        let waiter = self.queue.pop_front()?;
        Some(Next::Takes(waiter, self.take(now)))
    }

    /// A refusal of this reason.
    pub(super) fn full(&self, reason: Reason) -> Full {
        let wait = self.expected_wait();
        Full { reason, retry_after: if wait.is_zero() { UNKNOWN_WAIT } else { wait } }
    }

    /// How long somebody who comes now would wait: until what is beyond the limit has ended, and then
    /// for a turn.
    fn expected_wait(&self) -> Duration {
        let (limit, in_flight) = (self.limit.places().max(1.0), f64::from(self.in_flight()));
        let beyond = (in_flight - limit).max(0.0) / in_flight.max(1.0);
        let before = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let turns = (f64::from(before) + 1.0) / limit;
        let wait = self.hold.unwrap_or_default() * (beyond + turns);
        Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX)
    }

    /// The time between two places that become free.
    fn turn(&self) -> Duration {
        let turn = self.hold.unwrap_or_default() / self.limit.places().max(1.0);
        Duration::try_from_secs_f64(turn).unwrap_or(Duration::MAX)
    }

    pub(super) fn mean_hold(&self) -> Duration {
        Duration::try_from_secs_f64(self.hold.unwrap_or_default()).unwrap_or(Duration::MAX)
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.held.len()).unwrap_or(u32::MAX)
    }
}
