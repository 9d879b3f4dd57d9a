//! Permits on top: admissions that Redis has granted in advance.
//!
//! Owns: how many are wanted, how they are used up, and what is left of them. Refuses: to be used
//! after a second, and where so many requests may come that a question for each costs too little to
//! save, or where a bucket limits as well: it would have to be charged as of the end, with a second's
//! worth of tokens for a single permit. Knows no clock.
//!
//! # Why no minute ever holds more than the limit
//!
//! A permit is counted in Redis when it is granted, under the stamp of its end: rounded up, a second
//! after the server's time then. The instance counts its second from before it asked, so by the
//! server's time too it uses a permit between grant and stamp, whatever its own clock shows. Such an
//! admission is in Redis' count from before it happens until a minute after its stamp, hence for all
//! of the minute after it happened. So at any time the count covers every admission of the last
//! minute, and it is never above the limit. Permits that ended unused are given back, from the very
//! stamp they were counted under. What is told to be left is what Redis had left, without the permits:
//! so much may come at any instance, unless it was used at another within the second.

use super::ledger::aged;
use super::question::{Answer, VALID};
use crate::limits::quota::{Rules, Verdict};
use crate::resilience::tick::Tick;

/// Permits at once, at most. As many as a client uses in a second are wanted; a grant that is used up
/// costs a question for each request that comes before the next.
const MOST: u32 = 1_024;
/// The smallest limit a minute with permits on top, a hundred a second: below it a question for each
/// request costs little, and a client that stays under it is counted to the last one.
const PLENTY: u32 = 6_000;

/// Permits of one grant.
#[derive(Debug)]
pub(super) struct Lease {
    rules: Rules,
    size: u32,
    left: u32,
    until: Tick,
    stamp: u64,
    told: Verdict,
    at: Tick,
}

impl Lease {
    pub(super) fn new(
        rules: Rules,
        answer: &Answer,
        told: Verdict,
        (sent, now): (Tick, Tick),
    ) -> Self {
        let (size, stamp) = (answer.extra, answer.stamp);
        Self { rules, size, left: size, until: sent.plus(VALID), stamp, told, at: now }
    }

    /// Admits a request, if there are permits for it.
    pub(super) fn take(&mut self, rules: Rules, now: Tick, cost: u32) -> Option<Verdict> {
        if self.rules != rules || !self.is_live(now) {
            return None;
        }
        self.left = self.left.checked_sub(cost)?;
        Some(aged(self.told, now.since(self.at)))
    }

    pub(super) fn is_live(&self, now: Tick) -> bool {
        self.left > 0 && now < self.until
    }

    /// What ended unused, with its stamp.
    pub(super) fn unused(&self) -> Option<(u64, u32)> {
        (self.left > 0).then_some((self.stamp, self.left))
    }
}

/// How many are wanted: what was used of the last ones, twice as many if they were used up.
#[derive(Debug, Default)]
pub(super) struct Wants {
    last: Option<Tick>,
    size: u32,
    asking: bool,
}

impl Wants {
    /// What to want in a question that is sent now. One question at a time wants any.
    pub(super) fn next(&mut self, rules: Rules, ended: Option<&Lease>, now: Tick) -> u32 {
        let plenty = rules.window.is_some_and(|rule| rule.limit() >= PLENTY);
        if !plenty || rules.bucket.is_some() {
            return 0;
        }
        let since = self.last.map(|last| now.since(last));
        if self.asking && since.is_some_and(|since| since < VALID) {
            return 0;
        }
        self.last = Some(now);
        self.size = match ended {
            Some(lease) if lease.left > 0 => lease.size - lease.left,
            Some(_) | None if since.is_some_and(|since| since < VALID) => {
                self.size.saturating_mul(2).clamp(1, MOST)
            }
            Some(_) | None => 0,
        };
        self.asking = self.size > 0;
        self.size
    }

    /// A question that wanted so many has come to its end.
    pub(super) const fn answered(&mut self, wanted: u32) {
        if wanted > 0 {
            self.asking = false;
        }
    }
}
