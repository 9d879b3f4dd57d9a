//! Outbound pacing: how often one upstream credential is used.
//!
//! Owns: calls a second, the burst, the daily budget, the queue's length and the time until which
//! the upstream banned us; a table older than any actor, shared by cloning. Refuses, at once and
//! without taking anything: what could not start before its deadline, what finds the queue full,
//! the day's budget spent, or what its client may have of it. Never waits itself: it answers with the
//! moment a call may start.
//!
//! A background call gets a booking only if that starts at once and leaves enough for clients. A ban
//! that ends before the deadline is waited out in the queue; a longer one refuses. Unpaced, there is
//! no rate and no budget, but bans still hold. Ban and queue are reckoned in monotonic time, the
//! daily budget in wall-clock time.

mod quota;
pub mod shared;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Payer, Priority};
use crate::clock::Timestamp;
use crate::resilience::pace::{Pace, StandingQueue};
use crate::resilience::{Refused, RejectReason};
use quota::Quota;
use shared::Alone;

/// Quotas are daily: a longer ban is a misread text, due to a wall clock that was set, or false.
const LONGEST_BAN: Duration = Duration::from_secs(24 * 60 * 60);
/// Timers ring late by less; calls this much too close together were on time.
const TIMER_NOISE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub rate: Option<Rate>,
    pub daily_budget: Option<u64>,
    pub max_queue: usize,
    /// Where the upstream's day begins: added to UTC before cutting into days.
    pub day_offset: Duration,
    pub shares: Shares,
    /// How many instances keep all of this together, if they do (see [`shared`]).
    pub instances: NonZeroU32,
}

/// What calls for clients without a key may take of the day's budget, in hundredths of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// One of these clients; 100: all of it.
    pub client: u64,
    /// What none of them gets.
    pub kept_for_keys: u64,
}

impl Shares {
    pub const UNBOUNDED: Self = Self { client: 100, kept_for_keys: 0 };
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate: None,
            daily_budget: None,
            max_queue: 256,
            day_offset: Duration::ZERO,
            shares: Shares::UNBOUNDED,
            instances: NonZeroU32::MIN,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls a second in the long run; zero or less means no bound.
    pub per_second: f64,
    /// Calls at once after a pause; at least 1.
    pub burst: u32,
}

/// The pacing of one credential at one moment; also what a later process takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacingStatus {
    /// Calls left today; `None` without a daily budget.
    #[serde(default)]
    pub budget_remaining: Option<u64>,
    #[serde(default)]
    pub spent_today: u64,
    /// The upstream's day, counted from 1970-01-01.
    #[serde(default)]
    pub day: i64,
    #[serde(default)]
    pub queue: usize,
    #[serde(default)]
    pub banned_until: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct Pacing {
    max_queue: usize,
    table: Arc<Mutex<Table>>,
}

#[derive(Debug)]
struct Table {
    /// When calls that ask now may start.
    booked: Pace,
    /// When calls really started: what was held up after its moment does not start all at once.
    started: Pace,
    burst: u32,
    waiting: usize,
    /// Bookings that are neither used nor given back.
    pending: u64,
    quota: Quota,
    banned_until: Option<Instant>,
    standing: StandingQueue,
    /// For when other instances cannot be asked.
    alone: Alone,
}

/// The right to make one call at [`Self::at`]. Dropped before it is used, it is given back: its
/// moment to calls that ask later, its call to the day's budget.
#[must_use = "a dropped booking is given back"]
#[derive(Debug)]
pub struct Booking {
    pacing: Pacing,
    at: Instant,
    day: i64,
    payer: Option<Payer>,
    is_waiting: bool,
    is_used: bool,
    /// Whether it is counted where all instances are.
    is_counted: bool,
}

impl Pacing {
    pub fn new(settings: Settings) -> Self {
        let (pace, burst) = pace(&settings);
        let table = Table {
            booked: pace,
            started: pace,
            burst,
            waiting: 0,
            pending: 0,
            quota: Quota::new(&settings),
            banned_until: None,
            standing: StandingQueue::default(),
            alone: Alone::new(settings.instances, pace),
        };
        Self { max_queue: settings.max_queue, table: Arc::new(Mutex::new(table)) }
    }

