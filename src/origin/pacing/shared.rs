//! One pace, one day's budget and one ban of a credential for all instances, through Redis.
//!
//! Owns: what the one script (`shared.lua`) is asked before a call is made, and what its answer means.
//! The queue of an instance stays its own; the script has the last word on the moment. While nobody
//! answers, an instance goes on at once with its share: the pace divided by the instances, and so many
//! parts of what is left of the day. Once a second, call or not, it reports what it has spent so and learns
//! what the others have spent, so what it knows is hardly older when Redis is lost. A ban is then known to
//! the instance that was told of it. A Redis that lost its memory learns the day's count from
//! whoever asks next.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Booking, LONGEST_BAN, Pacing, Table};
use crate::clock::Timestamp;
use crate::origin::Priority;
use crate::resilience::pace::Pace;
use crate::resilience::{Refused, RejectReason};

pub const SCRIPT: &str = include_str!("shared.lua");

/// A turn is never further away than this and the burst, whatever the server's clock does.
const AHEAD: Duration = Duration::from_secs(60);

/// Carries questions to where the calls of all instances are counted.
pub trait SharedPace: fmt::Debug {
    /// Runs the script on a key of the credential `id`; `None` without an answer in time, whatever the
    /// reason.
    fn ask<'a>(
        &'a self,
        id: &'a str,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Option<Counted>> + 'a>>;
}

/// With whom pace, budget and bans are kept together.
#[derive(Clone)]
pub struct Sharing {
    /// How many there are.
    pub instances: NonZeroU32,
    /// Makes the way for the thread that asks; `None` where there is none.
    pub connect: Arc<dyn Fn() -> Option<Rc<dyn SharedPace>> + Send + Sync>,
}

/// What one instance wants, and what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    interval: Duration,
    burst: u32,
    /// The longest wait that is of use.
    longest: Duration,
    /// How many calls of the burst are left to others.
    spare: u32,
    day: i64,
    limit: Option<u64>,
    /// How many calls of the day are left to others.
    left: u64,
    /// Calls of the day that should be counted already.
    used: u64,
    /// Calls made without asking.
    unreported: u64,
    /// Calls that were counted and not made.
    returned: u64,
    /// How long the upstream told us to wait.
    ban: Duration,
    is_wanted: bool,
}

impl Question {
    /// The numbers that the script works with, in its order.
    #[must_use]
    pub fn arguments(&self) -> [u64; 12] {
        let count = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
        // Above 2^53 a Lua number is not exact; no such time is of any use.
        let micros = |time: Duration| count(time.as_micros()).min(1 << 50);
        [
            micros(self.interval),
            self.burst.into(),
            micros(self.longest),
            self.spare.into(),
            u64::try_from(self.day).unwrap_or_default(),
            self.limit.unwrap_or_default(),
            self.left,
            self.used,
            self.unreported,
            self.returned,
            count(self.ban.min(LONGEST_BAN).as_millis()),
            self.is_wanted.into(),
        ]
    }
}

/// What the script says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    decided: Decided,
    wait: Duration,
    /// Calls of the day, of all instances, this one included.
    count: u64,
    ban_left: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decided {
    Nothing,
    Granted,
    TooLate,
    Spent,
    Banned,
}

impl Counted {
    /// What these numbers say; `None` when they are not what the script answers to anything.
    #[must_use]
    pub fn read(numbers: &[i64]) -> Option<Self> {
        let &[decided, wait, count, ban] = numbers else { return None };
        let decided = match decided {
            0 => Decided::Nothing,
            1 => Decided::Granted,
            2 => Decided::TooLate,
            3 => Decided::Spent,
            4 => Decided::Banned,
            _ => return None,
        };
        let number = |number: i64| u64::try_from(number).ok();
        Some(Self {
            decided,
            wait: Duration::from_micros(number(wait)?),
            count: number(count)?,
            ban_left: Duration::from_millis(number(ban)?),
        })
        .filter(|answer| answer.ban_left <= LONGEST_BAN)
    }

    /// Whether the script can have said so to this question: what somebody else wrote stops no calls for
    /// longer than the upstream itself could.
    fn answers(&self, question: &Question) -> bool {
        self.wait
            <= match self.decided {
                Decided::Granted => question.longest,
                Decided::Nothing | Decided::TooLate | Decided::Spent | Decided::Banned => {
                    question.interval.saturating_mul(question.burst).saturating_add(AHEAD)
                }
            }
    }
}

/// What an instance does while nobody answers.
#[derive(Debug)]
pub(super) struct Alone {
    instances: u32,
    pace: Pace,
    /// The day, and how many of its calls are this instance's; set with the first question that nobody
    /// answered.
    left: Option<(i64, u64)>,
    /// Calls made without asking, which nobody counts as yet.
    unreported: u64,
    /// Calls that were counted and not made, which nobody was told of as yet.
    pub(super) returned: u64,
}

impl Alone {
    pub(super) fn new(instances: NonZeroU32, pace: Pace) -> Self {
        let instances = instances.get();
        Self { instances, pace: pace.slower(instances), left: None, unreported: 0, returned: 0 }
    }

    pub(super) fn take_over(&mut self, pace: Pace) {
        self.pace = pace.slower(self.instances).after(self.pace);
    }
}

