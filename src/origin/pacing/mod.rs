//! Outbound pacing: how often one upstream credential is used.
//!
//! Owns: calls a second, the burst, the daily budget, the queue's length and the time until which
//! the upstream banned us; a table older than any actor, shared by cloning. Refuses, at once and
//! without taking a place: what could not start before its deadline, what finds the queue full or
//! the day's budget spent. Never waits itself: it answers with the moment a call may start.
//!
//! A call that nobody waits for is given a place only if that starts at once and leaves enough for
//! clients (`background`): it never stands before one.
//!
//! A queue that never empties is kept short ([`super::patience`]): under an overload a long one only
//! makes everybody wait, during it and afterwards.
//!
//! A ban that ends before the deadline is waited out in the queue; a longer one refuses. Unpaced,
//! there is no rate and no budget, but bans and the queue's bound still hold.
//!
//! Ban and queue are reckoned in monotonic time, the daily budget in wall-clock time.

mod background;
mod quota;
mod refused;
mod schedule;
mod slot;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Priority;
use super::patience::{self, Patience};
use crate::clock::Timestamp;
use quota::Quota;
pub use refused::{Reason, Refused};
use schedule::Schedule;
pub use slot::Slot;

/// Quotas are daily: a remembered ban that lasts longer is due to a wall clock that was set.
const LONGEST_BAN: Duration = Duration::from_secs(24 * 60 * 60);

/// Calls that may stand in a queue that never empties, however slow the pace.
const FEW: u32 = 4;

/// The bounds on one credential.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The rate; `None` means unpaced.
    pub rate: Option<Rate>,
    /// Calls a day; `None` means no bound.
    pub daily_budget: Option<u64>,
    /// Calls that may wait for their moment.
    pub max_queue: usize,
    /// Where the upstream's day begins: added to UTC before cutting into days.
    pub day_offset: Duration,
    /// When the queue is there for good, and how long it may be then; at a slow pace a few calls
    /// may stand in it even so.
    pub patience: patience::Settings,
}

impl Default for Settings {
    /// Unpaced and without a budget.
    fn default() -> Self {
        Self {
            rate: None,
            daily_budget: None,
            max_queue: 256,
            day_offset: Duration::ZERO,
            patience: patience::Settings::default(),
        }
    }
}

/// Calls over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls a second in the long run; zero or less means no bound.
    pub per_second: f64,
    /// Calls at once after a pause; at least 1.
    pub burst: u32,
}

/// The pacing of one credential at one moment; also what a later process takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Calls left today; `None` without a daily budget.
    pub budget_remaining: Option<u64>,
    /// Calls made today.
    pub spent_today: u64,
    /// The upstream's day, counted from 1970-01-01.
    pub day: i64,
    /// Calls waiting for their moment.
    pub queue: usize,
    /// The end of the ban, if there is one.
    pub banned_until: Option<Timestamp>,
}

/// The pacing of one credential; clones are the same one.
#[derive(Debug, Clone)]
pub struct Pacing {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Queue,
    table: Mutex<Table>,
}

/// How long the queue may be.
#[derive(Debug, Clone, Copy)]
struct Queue {
    most: usize,
    patience: patience::Settings,
}

#[derive(Debug)]
struct Table {
    schedule: Schedule,
    burst: u32,
    quota: Quota,
    banned_until: Option<Instant>,
    patience: Patience,
}