    /// Another pace, budget and shares from now on. What was spent stays spent, and a call that waits for
    /// its moment keeps it.
    pub fn take_over(&self, settings: Settings, now: Instant) {
        let (pace, burst) = pace(&settings);
        let mut table = self.lock();
        let waiting = u32::try_from(table.waiting).unwrap_or(u32::MAX);
        table.booked = pace.resuming(table.booked, burst.saturating_add(waiting), now);
        table.started = pace.resuming(table.started, burst, now);
        table.alone.take_over(pace);
        table.burst = burst;
        table.quota.take_over(&settings);
    }

    pub fn book(
        &self,
        priority: Priority,
        payer: Option<&Payer>,
        now: Instant,
        wall: Timestamp,
        deadline: Instant,
    ) -> Result<Booking, Refused> {
        let mut table = self.lock();
        let at = table.moment(priority, payer, now, wall, deadline, self.max_queue)?;
        table.booked.take(at);
        let is_waiting = at > now;
        table.waiting = table.waiting.saturating_add(usize::from(is_waiting));
        table.pending = table.pending.saturating_add(1);
        let day = table.quota.spend(wall, payer);
        let payer = payer.cloned();
        Ok(Booking {
            pacing: self.clone(),
            at,
            day,
            payer,
            is_waiting,
            is_used: false,
            is_counted: false,
        })
    }

    /// The moment that [`Self::book`] would give; takes nothing and promises nothing.
    pub fn quote(
        &self,
        priority: Priority,
        payer: Option<&Payer>,
        now: Instant,
        wall: Timestamp,
        deadline: Instant,
    ) -> Result<Instant, Refused> {
        self.lock().moment(priority, payer, now, wall, deadline, self.max_queue)
    }

    /// The upstream told us to wait. A ban is only ever prolonged.
    pub fn ban(&self, now: Instant, wait: Duration) {
        if let Some(until) = now.checked_add(wait.min(LONGEST_BAN)) {
            let mut table = self.lock();
            table.banned_until = table.banned_until.max(Some(until));
        }
    }

    /// An admin says that the ban is over.
    pub fn lift_ban(&self) {
        self.lock().banned_until = None;
    }

    pub fn restore(&self, saved: &PacingStatus, now: Instant, wall: Timestamp) {
        self.lock().quota.restore(saved.day, saved.spent_today, wall);
        if let Some(until) = saved.banned_until {
            self.ban(now, until.since(wall));
        }
    }

    pub fn status(&self, now: Instant, wall: Timestamp) -> PacingStatus {
        let mut table = self.lock();
        table.quota.turn(wall);
        PacingStatus {
            budget_remaining: table.quota.remaining(),
            spent_today: table.quota.spent(),
            day: table.quota.day(),
            queue: table.waiting,
            banned_until: table.ban_left(now).map(|left| wall.plus(left)),
        }
    }

