//! The breaker's decisions: plain functions of state, event and time.
//!
//! Owns: which event leads from which state to which. Refuses: events of an earlier era.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ramp::{Judge, Ramp};
use super::trip::Trip;
use super::{Reason, Settings, Snapshot, State, Transition, Verdict};

#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) trip: Trip,
    pub(super) phase: Phase,
    /// Begins anew with every change of state; permits of another era move nothing.
    pub(super) era: u64,
    /// `None` until the first event: nothing here reads a clock.
    pub(super) since: Option<Instant>,
    pub(super) consecutive_failures: u64,
    pub(super) learnt: Learnt,
    pub(super) counts: Counts,
}

/// What this process found out by itself, which is newer than anything an earlier one knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Learnt {
    /// Nothing, or failures that moved nothing.
    Nothing,
    /// A call succeeded, or the state changed.
    ByCalls,
    /// An admin has spoken.
    ByAdmin,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Closed {
        /// While it has just closed, or did before a restart.
        ramp: Option<Ramp>,
    },
    /// `until: None` is an admin's hold.
    Open { until: Option<Instant> },
    HalfOpen {
        in_flight: u32,
        succeeded: u32,
        /// When the last probe was given.
        given_at: Instant,
    },
}

/// What a permit knows about its admission.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    pub(super) era: u64,
    pub(super) at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    transitions: u64,
    pub(super) rejected: u64,
    pub(super) issued: u64,
    returned: u64,
    dropped: u64,
    pub(super) lost: u64,
}

/// A change of state that the listener has not been told yet.
#[derive(Debug)]
pub(super) struct Change {
    from: State,
    to: State,
    reason: Reason,
    open_for: Option<Duration>,
    sequence: u64,
}

impl Change {
    pub(super) fn named(self, name: Arc<str>) -> Transition {
        let Self { from, to, reason, open_for, sequence } = self;
        Transition { name, from, to, reason, open_for, sequence }
    }
}

impl Core {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            trip: Trip::new(&settings),
            settings,
            phase: Phase::Closed { ramp: None },
            era: 0,
            since: None,
            consecutive_failures: 0,
            learnt: Learnt::Nothing,
            counts: Counts::default(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }

    /// A permit comes back with a verdict.
    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        verdict: Verdict,
        now: Instant,
    ) -> Option<Change> {
        self.counts.returned = self.counts.returned.saturating_add(1);
        self.free_place(ticket.era);
        if ticket.era != self.era {
            return None;
        }
        self.consecutive_failures = match verdict {
            Verdict::Silent => return None,
            Verdict::Well => 0,
            Verdict::Slow => self.consecutive_failures,
            Verdict::Ill => self.consecutive_failures.saturating_add(1),
        };
        if verdict != Verdict::Ill {
            self.learn(Learnt::ByCalls);
        }
        match self.phase {
            Phase::Closed { .. } => self.judge(ticket, verdict, now),
            Phase::Open { .. } => None,
            Phase::HalfOpen { .. } if verdict == Verdict::Well => self.probe_succeeded(now),
            Phase::HalfOpen { .. } => Some(self.open(Reason::ProbeFailed, now)),
        }
    }

    /// A call of a closed breaker: it judges it itself, or its ramp does.
    fn judge(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) -> Option<Change> {
        self.end_ramp(now);
        if let Phase::Closed { ramp: Some(ramp) } = &mut self.phase {
            let was_at_floor = ramp.is_at_floor();
            let judge = ramp.ended(verdict, ticket.at, now);
            if ramp.is_at_floor() && !was_at_floor {
                // Down here calls are judged as ever, and from the beginning.
                self.trip.forget_calls();
            }
            if judge == Judge::Ramp {
                return None;
            }
        }
        let reason = self.trip.note(verdict, now)?;
        Some(self.open(reason, now))
    }

    fn probe_succeeded(&mut self, now: Instant) -> Option<Change> {
        let Phase::HalfOpen { succeeded, .. } = &mut self.phase else { return None };
        *succeeded = succeeded.saturating_add(1);
        if *succeeded < self.settings.probes.max(1) {
            return None;
        }
        self.trip.forget_openings();
        let ramp = self.settings.ramp_plan().map(|plan| Ramp::new(plan, now));
        Some(self.close(ramp, Reason::ProbesSucceeded, now))
    }

    fn open(&mut self, reason: Reason, now: Instant) -> Change {
        let open_for = self.trip.next_open_time();
        // An instant too far to be told is the same as never, which is what a hold is; open times
        // are bounded to a day, so this does not happen on any real clock.
        let until = now.checked_add(open_for);
        let change = self.enter(Phase::Open { until }, reason, now);
        Change { open_for: Some(open_for), ..change }
    }

    /// A permit was dropped.
    pub(super) fn give_back(&mut self, ticket: Ticket) {
        self.counts.dropped = self.counts.dropped.saturating_add(1);
        self.free_place(ticket.era);
    }

    fn free_place(&mut self, era: u64) {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase
            && era == self.era
        {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    pub(super) fn force_open(&mut self, now: Instant) -> Option<Change> {
        self.learn(Learnt::ByAdmin);
        let was_open = matches!(self.phase, Phase::Open { .. });
        if was_open {
            // Already open: only the hold is new, so there is no change to tell.
            self.phase = Phase::Open { until: None };
            return None;
        }
        Some(self.enter(Phase::Open { until: None }, Reason::Forced, now))
    }

    pub(super) fn force_close(&mut self, now: Instant) -> Option<Change> {
        self.learn(Learnt::ByAdmin);
        self.consecutive_failures = 0;
        if let Phase::Closed { ramp } = &mut self.phase {
            *ramp = None;
            self.trip.forget_calls();
            return None;
        }
        Some(self.close(None, Reason::Forced, now))
    }

    pub(super) fn reset(&mut self, now: Instant) -> Option<Change> {
        self.trip.forget_openings();
        self.force_close(now)
    }

    fn close(&mut self, ramp: Option<Ramp>, reason: Reason, now: Instant) -> Change {
        self.trip.forget_calls();
        self.enter(Phase::Closed { ramp }, reason, now)
    }

    pub(super) fn enter(&mut self, phase: Phase, reason: Reason, now: Instant) -> Change {
        let from = self.state();
        self.learn(Learnt::ByCalls);
        self.phase = phase;
        self.era = self.era.wrapping_add(1);
        self.since = Some(now);
        self.counts.transitions = self.counts.transitions.saturating_add(1);
        let sequence = self.counts.transitions;
        Change { from, to: self.state(), reason, open_for: None, sequence }
    }

    fn learn(&mut self, what: Learnt) {
        self.learnt = self.learnt.max(what);
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) fn snapshot(&self, name: Arc<str>, now: Instant) -> Snapshot {
        let until = match self.phase {
            Phase::Open { until } => until,
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        };
        Snapshot {
            name,
            state: self.state(),
            in_state_ms: self.since.map_or(0, |since| millis(now.saturating_duration_since(since))),
            retry_after_ms: until.map(|until| millis(until.saturating_duration_since(now))),
            forced: matches!(self.phase, Phase::Open { until: None }),
            ramp_per_second: self.ramp(now).map(|ramp| tenths(ramp.rate())),
            consecutive_failures: self.consecutive_failures,
            transitions: self.counts.transitions,
            rejected: self.counts.rejected,
            issued: self.counts.issued,
            returned: self.counts.returned,
            dropped: self.counts.dropped,
            lost: self.counts.lost,
        }
    }

    /// The ramp that is under way.
    pub(super) fn ramp(&self, now: Instant) -> Option<&Ramp> {
        match &self.phase {
            Phase::Closed { ramp } => ramp.as_ref().filter(|ramp| !ramp.is_over(now)),
            Phase::Open { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    pub(super) fn slow_after(&self) -> Option<Duration> {
        self.settings.slow.map(|slow| slow.after)
    }

    /// A ramp that begins as low as there is.
    pub(super) fn lowest_ramp(&self, now: Instant) -> Option<Ramp> {
        self.settings.ramp_plan().map(|plan| Ramp::at_floor(plan, now))
    }
}

/// As people read it.
fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
