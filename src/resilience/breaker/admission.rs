//! Who is admitted: plain functions of state and time.
//!
//! Owns: the places of probes and their end, and what a ramp holds back. What a call's result leads
//! to is in `state`.

use std::time::{Duration, Instant};

use super::state::{Change, Core, Phase, Ticket};
use super::{Reason, Refusal, Rejected};

/// The longest guess for "ask again" while probes are under way.
const PROBING_HINT: Duration = Duration::from_secs(1);

impl Core {
    /// The ticket of an admitted call. A spare one leaves some of a ramp to those who wait.
    pub(super) fn admit(
        &mut self,
        spare: bool,
        now: Instant,
    ) -> (Result<Ticket, Rejected>, Option<Change>) {
        self.since.get_or_insert(now);
        let change = self.admits_probes_from(now).map(|reason| self.probe(reason, now));
        self.end_ramp(now);
        let era = self.era;
        let admitted = self.take_place(spare, now).map(|()| Ticket { era, at: now });
        let counter =
            if admitted.is_ok() { &mut self.counts.issued } else { &mut self.counts.rejected };
        *counter = counter.saturating_add(1);
        (admitted, change)
    }

    /// Whether a call would be admitted now; moves nothing and counts nothing.
    pub(super) fn peek(&self, spare: bool, now: Instant) -> Result<(), Rejected> {
        if self.admits_probes_from(now).is_some() {
            return Ok(());
        }
        match &self.phase {
            Phase::Closed { ramp: Some(ramp) } if !ramp.is_over(now) => {
                ramp.wait(spare, now).map_err(held_back)
            }
            Phase::Closed { .. } => Ok(()),
            Phase::Open { until } => Err(self.refused(*until, now)),
            Phase::HalfOpen { in_flight, succeeded, .. } => {
                self.probe_place(*in_flight, *succeeded)
            }
        }
    }

    /// A call goes elsewhere.
    pub(super) fn pass_by(&mut self, now: Instant) {
        if let Phase::Closed { ramp: Some(ramp) } = &mut self.phase
            && ramp.wait(false, now).is_err()
        {
            ramp.refused(now);
        }
    }

    /// A call is refused that only asked whether it would be.
    pub(super) fn turned_away(&mut self, now: Instant) {
        self.counts.rejected = self.counts.rejected.saturating_add(1);
        if let Phase::Closed { ramp: Some(ramp) } = &mut self.phase {
            ramp.refused(now);
        }
    }

    /// Why a new set of probes may begin: the open time is over, or those under way are lost.
    fn admits_probes_from(&self, now: Instant) -> Option<Reason> {
        match self.phase {
            Phase::Open { until: Some(until) } if now >= until => Some(Reason::TimeToProbe),
            Phase::HalfOpen { in_flight, succeeded, given_at }
                if self.probe_place(in_flight, succeeded).is_err()
                    && now.saturating_duration_since(given_at) >= self.settings.probe_patience =>
            {
                Some(Reason::ProbeLost)
            }
            Phase::Open { .. } | Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    fn probe(&mut self, reason: Reason, now: Instant) -> Change {
        if let Phase::HalfOpen { in_flight, .. } = self.phase {
            self.counts.lost = self.counts.lost.saturating_add(u64::from(in_flight));
        }
        self.enter(Phase::HalfOpen { in_flight: 0, succeeded: 0, given_at: now }, reason, now)
    }

    fn take_place(&mut self, spare: bool, now: Instant) -> Result<(), Rejected> {
        match self.phase {
            Phase::Closed { ramp: None } => Ok(()),
            Phase::Closed { ramp: Some(ref mut ramp) } => ramp.admit(spare, now).map_err(held_back),
            Phase::Open { until } => Err(self.refused(until, now)),
            Phase::HalfOpen { in_flight, succeeded, .. } => {
                self.probe_place(in_flight, succeeded)?;
                let in_flight = in_flight.saturating_add(1);
                self.phase = Phase::HalfOpen { in_flight, succeeded, given_at: now };
                Ok(())
            }
        }
    }

    /// Places of probes that succeeded are not given again: the count decides.
    fn probe_place(&self, in_flight: u32, succeeded: u32) -> Result<(), Rejected> {
        if in_flight.saturating_add(succeeded) < self.settings.probes.max(1) {
            return Ok(());
        }
        let retry_after = self.settings.open.min(PROBING_HINT);
        Err(Rejected { retry_after, refusal: Refusal::Open })
    }

    fn refused(&self, until: Option<Instant>, now: Instant) -> Rejected {
        let retry_after =
            until.map_or(self.settings.open, |until| until.saturating_duration_since(now));
        Rejected { retry_after, refusal: Refusal::Open }
    }

    pub(super) fn end_ramp(&mut self, now: Instant) {
        if let Phase::Closed { ramp } = &mut self.phase
            && ramp.is_some_and(|ramp| ramp.is_over(now))
        {
            *ramp = None;
        }
    }
}

const fn held_back(retry_after: Duration) -> Rejected {
    Rejected { retry_after, refusal: Refusal::Ramp }
}
