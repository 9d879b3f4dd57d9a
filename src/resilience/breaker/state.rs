//! The breaker's decisions: plain functions of state, event and time.
//!
//! Owns: which event leads from which state to which, and which calls are admitted. Refuses: events
//! of an earlier era.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::slow_start::{Evaluator, SlowStart};
use super::trip::Trip;
use super::{
    CallResult, Rejected, RejectedBy, Settings, Snapshot, State, Transition, TransitionReason,
};

/// The longest guess for "ask again" while probes are under way.
const PROBING_HINT: Duration = Duration::from_secs(1);

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
    /// A call succeeded or changed the state; what an earlier process knew is older.
    pub(super) moved_by_calls: bool,
    pub(super) moved_by_admin: bool,
    counts: Counts,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Phase {
    Closed {
        /// While it has just closed, or did before a restart.
        slow_start: Option<SlowStart>,
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
    era: u64,
    at: Instant,
}

#[derive(Debug, Default)]
struct Counts {
    transitions: u64,
    rejected: u64,
    issued: u64,
    under_way: u64,
}

impl Core {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            trip: Trip::new(&settings),
            settings,
            phase: Phase::Closed { slow_start: None },
            era: 0,
            since: None,
            consecutive_failures: 0,
            moved_by_calls: false,
            moved_by_admin: false,
            counts: Counts::default(),
        }
    }

    pub(super) fn take_over(&mut self, settings: Settings) {
        if settings != self.settings {
            let failures = if self.is_open() { 0 } else { self.consecutive_failures };
            self.trip.take_over(&settings, failures);
            self.settings = settings;
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }

    /// The ticket of an admitted call. A background call leaves some of a slow start to clients.
    pub(super) fn admit(
        &mut self,
        background: bool,
        now: Instant,
    ) -> (Result<Ticket, Rejected>, Option<Transition>) {
        self.since.get_or_insert(now);
        let probing = Phase::HalfOpen { in_flight: 0, succeeded: 0, given_at: now };
        let change = self.admits_probes_from(now).map(|reason| self.enter(probing, reason, now));
        let admitted = self.peek(background, now).map(|()| {
            match &mut self.phase {
                Phase::Closed { slow_start: Some(slow_start) } => slow_start.take(now),
                Phase::HalfOpen { in_flight, given_at, .. } => {
                    *in_flight = in_flight.saturating_add(1);
                    *given_at = now;
                }
                Phase::Closed { slow_start: None } | Phase::Open { .. } => {}
            }
            Ticket { era: self.era, at: now }
        });
        match admitted {
            Ok(_) => {
                self.counts.issued = self.counts.issued.saturating_add(1);
                self.counts.under_way = self.counts.under_way.saturating_add(1);
            }
            Err(_) => self.rejected(),
        }
        (admitted, change)
    }

    /// Whether a call would be admitted now; moves nothing and counts nothing.
    pub(super) fn peek(&self, background: bool, now: Instant) -> Result<(), Rejected> {
        if self.admits_probes_from(now).is_some() {
            return Ok(());
        }
        let by_open = |retry_after| Rejected { retry_after, by: RejectedBy::Open };
        match self.phase {
            Phase::Closed { slow_start: None } => Ok(()),
            Phase::Closed { slow_start: Some(slow_start) } => {
                match slow_start.wait(background, now) {
                    Duration::ZERO => Ok(()),
                    retry_after => Err(Rejected { retry_after, by: RejectedBy::SlowStart }),
                }
            }
            Phase::Open { until: Some(until) } => {
                Err(by_open(until.saturating_duration_since(now)))
            }
            Phase::Open { until: None } => {
                Err(Rejected { retry_after: self.settings.open, by: RejectedBy::Held })
            }
            Phase::HalfOpen { in_flight, succeeded, .. } => {
                let is_free = self.has_probe(in_flight, succeeded);
                is_free.then_some(()).ok_or_else(|| by_open(self.settings.open.min(PROBING_HINT)))
            }
        }
    }

    pub(super) const fn rejected(&mut self) {
        self.counts.rejected = self.counts.rejected.saturating_add(1);
    }

    /// Why a new set of probes may begin: the open time is over, or those under way are lost.
    fn admits_probes_from(&self, now: Instant) -> Option<TransitionReason> {
        match self.phase {
            Phase::Open { until: Some(until) } if now >= until => {
                Some(TransitionReason::TimeToProbe)
            }
            Phase::HalfOpen { in_flight, succeeded, given_at }
                if !self.has_probe(in_flight, succeeded)
                    && now.saturating_duration_since(given_at) >= self.settings.probe_timeout =>
            {
                Some(TransitionReason::ProbeLost)
            }
            Phase::Open { .. } | Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// Probes that succeeded are not given again: their number decides.
    fn has_probe(&self, in_flight: u32, succeeded: u32) -> bool {
        in_flight.saturating_add(succeeded) < self.settings.probes.max(1)
    }

    pub(super) fn record(
        &mut self,
        ticket: Ticket,
        result: CallResult,
        now: Instant,
    ) -> Option<Transition> {
        self.give_back(ticket);
        if ticket.era != self.era {
            return None;
        }
        match result {
            CallResult::Ignored => return None,
            CallResult::Success => {
                self.consecutive_failures = 0;
                self.moved_by_calls = true;
            }
            CallResult::Failure => {
                self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            }
        }
        match self.phase {
            Phase::Closed { .. } => self.evaluate(ticket, result, now),
            Phase::Open { .. } => None,
            Phase::HalfOpen { .. } if result == CallResult::Success => self.probe_succeeded(now),
            Phase::HalfOpen { .. } => Some(self.open(TransitionReason::ProbeFailed, now)),
        }
    }

    /// A call of a closed breaker: it evaluates it itself, or its slow start does.
    fn evaluate(&mut self, ticket: Ticket, result: CallResult, now: Instant) -> Option<Transition> {
        if let Phase::Closed { slow_start } = &mut self.phase
            && let Some(start) = slow_start
        {
            let evaluator = start.ended(result, ticket.at, now);
            if start.is_over() {
                *slow_start = None;
            }
            match evaluator {
                Evaluator::Breaker => {}
                Evaluator::SlowStart => return None,
                Evaluator::FellToFloor => {
                    self.trip.forget_calls();
                    return None;
                }
            }
        }
        let reason = self.trip.note(result, now)?;
        Some(self.open(reason, now))
    }

    fn probe_succeeded(&mut self, now: Instant) -> Option<Transition> {
        let Phase::HalfOpen { succeeded, .. } = &mut self.phase else { return None };
        *succeeded = succeeded.saturating_add(1);
        let Settings { probes, failure_rate, slow_start, .. } = self.settings;
        if *succeeded < probes.max(1) {
            return None;
        }
        self.trip.forget_openings();
        let slow_start = slow_start.then(|| SlowStart::new(failure_rate, now));
        Some(self.close(slow_start, TransitionReason::ProbesSucceeded, now))
    }

    fn open(&mut self, reason: TransitionReason, now: Instant) -> Transition {
        let open_for = self.trip.next_open_time();
        // Open times are bounded to a day, so the sum exists on any real clock.
        self.enter(Phase::Open { until: now.checked_add(open_for) }, reason, now)
    }

    pub(super) fn give_back(&mut self, ticket: Ticket) {
        self.counts.under_way = self.counts.under_way.saturating_sub(1);
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase
            && ticket.era == self.era
        {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    pub(super) fn force_open(&mut self, now: Instant) -> Option<Transition> {
        self.moved_by_admin = true;
        if let Phase::Open { until } = &mut self.phase {
            // Already open: only the hold is new, so no change is sent.
            *until = None;
            return None;
        }
        Some(self.enter(Phase::Open { until: None }, TransitionReason::Forced, now))
    }

    pub(super) fn force_close(&mut self, now: Instant) -> Option<Transition> {
        self.moved_by_admin = true;
        self.consecutive_failures = 0;
        if let Phase::Closed { slow_start } = &mut self.phase {
            *slow_start = None;
            self.trip.forget_calls();
            return None;
        }
        Some(self.close(None, TransitionReason::Forced, now))
    }

    pub(super) fn reset(&mut self, now: Instant) -> Option<Transition> {
        self.trip.forget_openings();
        self.force_close(now)
    }

    fn close(
        &mut self,
        slow_start: Option<SlowStart>,
        reason: TransitionReason,
        now: Instant,
    ) -> Transition {
        self.trip.forget_calls();
        self.enter(Phase::Closed { slow_start }, reason, now)
    }

    fn enter(&mut self, phase: Phase, reason: TransitionReason, now: Instant) -> Transition {
        let from = self.state();
        self.moved_by_calls = true;
        self.phase = phase;
        self.era = self.era.wrapping_add(1);
        self.since = Some(now);
        self.counts.transitions = self.counts.transitions.saturating_add(1);
        Transition { from, to: self.state(), reason }
    }

    pub(super) const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) const fn slow_start(&self) -> Option<&SlowStart> {
        match &self.phase {
            Phase::Closed { slow_start } => slow_start.as_ref(),
            Phase::Open { .. } | Phase::HalfOpen { .. } => None,
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
            since: self.since,
            until,
            in_state_ms: self.since.map_or(0, |since| millis(now.saturating_duration_since(since))),
            retry_after_ms: until.map(|until| millis(until.saturating_duration_since(now))),
            forced: matches!(self.phase, Phase::Open { until: None }),
            slow_start_per_second: self.slow_start().map(|start| tenths(start.rate())),
            consecutive_failures: self.consecutive_failures,
            transitions: self.counts.transitions,
            rejected: self.counts.rejected,
            issued: self.counts.issued,
            under_way: self.counts.under_way,
        }
    }
}

fn tenths(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
