//! How many calls may be under way at once, who waits for a slot, and who is rejected.
//!
//! Owns: the limit, the slots held, the queue before them, and how long slots are held. Refuses, at
//! once: what finds the queue full, what would wait past its deadline, and what would make a standing
//! queue longer. Pure: time is an argument, and it wakes no call; the calls that get a slot it hands
//! to its owner, whose `W` says how they are woken. The `W` of a call that is too late is dropped.
//!
//! The limit moves by additive increase and multiplicative decrease (RFC 5681): by one for as many
//! answers as it allows calls, down by a tenth for time-outs and the like, but only once in a round
//! trip: a call that began before the last cut, or as one of the next few, is answered by that cut.
//!
//! Clients wait, in the order in which they came. A background call never does: it gets a slot while
//! no client waits and enough are free, for a refresh half of them, for warming three quarters.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::pace::StandingQueue;
use super::{Priority, Refused, RejectReason};

/// The limit begins here, or at its bound if that is less.
const START: f64 = 16.0;
/// The least that is left to an upstream.
const LEAST: f64 = 2.0;
/// What an overload leaves of the limit.
const BACK_OFF: f64 = 0.9;
/// Calls that begin after a cut before there may be another: at a low limit a round trip is so few
/// calls that failures which have nothing to do with the load would leave the least.
const BETWEEN_CUTS: u64 = 4;
/// Weight of a new call in the mean time that a slot is held.
const WEIGHT: f64 = 0.1;
/// When to come back if it is not known how long calls take.
const UNKNOWN_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    pub most: u32,
    pub queue: usize,
    /// A slot held for longer is lost with its holder (a thread that hung), and given to others.
    /// Longer than any call takes.
    pub longest: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { most: 64, queue: 256, longest: Duration::from_secs(150) }
    }
}

/// How a call ended, as far as the load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Answered,
    /// It was not answered in time, or the upstream failed.
    Overloaded,
    /// It says nothing: throttled, refused for good, cut by its caller.
    Ignored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub limit: u32,
    pub in_flight: u32,
    pub waiting: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Take,
    Wait,
}

#[derive(Debug)]
pub struct ConcurrencyLimit<W> {
    settings: Settings,
    limit: f64,
    /// Calls with a smaller number are answered by the last cut.
    cut_before: u64,
    held: BTreeMap<u64, Instant>,
    /// In the order in which they came, which is that of their ids.
    queue: VecDeque<Waiter<W>>,
    next_call: u64,
    next_id: u64,
    standing: StandingQueue,
    hold: Option<f64>,
    now: Option<Instant>,
}

#[derive(Debug)]
struct Waiter<W> {
    id: u64,
    deadline: Instant,
    wake: W,
}