    /// Calls a second in the long run; `None` without a bound.
    pub fn per_second(&self) -> Option<f64> {
        let interval = self.lock().booked.interval();
        // The interval is whole nanoseconds, the rate is told to a thousandth.
        (!interval.is_zero()).then(|| (interval.as_secs_f64().recip() * 1_000.0).round() / 1_000.0)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing under this lock can panic between two changes that belong together.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pace(settings: &Settings) -> (Pace, u32) {
    let Rate { per_second, burst } = settings.rate.unwrap_or(Rate { per_second: 0.0, burst: 0 });
    (Pace::new(per_second, burst), burst)
}

impl Table {
    /// The moment a new call would have. Takes nothing.
    fn moment(
        &mut self,
        priority: Priority,
        payer: Option<&Payer>,
        now: Instant,
        wall: Timestamp,
        deadline: Instant,
        max_queue: usize,
    ) -> Result<Instant, Refused> {
        let refused = |reason, retry_after| Err(Refused { reason, retry_after });
        let ban = self.ban_left(now);
        let from = now + ban.unwrap_or_default();
        let waits_for_ban = priority == Priority::Client && from <= deadline;
        if let Some(left) = ban.filter(|_| !waits_for_ban) {
            return refused(RejectReason::Banned, left);
        }
        if let Some(until) = self.quota.spent_until(wall) {
            return refused(RejectReason::BudgetSpent(self.quota.whole()), until.since(wall));
        }
        if let Some(reason) = payer.and_then(|payer| self.quota.refusal(payer)) {
            return refused(reason, self.quota.day_ends().since(wall));
        }
        if priority != Priority::Client {
            return self.spare_moment(priority, now, wall);
        }
        let at = self.booked.earliest(from);
        let retry_after = at.saturating_duration_since(now);
        if at > deadline {
            return refused(RejectReason::Deadline, retry_after);
        }
        if at > now && self.waiting >= max_queue {
            return refused(RejectReason::Queue, retry_after);
        }
        // The wait for the end of a ban does not count.
        let wait = at.saturating_duration_since(from);
        let turn = self.booked.interval();
        if self.standing.is_too_long(self.waiting == 0, wait, turn, now) {
            return refused(RejectReason::Standing, retry_after);
        }
        Ok(at)
    }

    /// What a call leaves to clients: so many of the burst, and a so manieth part of the day. A refresh
    /// leaves half of the burst and a tenth of the day, warming all but one of the burst and half of the day.
    fn kept(&self, priority: Priority) -> (u32, u64) {
        let all_but_one = self.burst.saturating_sub(1);
        match priority {
            Priority::Client => (0, 0),
            Priority::Refresh => (self.burst.div_ceil(2).min(all_but_one), 10),
            Priority::Warming => (all_but_one, 2),
        }
    }

    /// Now, if a background call may start without any client missing the moment: it leaves them what
    /// [`Self::kept`] says. So clients who come at the same moment wait no longer for it than
    /// those few calls take.
    fn spare_moment(
        &self,
        priority: Priority,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Instant, Refused> {
        let (kept, kept_of_day) = self.kept(priority);
        let retry_after = if self.quota.is_below(kept_of_day) {
            self.quota.day_ends().since(wall)
        } else if self.waiting > 0 {
            self.booked.wait(now, kept).max(self.booked.interval())
        } else {
            self.booked.wait(now, kept)
        };
        match retry_after {
            Duration::ZERO => Ok(now),
            retry_after => Err(Refused { reason: RejectReason::KeptForClients, retry_after }),
        }
    }

    fn ban_left(&self, now: Instant) -> Option<Duration> {
        let left = self.banned_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }
}

impl Booking {
    /// The moment the call may be made; wait for it first.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// The moment has come: it waits for it no more.
    pub fn arrived(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            let mut table = self.pacing.lock();
            table.waiting = table.waiting.saturating_sub(1);
        }
    }

    /// When the call may really start, now that everything else is ready for it: now, unless it was
    /// held up after its moment and others with it.
    pub fn ready_at(&self, now: Instant) -> Instant {
        let at = self.pacing.lock().started.earliest(now);
        if at.saturating_duration_since(now) <= TIMER_NOISE { now } else { at }
    }

    pub fn start(mut self, now: Instant) -> Result<(), Refused> {
        let mut table = self.pacing.lock();
        if let Some(retry_after) = table.ban_left(now) {
            drop(table);
            return Err(Refused { reason: RejectReason::Banned, retry_after });
        }
        table.started.take(now);
        table.pending = table.pending.saturating_sub(1);
        drop(table);
        self.is_used = true;
        Ok(())
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.arrived();
        if !self.is_used {
            let mut table = self.pacing.lock();
            table.pending = table.pending.saturating_sub(1);
            table.alone.returned = table.alone.returned.saturating_add(self.is_counted.into());
            table.booked.give_back();
            table.quota.give_back(self.day, self.payer.as_ref());
        }
    }
}