impl Pacing {
    /// Whether there is anything to keep together with other instances.
    pub fn is_bounded(&self) -> bool {
        let table = self.lock();
        !table.booked.interval().is_zero() || table.quota.limit().is_some()
    }

    /// What is to be asked before a call is made that may wait until `latest`.
    pub fn question(&self, priority: Priority, now: Instant, latest: Instant) -> Question {
        let table = &mut *self.lock();
        let (spare, part) = table.kept(priority);
        let longest = match priority {
            Priority::Client => latest.saturating_duration_since(now),
            Priority::Refresh | Priority::Warming => Duration::ZERO,
        };
        let left = table.quota.part(part);
        Question { longest, spare, left, is_wanted: true, ..table.report(Duration::ZERO) }
    }

    /// What all instances are told of this one: calls that it made without asking, and a wait that the
    /// upstream asked for (zero: none). The answer is what this one is told of them.
    pub fn report(&self, ban: Duration, wall: Timestamp) -> Question {
        let mut table = self.lock();
        table.quota.turn(wall);
        table.report(ban)
    }

    /// How long the call has to wait, now that this was answered to the question; nothing is taken when
    /// it is refused. `booking` is that of the call, if one is wanted.
    pub fn answered(
        &self,
        question: &Question,
        answer: Option<Counted>,
        booking: Option<&mut Booking>,
        (now, wall): (Instant, Timestamp),
    ) -> Result<Duration, Refused> {
        let table = &mut *self.lock();
        let answer = answer.filter(|answer| answer.answers(question));
        let Some(Counted { decided, wait, count, ban_left }) = answer else {
            return table.alone(question, now, wall);
        };
        table.alone.left = None;
        let own = u64::from(decided == Decided::Granted);
        table.quota.counted(question.day, count.saturating_sub(own).saturating_add(table.pending));
        if let Some(booking) = booking {
            booking.is_counted = decided == Decided::Granted;
        }
        if !ban_left.is_zero() {
            table.banned_until = table.banned_until.max(now.checked_add(ban_left));
        }
        let refused = |reason, retry_after| Err(Refused { reason, retry_after });
        if !wait.is_zero() && matches!(decided, Decided::Granted | Decided::TooLate) {
            // Who comes later waits in this instance's queue, or is refused there at once.
            table.booked.not_before(now + wait);
        }
        match decided {
            Decided::Nothing | Decided::Granted => Ok(wait),
            Decided::TooLate if question.longest.is_zero() => {
                refused(RejectReason::KeptForClients, wait)
            }
            Decided::TooLate => refused(RejectReason::Deadline, wait),
            Decided::Spent if question.left > 0 => {
                refused(RejectReason::KeptForClients, table.quota.day_ends().since(wall))
            }
            Decided::Spent => {
                let until = table.quota.day_ends().since(wall);
                refused(RejectReason::BudgetSpent(table.quota.whole()), until)
            }
            Decided::Banned => refused(RejectReason::Banned, ban_left),
        }
    }
}

impl Table {
    /// What this instance knows; what it has not reported counts as reported from now on.
    fn report(&mut self, ban: Duration) -> Question {
        let unreported = std::mem::take(&mut self.alone.unreported);
        let returned = std::mem::take(&mut self.alone.returned);
        let known = self.quota.spent().saturating_sub(self.pending).saturating_sub(unreported);
        Question {
            interval: self.booked.interval(),
            burst: self.burst,
            longest: Duration::ZERO,
            spare: 0,
            day: self.quota.day(),
            limit: self.quota.limit(),
            left: 0,
            used: known,
            unreported,
            returned,
            ban,
            is_wanted: false,
        }
    }

    /// Nobody answered: this instance's share decides.
    fn alone(
        &mut self,
        question: &Question,
        now: Instant,
        wall: Timestamp,
    ) -> Result<Duration, Refused> {
        // Perhaps they were counted, and only the answer was lost: then too many count.
        self.alone.unreported = self.alone.unreported.saturating_add(question.unreported);
        self.alone.returned = self.alone.returned.saturating_add(question.returned);
        if !question.is_wanted {
            return Ok(Duration::ZERO);
        }
        let refused = |reason, retry_after| Err(Refused { reason, retry_after });
        let day = self.quota.day();
        // This call was spent already, and others that wait.
        let left = self.quota.remaining().map(|left| left.saturating_add(self.pending));
        let left = match self.alone.left {
            Some((known, left)) if known == day => Some(left),
            _ => left.map(|left| left.div_ceil(self.alone.instances.into())),
        };
        if left == Some(0) {
            let until = self.quota.day_ends().since(wall);
            return refused(RejectReason::BudgetSpent(self.quota.whole()), until);
        }
        let at = self.alone.pace.earliest(now);
        let wait = at.saturating_duration_since(now);
        if wait > question.longest {
            let reason = match question.longest {
                Duration::ZERO => RejectReason::KeptForClients,
                _ => RejectReason::Deadline,
            };
            return refused(reason, wait);
        }
        self.alone.pace.take(at);
        self.alone.left = left.map(|left| (day, left.saturating_sub(1)));
        self.alone.unreported = self.alone.unreported.saturating_add(1);
        if !wait.is_zero() {
            self.booked.not_before(at + self.alone.pace.interval());
        }
        Ok(wait)
    }
}
