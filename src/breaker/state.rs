//! The breaker's decisions: plain functions of state, event and time.
//!
//! Owns: which event leads from which state to which. Refuses: events of an earlier era.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::trip::{Settings, Trip};
use super::{Reason, Rejected, Snapshot, State, Transition};

/// The longest guess for "ask again" while probes are under way.
const PROBING_HINT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Core {
    settings: Settings,
    pub(super) trip: Trip,
    pub(super) phase: Phase,
    /// Begins anew with every change of state; permits of another era move nothing.
    pub(super) era: u64,
    /// `None` until the first event: nothing here reads a clock.
    pub(super) since: Option<Instant>,
    pub(super) consecutive_failures: u64,
    pub(super) learnt: Learnt,
    counts: Counts,
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
    Closed,
    /// `until: None` is an admin's hold.
    Open {
        until: Option<Instant>,
    },
    HalfOpen {
        in_flight: u32,
        succeeded: u32,
    },
}

#[derive(Debug, Default)]
struct Counts {
    transitions: u64,
    rejected: u64,
    issued: u64,
    returned: u64,
    dropped: u64,
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
            phase: Phase::Closed,
            era: 0,
            since: None,
            consecutive_failures: 0,
            learnt: Learnt::Nothing,
            counts: Counts::default(),
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
    }

    /// The era of an admitted call.
    pub(super) fn admit(&mut self, now: Instant) -> (Result<u64, Rejected>, Option<Change>) {
        self.since.get_or_insert(now);
        let change = match self.phase {
            Phase::Open { until: Some(until) } if now >= until => {
                let probing = Phase::HalfOpen { in_flight: 0, succeeded: 0 };
                Some(self.enter(probing, Reason::TimeToProbe, now))
            }
            Phase::Open { .. } | Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        (self.take_place(now), change)
    }

    fn take_place(&mut self, now: Instant) -> Result<u64, Rejected> {
        let probes = self.settings.probes.max(1);
        let retry_after = match &mut self.phase {
            Phase::Closed => None,
            Phase::Open { until: Some(until) } => Some(until.saturating_duration_since(now)),
            Phase::Open { until: None } => Some(self.settings.open),
            Phase::HalfOpen { in_flight, succeeded } => {
                // Places of probes that succeeded are not given again: the count decides.
                let free = in_flight.saturating_add(*succeeded) < probes;
                *in_flight = in_flight.saturating_add(u32::from(free));
                (!free).then_some(self.settings.open.min(PROBING_HINT))
            }
        };
        match retry_after {
            Some(retry_after) => {
                self.counts.rejected = self.counts.rejected.saturating_add(1);
                Err(Rejected { retry_after })
            }
            None => {
                self.counts.issued = self.counts.issued.saturating_add(1);
                Ok(self.era)
            }
        }
    }

    /// A permit comes back with a verdict, or without one.
    pub(super) fn record(
        &mut self,
        era: u64,
        healthy: Option<bool>,
        now: Instant,
    ) -> Option<Change> {
        self.counts.returned = self.counts.returned.saturating_add(1);
        self.free_place(era);
        if era != self.era {
            return None;
        }
        match healthy? {
            true => self.succeeded(now),
            false => self.failed(now),
        }
    }

    /// A permit was dropped.
    pub(super) fn give_back(&mut self, era: u64) {
        self.counts.dropped = self.counts.dropped.saturating_add(1);
        self.free_place(era);
    }

    fn free_place(&mut self, era: u64) {
        if let Phase::HalfOpen { in_flight, .. } = &mut self.phase
            && era == self.era
        {
            *in_flight = in_flight.saturating_sub(1);
        }
    }

    fn succeeded(&mut self, now: Instant) -> Option<Change> {
        self.consecutive_failures = 0;
        self.learn(Learnt::ByCalls);
        match &mut self.phase {
            Phase::Closed => self.trip.succeeded(),
            Phase::Open { .. } => {}
            Phase::HalfOpen { succeeded, .. } => {
                *succeeded = succeeded.saturating_add(1);
                if *succeeded >= self.settings.probes.max(1) {
                    self.trip.forget_openings();
                    return Some(self.close(Reason::ProbesSucceeded, now));
                }
            }
        }
        None
    }

    fn failed(&mut self, now: Instant) -> Option<Change> {
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        let reason = match self.phase {
            Phase::Closed if self.trip.failed() => Reason::Failures,
            Phase::HalfOpen { .. } => Reason::ProbeFailed,
            Phase::Closed | Phase::Open { .. } => return None,
        };
        let open_for = self.trip.next_open_time();
        // An instant too far to be told is the same as never, which is what a hold is; open times
        // are bounded to a day, so this does not happen on any real clock.
        let until = now.checked_add(open_for);
        let change = self.enter(Phase::Open { until }, reason, now);
        Some(Change { open_for: Some(open_for), ..change })
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
        if matches!(self.phase, Phase::Closed) {
            self.trip.forget_calls();
            return None;
        }
        Some(self.close(Reason::Forced, now))
    }

    pub(super) fn reset(&mut self, now: Instant) -> Option<Change> {
        self.trip.forget_openings();
        self.force_close(now)
    }

    fn close(&mut self, reason: Reason, now: Instant) -> Change {
        self.trip.forget_calls();
        self.enter(Phase::Closed, reason, now)
    }

    fn enter(&mut self, phase: Phase, reason: Reason, now: Instant) -> Change {
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
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    pub(super) fn snapshot(&self, name: Arc<str>, now: Instant) -> Snapshot {
        let until = match self.phase {
            Phase::Open { until } => until,
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        Snapshot {
            name,
            state: self.state(),
            in_state_ms: self.since.map_or(0, |since| millis(now.saturating_duration_since(since))),
            retry_after_ms: until.map(|until| millis(until.saturating_duration_since(now))),
            forced: matches!(self.phase, Phase::Open { until: None }),
            consecutive_failures: self.consecutive_failures,
            transitions: self.counts.transitions,
            rejected: self.counts.rejected,
            issued: self.counts.issued,
            returned: self.counts.returned,
            dropped: self.counts.dropped,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
