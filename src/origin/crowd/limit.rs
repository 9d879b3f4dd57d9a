//! How many calls may be under way at once: a limit that follows the upstream's latency.
//!
//! Owns: the limit. Pure: it is told of calls that ended and reads no clock.
//!
//! The scheme is Gradient2 of Netflix' concurrency-limits: as long as calls take about what they
//! take on a calm upstream the limit grows by a queue's allowance, and as they take longer it shrinks
//! in proportion. Three things differ:
//!
//! * It is compared to the time of calls that had few beside them ([`super::calm`] says why), not to
//!   a long-term average of all.
//! * It moves once in half a round trip (a *window*), by the mean of the calls in it, because what a
//!   change does is seen one round trip later; moved by every call, it swings.
//! * Time-outs and the like say more than latency: they multiply it by [`BACK_OFF`], but only once in
//!   a round trip. A call that began before the last such cut, or as one of the next few, is answered
//!   by that cut (as in RFC 6582, where all losses up to what was sent when the first was seen are
//!   one event).
//!
//! With c places at the upstream and steady load it settles at 1.5 c + max(4, √limit): all places in
//! use, and a short queue that keeps them so.

use std::time::Duration;

use super::calm::{Calm, Mean};

/// It starts here, or at the bound if that is less.
const START: f64 = 16.0;
/// The least that is left to an upstream.
const LEAST: f64 = 2.0;
/// So many times the calm latency is no sign of a queue.
const TOLERANCE: f64 = 1.5;
/// The limit is never cut by more in one step, before smoothing.
const LEAST_GRADIENT: f64 = 0.25;
/// Calls that may queue at the upstream, at least; more at higher limits.
const LEAST_ALLOWANCE: f64 = 4.0;
/// How much of a step is made.
const SMOOTHING: f64 = 0.2;
/// Weight of a window in the mean over some.
const RECENT: f64 = 0.2;
/// What an overload leaves of the limit.
const BACK_OFF: f64 = 0.9;
/// Calls that begin after a cut before there may be another. At a low limit a round trip is so few
/// calls that failures which have nothing to do with the load would leave the least.
const BETWEEN_CUTS: u64 = 4;
/// No fewer calls are a window.
const LEAST_WINDOW: f64 = 8.0;

/// How a call ended, as far as the limit is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// It was answered and took so long.
    Answered(Duration),
    /// It was not answered in time, or the upstream said that it is ill.
    Overloaded,
    /// It says nothing.
    Silent,
}

/// A call: its number, in the order in which calls begin, and the calls under way when it began,
/// itself included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) call: u64,
    pub(super) in_flight: u32,
}

/// The limit.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    least: f64,
    most: f64,
    limit: f64,
    calm: Calm,
    window: Mean,
    /// The most calls under way in the window.
    peak: u32,
    /// The mean over the last windows.
    recent: Option<f64>,
    /// The number of the next call.
    next: u64,
    /// Calls with a smaller number are answered by the last cut.
    cut_before: u64,
}

impl Limit {
    /// A limit of at most `most` calls (0 counts as 1).
    pub(super) fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self {
            least: LEAST.min(most),
            most,
            limit: START.min(most),
            calm: Calm::new(),
            window: Mean::default(),
            peak: 0,
            recent: None,
            next: 0,
            cut_before: 0,
        }
    }

    /// The limit, whether or not it dips just now.
    pub(super) const fn places(&self) -> f64 {
        self.limit
    }

    /// Whether one more may be under way beside `in_flight` others.
    pub(super) fn admits(&self, in_flight: u32) -> bool {
        let bound = if self.calm.is_dipping() { self.few().min(self.limit) } else { self.limit };
        f64::from(in_flight) + 1.0 <= bound
    }

    /// Whether `in_flight` calls are less than half of what may be under way.
    pub(super) fn is_half_empty(&self, in_flight: u32) -> bool {
        f64::from(in_flight) < self.limit / 2.0
    }

    /// One more is under way, now `in_flight` with it.
    pub(super) fn begins(&mut self, in_flight: u32) -> Begun {
        let call = self.next;
        self.next = call.saturating_add(1);
        let few = self.few();
        let is_calm = f64::from(in_flight) <= few;
        self.calm.begins(call, is_calm.then(|| whole(few)));
        Begun { call, in_flight }
    }

    /// One less is under way.
    pub(super) fn ended(&mut self, begun: Begun, end: End) {
        match end {
            End::Answered(took) => self.answered(begun, took.as_secs_f64()),
            End::Overloaded => self.overloaded(begun),
            End::Silent => self.calm.ended(begun.call, None),
        }
    }

    fn answered(&mut self, begun: Begun, took: f64) {
        let was_dipping = self.calm.is_dipping();
        self.calm.ended(begun.call, Some(took));
        if was_dipping {
            return;
        }
        self.window.add(took);
        self.peak = self.peak.max(begun.in_flight);
        if let Some(mean) = self.window.take((self.limit / 2.0).max(LEAST_WINDOW)) {
            let peak = std::mem::take(&mut self.peak);
            self.step(mean, peak);
        }
    }

    fn overloaded(&mut self, begun: Begun) {
        self.calm.ended(begun.call, None);
        if begun.call >= self.cut_before {
            self.cut_before = self.next.saturating_add(BETWEEN_CUTS);
            self.limit = (self.limit * BACK_OFF).max(self.least);
            self.calm.give_up();
        }
    }

    fn step(&mut self, mean: f64, peak: u32) {
        let recent = self.recent.map_or(mean, |recent| recent + RECENT * (mean - recent));
        self.recent = Some(recent);
        if self.is_half_empty(peak) {
            // It was not the limit that held anybody back.
            return;
        }
        self.calm.crowded(mean, recent);
        let calm = self.calm.time().unwrap_or(mean);
        let gradient = if mean > 0.0 { TOLERANCE * calm / mean } else { 1.0 };
        let gradient = gradient.clamp(LEAST_GRADIENT, 1.0);
        let step = self.limit * gradient + self.allowance() - self.limit;
        self.limit = (self.limit + SMOOTHING * step).clamp(self.least, self.most);
    }

    fn allowance(&self) -> f64 {
        self.limit.sqrt().max(LEAST_ALLOWANCE)
    }

    /// So many calls at once are few: with the limit settled, half of the upstream's places. As it is
    /// well below what the limit allows for, too high a calm time corrects itself from dip to dip.
    fn few(&self) -> f64 {
        ((self.limit - self.allowance()) / (2.0 * TOLERANCE)).max(LEAST)
    }
}

/// The whole part of a number that is not negative.
pub(super) fn whole(number: f64) -> u32 {
    let seconds = Duration::try_from_secs_f64(number).map_or(u64::MAX, |time| time.as_secs());
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