impl Pacing {
    /// An unused credential.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let schedule = settings
            .rate
            .map_or_else(Schedule::unpaced, |rate| Schedule::new(rate.per_second, rate.burst));
        let burst = settings.rate.map_or(0, |rate| rate.burst);
        let quota = Quota::new(settings.daily_budget, settings.day_offset);
        let standing = settings.patience.standing.max(schedule.interval().saturating_mul(FEW));
        let patience = patience::Settings { standing, ..settings.patience };
        let queue = Queue { most: settings.max_queue, patience };
        let patience = Patience::new();
        let table = Mutex::new(Table { schedule, burst, quota, banned_until: None, patience });
        Self { shared: Arc::new(Shared { queue, table }) }
    }

    /// Reserves the earliest place that is free.
    ///
    /// # Errors
    /// [`Refused`] when there is none before `deadline`; nothing is taken then.
    pub fn reserve(
        &self,
        now: Instant,
        wall: Timestamp,
        deadline: Instant,
    ) -> Result<Slot, Refused> {
        let mut table = self.lock();
        let at = table.place(now, wall, deadline, self.shared.queue)?;
        Ok(self.slot(table, at, wall))
    }

    /// The moment that [`Self::reserve`] would give; takes nothing and promises nothing.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn quote(
        &self,
        now: Instant,
        wall: Timestamp,
        deadline: Instant,
    ) -> Result<Instant, Refused> {
        self.lock().place(now, wall, deadline, self.shared.queue)
    }

    /// Whether [`Self::reserve_spare`] would give a place now; takes nothing.
    ///
    /// # Errors
    /// As [`Self::reserve_spare`].
    pub fn quote_spare(
        &self,
        priority: Priority,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), Refused> {
        self.lock().check_spare(priority, now, wall)
    }

    /// Takes a place for a call that nobody waits for: one that starts now, and that clients do not
    /// miss. [`Priority::Client`] gets what it would get from [`Self::reserve`] without patience,
    /// past the queue.
    ///
    /// # Errors
    /// [`Refused`] when there is none; nothing is taken then.
    pub fn reserve_spare(
        &self,
        priority: Priority,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Slot, Refused> {
        let mut table = self.lock();
        table.check_spare(priority, now, wall)?;
        Ok(self.slot(table, now, wall))
    }

    fn slot(&self, mut table: MutexGuard<'_, Table>, at: Instant, wall: Timestamp) -> Slot {
        let (id, day) = (table.schedule.take(at), table.quota.spend(wall));
        Slot::new(self.clone(), at, id, day)
    }

    /// The upstream told us to wait. A ban is only ever prolonged.
    pub fn ban(&self, now: Instant, wait: Duration) {
        if let Some(until) = now.checked_add(wait) {
            let mut table = self.lock();
            table.banned_until = table.banned_until.max(Some(until));
        }
    }

    /// An admin knows better: the ban is over.
    pub fn lift_ban(&self) {
        self.lock().banned_until = None;
    }

    /// Takes over today's calls and the ban of an earlier process.
    pub fn restore(&self, saved: &Snapshot, now: Instant, wall: Timestamp) {
        self.lock().quota.restore(saved.day, saved.spent_today, wall);
        if let Some(until) = saved.banned_until {
            self.ban(now, until.since(wall).min(LONGEST_BAN));
        }
    }

    /// The credential as of `now`.
    #[must_use]
    pub fn snapshot(&self, now: Instant, wall: Timestamp) -> Snapshot {
        let mut table = self.lock();
        table.quota.turn(wall);
        Snapshot {
            budget_remaining: table.quota.remaining(),
            spent_today: table.quota.spent(),
            day: table.quota.day(),
            queue: table.schedule.waiting(now),
            banned_until: table.ban_left(now).map(|left| wall.plus(left)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock can panic between two changes that belong together.
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The moment a new call would have. Takes nothing.
    fn place(
        &mut self,
        now: Instant,
        wall: Timestamp,
        deadline: Instant,
        queue: Queue,
    ) -> Result<Instant, Refused> {
        let from = match self.banned_until.filter(|until| *until > now) {
            Some(until) if until > deadline => return Err(Refused::banned(until - now, wall)),
            Some(until) => until,
            None => now,
        };
        if let Some(until) = self.quota.spent_until(wall) {
            return Err(Refused::spent(until, wall));
        }
        let at = self.schedule.earliest(from, now);
        let retry_after = at.saturating_duration_since(now);
        if at > deadline {
            return Err(Refused { reason: Reason::Deadline, retry_after });
        }
        if at > now && self.schedule.waiting(now) >= queue.most {
            return Err(Refused { reason: Reason::QueueFull, retry_after });
        }
        if self.is_too_long(at.saturating_duration_since(from), now, queue.patience) {
            return Err(Refused { reason: Reason::StandingQueue, retry_after });
        }
        Ok(at)
    }

    /// Whether a wait for the pace, beside that for the end of a ban, would prolong a queue that is
    /// there for good.
    fn is_too_long(&mut self, wait: Duration, now: Instant, bounds: patience::Settings) -> bool {
        let is_empty = self.schedule.waiting(now) == 0;
        let longest = self.patience.longest_wait(is_empty, now, bounds);
        longest.is_some_and(|longest| wait > longest)
    }

    /// Whether a call may start now without any client missing the place.
    fn check_spare(
        &mut self,
        priority: Priority,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), Refused> {
        if let Some(left) = self.ban_left(now) {
            return Err(Refused::banned(left, wall));
        }
        if let Some(until) = self.quota.spent_until(wall) {
            return Err(Refused::spent(until, wall));
        }
        if !self.quota.may_spend(priority) {
            return Err(Refused::kept(self.quota.day_ends().since(wall)));
        }
        let kept = background::kept_places(priority, self.burst);
        match self.schedule.until_spare(now, kept) {
            Duration::ZERO => Ok(()),
            wait => Err(Refused::kept(wait)),
        }
    }

    fn ban_left(&self, now: Instant) -> Option<Duration> {
        let left = self.banned_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}
