//! The two cutoffs of a subject: what was stored until then is softly, or hard, invalid.
//!
//! Owns: what covers what. Cutoffs only ever grow: a clock that steps back cannot make valid again
//! what was invalidated.

use super::rule::Mode;
use crate::cache::entry::Verdict;
use crate::clock::Timestamp;

/// `None` is never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cutoffs {
    soft: Option<Timestamp>,
    hard: Option<Timestamp>,
}

impl Cutoffs {
    /// The verdict on something stored then. The time itself is hit: of what happened in the same
    /// millisecond nobody knows which came first.
    pub(super) fn judge(&self, stored_at: Timestamp) -> Verdict {
        if self.hard >= Some(stored_at) {
            Verdict::Hard
        } else if self.soft >= Some(stored_at) {
            Verdict::Soft
        } else {
            Verdict::Valid
        }
    }

    /// Whether an invalidation would say nothing new.
    pub(super) fn cover(&self, mode: Mode, at: Timestamp) -> bool {
        match mode {
            Mode::Soft => self.newest() >= Some(at),
            Mode::Hard => self.hard >= Some(at),
        }
    }

    /// Adds an invalidation.
    pub(super) fn raise(&mut self, mode: Mode, at: Timestamp) {
        match mode {
            Mode::Soft => self.soft = self.soft.max(Some(at)),
            Mode::Hard => self.hard = self.hard.max(Some(at)),
        }
        self.drop_soft_until(self.hard);
    }

    /// Adds all invalidations of others.
    pub(super) fn merge(&mut self, others: Self) {
        self.soft = self.soft.max(others.soft);
        self.hard = self.hard.max(others.hard);
        self.drop_soft_until(self.hard);
    }

    /// Drops what others say already; whether anything is left.
    pub(super) fn drop_said_by(&mut self, others: Self) -> bool {
        if self.hard <= others.hard {
            self.hard = None;
        }
        self.drop_soft_until(others.newest());
        self.newest().is_some()
    }

    /// Drops what is older than a time; whether anything is left.
    pub(super) fn forget_before(&mut self, time: Timestamp) -> bool {
        self.soft = self.soft.filter(|at| *at >= time);
        self.hard = self.hard.filter(|at| *at >= time);
        self.newest().is_some()
    }

    /// The later of both.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.soft.max(self.hard)
    }

    /// The invalidations they came from, as far as they still count.
    pub(super) fn each(&self) -> impl Iterator<Item = (Mode, Timestamp)> + use<> {
        let soft = self.soft.map(|at| (Mode::Soft, at));
        soft.into_iter().chain(self.hard.map(|at| (Mode::Hard, at)))
    }

    fn drop_soft_until(&mut self, time: Option<Timestamp>) {
        if self.soft <= time {
            self.soft = None;
        }
    }
}