impl<W> ConcurrencyLimit<W> {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            limit: START.min(f64::from(settings.most.max(1))),
            cut_before: 0,
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            next_call: 0,
            next_id: 0,
            standing: StandingQueue::default(),
            hold: None,
            now: None,
        }
    }

    pub fn load(&self) -> Load {
        let (in_flight, waiting) = (self.in_flight(), self.queue.len());
        Load { limit: whole(self.limit), in_flight, waiting }
    }

    /// What a call of this priority may do now. Takes nothing.
    pub fn decide(
        &self,
        priority: Priority,
        now: Instant,
        deadline: Instant,
    ) -> Result<Decision, Refused> {
        let is_free = self.queue.is_empty() && self.admits();
        let used = f64::from(self.in_flight()) / self.limit;
        let most = match priority {
            Priority::Client => 1.0,
            Priority::Refresh => 0.5,
            Priority::Warming => 0.25,
        };
        if is_free && used < most {
            return Ok(Decision::Take);
        }
        if priority != Priority::Client {
            return Err(self.full(RejectReason::KeptForClients));
        }
        if self.queue.len() >= self.settings.queue {
            return Err(self.full(RejectReason::Queue));
        }
        let (wait, left) = (self.expected_wait(), deadline.saturating_duration_since(now));
        if left.is_zero() || wait > left {
            return Err(self.full(RejectReason::Deadline));
        }
        let mut standing = self.standing;
        if standing.is_too_long(self.queue.is_empty(), wait, self.turn(), now) {
            return Err(self.full(RejectReason::Standing));
        }
        Ok(Decision::Wait)
    }

    pub fn take(&mut self, now: Instant) -> u64 {
        let call = self.next_call;
        self.next_call = call.saturating_add(1);
        self.held.insert(call, now);
        call
    }

    /// Joins the queue; returns the id with which to leave it.
    pub fn join(&mut self, now: Instant, deadline: Instant, wake: W) -> u64 {
        // The first one sees it empty: from then on it stands.
        let _ = self.standing.is_too_long(self.queue.is_empty(), Duration::ZERO, self.turn(), now);
        let id = self.next_id;
        self.next_id = id.saturating_add(1);
        self.queue.push_back(Waiter { id, deadline, wake });
        id
    }

    pub fn leave(&mut self, id: u64) -> Option<W> {
        let index = self.queue.binary_search_by_key(&id, |waiter| waiter.id).ok()?;
        self.queue.remove(index).map(|waiter| waiter.wake)
    }

    /// Gives back the slot of this number; nothing happens if it was given up already. `None`: it
    /// was not used, or it is not known how the call ended.
    pub fn give_back(&mut self, call: u64, ended: Option<(Ended, Instant)>) {
        // Counted with this call: it was held back by the limit if most of that was used.
        let is_busy = f64::from(self.in_flight()) * 2.0 >= self.limit;
        let Some(since) = self.held.remove(&call) else { return };
        let Some((ended, now)) = ended else { return };
        match ended {
            Ended::Answered if is_busy => {
                let most = f64::from(self.settings.most.max(1));
                self.limit = (self.limit + 1.0 / self.limit).min(most);
            }
            Ended::Overloaded if call >= self.cut_before => {
                self.cut_before = self.next_call.saturating_add(BETWEEN_CUTS);
                let least = LEAST.min(f64::from(self.settings.most.max(1)));
                self.limit = (self.limit * BACK_OFF).max(least);
            }
            Ended::Answered | Ended::Overloaded | Ended::Ignored => {}
        }
        let held = now.saturating_duration_since(since).as_secs_f64();
        self.hold = Some(self.hold.map_or(held, |hold| hold + WEIGHT * (held - hold)));
    }

    /// Gives up what was lost: slots held for too long.
    pub fn give_up_lost(&mut self, now: Instant) {
        let longest = self.settings.longest;
        while let Some((&call, since)) = self.held.first_key_value()
            && now.saturating_duration_since(*since) > longest
        {
            self.give_back(call, None);
        }
    }

    /// The next one out of the queue with the slot of this number, which is held from now on; `None`
    /// when no slot is free or nobody waits. Those whose deadline is over leave without a slot.
    pub fn next(&mut self, now: Option<Instant>) -> Option<(W, u64)> {
        self.now = self.now.max(now);
        let now = self.now?;
        while self.queue.front()?.deadline <= now {
            self.queue.pop_front();
        }
        if !self.admits() {
            return None;
        }
        let waiter = self.queue.pop_front()?;
        Some((waiter.wake, self.take(now)))
    }

    pub fn full(&self, reason: RejectReason) -> Refused {
        let wait = self.expected_wait();
        Refused { reason, retry_after: if wait.is_zero() { UNKNOWN_WAIT } else { wait } }
    }

    /// How long calls are under way, on average; zero before that is known.
    pub fn mean_hold(&self) -> Duration {
        duration(self.hold.unwrap_or_default())
    }

    fn admits(&self) -> bool {
        f64::from(self.in_flight()) + 1.0 <= self.limit
    }

    /// How long a call that comes now would wait: until what is beyond the limit has ended, and then
    /// for a turn.
    fn expected_wait(&self) -> Duration {
        let in_flight = f64::from(self.in_flight());
        let beyond = (in_flight - self.limit).max(0.0) / in_flight.max(1.0);
        let before = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let turns = (f64::from(before) + 1.0) / self.limit;
        duration(self.hold.unwrap_or_default() * (beyond + turns))
    }

    /// The time between two slots that become free.
    fn turn(&self) -> Duration {
        duration(self.hold.unwrap_or_default() / self.limit)
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.held.len()).unwrap_or(u32::MAX)
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn whole(number: f64) -> u32 {
    u32::try_from(duration(number).as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "concurrency_limit_tests.rs"]
mod tests;
