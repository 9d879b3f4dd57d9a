//! Limits that several instances keep together, through Redis.
//!
//! Owns: the one script that decides over a client's bucket and window by the server's clock, what
//! an instance keeps beside it, and what it does without. Refuses: to wait; while Redis is avoided
//! every instance goes on at once with its share of each limit. Knows no Redis: questions are
//! carried by a [`Counter`].
//!
//! | question | file |
//! |---|---|
//! | what is asked and answered | [`question`], `script.lua` |
//! | what an instance knows, and the bound without Redis | `ledger` |
//! | what was admitted without Redis, until it is told | `untold` |
//! | permits in advance, where there is plenty | `lease` |
//!
//! How a lost memory is noticed: Redis keeps scripts as long as it runs. Each process sends one of
//! its own at its start, so a Redis that does not know it later has begun anew, with nothing counted.

mod lease;
pub(in crate::limits) mod ledger;
pub mod question;
mod untold;

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use utoipa::ToSchema;

use self::ledger::Part;
pub use self::question::{Answer, Question, SCRIPT};
use crate::resilience::tick::Tick;
use crate::resilience::window;

/// Carries questions to where all instances are counted, and answers back.
pub trait Counter: fmt::Debug + Send + Sync {
    /// Whether it is not to be asked now.
    fn is_away(&self) -> bool;

    /// Runs the script once; `None` without an answer in time, whatever the reason.
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Option<Answer>> + 'a>>;

    /// How often it was found to have lost its memory; told before an answer from the new one.
    fn losses(&self) -> u64;
}

/// How the limits are shared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct SharingStatus {
    /// Instances that share each limit; without Redis each admits so many parts of it.
    #[schema(minimum = 1, value_type = u32)]
    pub instances: NonZeroU32,
    /// Most requests in the minute in which Redis is lost or comes back, as a multiple of the limit,
    /// but for `worst_rounding`; in any other minute it is 1.
    pub worst_minute: f64,
    /// As many requests may come on top of `worst_minute`, because shares are rounded up.
    pub worst_rounding: u32,
    /// Redis may have forgotten what was used: for a minute the instance's share has to agree, too.
    pub in_doubt: bool,
    /// Questions to Redis since the start.
    pub asked: u64,
    /// Decisions by this instance's share since the start, because Redis could not be asked.
    pub decided_alone: u64,
    /// How often Redis was found to have lost its memory.
    pub losses: u64,
}

/// What one instance knows of the sharing as a whole.
#[derive(Debug)]
pub(in crate::limits) struct Sharing {
    instances: NonZeroU32,
    losses: AtomicU64,
    /// Nanoseconds of the table's time until which Redis may not know all.
    doubt_until: AtomicU64,
    asked: AtomicU64,
    alone: AtomicU64,
}

impl Sharing {
    pub(in crate::limits) fn among(instances: NonZeroU32) -> Self {
        Self {
            instances,
            losses: AtomicU64::default(),
            doubt_until: AtomicU64::default(),
            asked: AtomicU64::default(),
            alone: AtomicU64::default(),
        }
    }

    pub(in crate::limits) fn part(&self, now: Tick) -> Part {
        Part { instances: self.instances, doubt: self.is_in_doubt(now) }
    }

    /// Hears how often the memory was lost so far; what was used before it counts for a minute.
    pub(in crate::limits) fn hear_of_losses(&self, losses: u64, now: Tick) {
        if self.losses.load(Ordering::Acquire) < losses {
            let until = now.plus(window::LENGTH).as_nanos();
            self.doubt_until.fetch_max(until, Ordering::AcqRel);
            self.losses.fetch_max(losses, Ordering::AcqRel);
        }
    }

    pub(in crate::limits) fn count_question(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::limits) fn count_alone(&self) {
        self.alone.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::limits) fn is_in_doubt(&self, now: Tick) -> bool {
        now.as_nanos() < self.doubt_until.load(Ordering::Acquire)
    }

    pub(in crate::limits) fn status(&self, now: Tick) -> SharingStatus {
        SharingStatus {
            instances: self.instances,
            worst_minute: 2.0 - 1.0 / f64::from(self.instances.get()),
            worst_rounding: self.instances.get() - 1,
            in_doubt: self.is_in_doubt(now),
            asked: self.asked.load(Ordering::Relaxed),
            decided_alone: self.alone.load(Ordering::Relaxed),
            losses: self.losses.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::window::WindowRule;

    #[test]
    fn what_is_published_bounds_the_worst_minute() {
        for count in 1..=20 {
            let instances = NonZeroU32::new(count).unwrap();
            let status = Sharing::among(instances).status(Tick::ORIGIN);
            for limit in 1..=500 {
                let share = WindowRule::per_minute(NonZeroU32::new(limit).unwrap())
                    .share(instances)
                    .limit();
                let worst = f64::from(limit + (count - 1) * share);
                let told = status.worst_minute * f64::from(limit);
                let most = told + f64::from(status.worst_rounding);
                assert!(worst <= most + 1e-9, "{worst} of {most} with {count} at {limit}");
                assert!(worst >= told - 1e-9, "and no more than rounding lies between");
            }
        }
    }
}
