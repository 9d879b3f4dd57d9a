//! How much is loaded from a source that fails, all keys together.
//!
//! Owns: the count of background loads in the air and the judgement that the source fails. Refuses:
//! more than [`REFRESHES`] background loads at once, so that an outage that nobody has noticed yet
//! costs the source no more than these; and, once loads fail, more than [`PROBES_A_SECOND`] of any
//! kind. A load that a client waits for is held back only after [`PATIENCE`] failures in a row:
//! what has nothing to serve may try longer. One success ends it all.
//!
//! What is known per key is in `setbacks.rs`; the source's own breaker and pace stand behind both.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::plan::Urgency;
use crate::failure::{Failure, FailureKind};

/// Background loads in the air at once.
const REFRESHES: u32 = 6;
/// Loads a second while the source fails, and as many at once after a pause.
const PROBES_A_SECOND: f64 = 2.0;
/// Failures in a row after which clients' loads are held back too.
const PATIENCE: u32 = 5;
/// When to ask again if too many background loads are in the air.
const BUSY: Duration = Duration::from_millis(100);

/// Why a load is not begun, and when it may be worth asking again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Held {
    /// Too many background loads are in the air.
    Busy(Duration),
    /// The source fails, lately so.
    Failing(Duration, Option<Failure>),
}

impl Held {
    /// The word for logs and metrics.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Busy(_) => "busy",
            Self::Failing(..) => "failing",
        }
    }

    /// When to ask again.
    pub(super) const fn wait(&self) -> Duration {
        match self {
            Self::Busy(wait) | Self::Failing(wait, _) => *wait,
        }
    }

    /// As those are told who have nothing: as the last that was told.
    pub(super) fn failure(&self) -> Failure {
        let last = match self {
            Self::Busy(_) | Self::Failing(_, None) => {
                Failure::new(FailureKind::UpstreamUnavailable, "held back while the upstream fails")
            }
            Self::Failing(_, Some(last)) => last.clone(),
        };
        let wait = last.retry_after.unwrap_or_default().max(self.wait());
        last.retry_after(Some(wait))
    }
}

/// Whether a failure is news about its source. An open circuit is none: it was not asked. The rest
/// is ours, or the caller's.
const fn is_news(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::UpstreamUnavailable | FailureKind::DeadlineExceeded => true,
        FailureKind::CircuitOpen
        | FailureKind::UpstreamRejected
        | FailureKind::Overloaded
        | FailureKind::Internal => false,
    }
}

/// The decision: what is in the air, how it went lately.
#[derive(Debug)]
struct State {
    refreshes: u32,
    failures: u32,
    last: Option<Failure>,
    probes: f64,
    counted_at: Instant,
}

impl State {
    const fn new(now: Instant) -> Self {
        Self { refreshes: 0, failures: 0, last: None, probes: PROBES_A_SECOND, counted_at: now }
    }

    fn admit(&mut self, urgency: Urgency, now: Instant) -> Result<(), Held> {
        let waited_for = urgency == Urgency::Client;
        if !waited_for && self.refreshes >= REFRESHES {
            return Err(Held::Busy(BUSY));
        }
        if self.failures >= if waited_for { PATIENCE } else { 1 } {
            self.take_probe(now)?;
        }
        if !waited_for {
            self.refreshes += 1;
        }
        Ok(())
    }

    fn take_probe(&mut self, now: Instant) -> Result<(), Held> {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        self.counted_at = self.counted_at.max(now);
        self.probes = (self.probes + passed * PROBES_A_SECOND).min(PROBES_A_SECOND);
        if self.probes < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - self.probes) / PROBES_A_SECOND);
            return Err(Held::Failing(wait, self.last.clone()));
        }
        self.probes -= 1.0;
        Ok(())
    }

    fn end(&mut self, urgency: Urgency, ended: Option<Result<(), Failure>>) {
        if urgency != Urgency::Client {
            self.refreshes = self.refreshes.saturating_sub(1);
        }
        match ended {
            None => {}
            Some(Ok(())) => (self.failures, self.last) = (0, None),
            Some(Err(failure)) => {
                let news = u32::from(is_news(&failure));
                self.failures = self.failures.saturating_add(news);
                if news > 0 || failure.kind == FailureKind::CircuitOpen {
                    self.last = Some(failure);
                }
            }
        }
    }
}

/// The throttle of one source; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Throttle(Arc<Mutex<State>>);

/// The right to load once; dropped without a word, it says nothing about the source.
#[must_use = "a dropped pass is given back"]
#[derive(Debug)]
pub(super) struct Pass {
    throttle: Throttle,
    urgency: Urgency,
    ended: Option<Result<(), Failure>>,
}

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State::new(now))))
    }

    /// Asks to load something now.
    ///
    /// # Errors
    /// It must wait.
    pub(super) fn admit(&self, urgency: Urgency, now: Instant) -> Result<Pass, Held> {
        self.state().admit(urgency, now)?;
        Ok(Pass { throttle: self.clone(), urgency, ended: None })
    }

    /// Whether the last that was heard of the source was a failure.
    pub(super) fn is_failing(&self) -> bool {
        self.state().failures > 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Says how it went.
    pub(super) fn record(mut self, ended: Result<(), &Failure>) {
        self.ended = Some(ended.map_err(Clone::clone));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.throttle.state().end(self.urgency, self.ended.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use proptest::prelude::*;

    fn down() -> Failure {
        Failure::new(FailureKind::UpstreamUnavailable, "down")
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_unnoticed_outage_costs_no_more_than_what_is_in_the_air() {
        let start = clock::monotonic();
        let throttle = Throttle::new(start);
        let passes: Vec<_> =
            (0..200).filter_map(|_| throttle.admit(Urgency::Refresh, start).ok()).collect();
        assert_eq!(passes.len(), 6);
        passes.into_iter().for_each(|pass| pass.record(Err(&down())));
        let probes = (0..1_000)
            .filter_map(|ms| throttle.admit(Urgency::Refresh, at(start, ms)).ok())
            .map(|pass| pass.record(Err(&down())));
        assert_eq!(probes.count(), 3, "two at once and one more within the second");
    }

    #[test]
    fn clients_are_held_back_later_and_one_success_frees_all() {
        let start = clock::monotonic();
        let throttle = Throttle::new(start);
        for _ in 0..PATIENCE {
            throttle.admit(Urgency::Client, start).unwrap().record(Err(&down()));
        }
        throttle.admit(Urgency::Client, start).unwrap().record(Err(&down()));
        let last = throttle.admit(Urgency::Client, start).unwrap();
        let held = throttle.admit(Urgency::Client, start).unwrap_err();
        assert_eq!(held, Held::Failing(Duration::from_millis(500), Some(down())));
        assert_eq!(held.failure(), down().retry_after(Some(Duration::from_millis(500))));
        assert!(throttle.is_failing());
        last.record(Ok(()));
        let free: Vec<_> = (0..100).map(|_| throttle.admit(Urgency::Client, start)).collect();
        assert!(free.iter().all(Result::is_ok));
    }

    #[test]
    fn what_says_nothing_about_the_source_changes_nothing() {
        let start = clock::monotonic();
        let throttle = Throttle::new(start);
        for _ in 0..100 {
            let ours = Failure::new(FailureKind::CircuitOpen, "not asked");
            throttle.admit(Urgency::Refresh, start).unwrap().record(Err(&ours));
            drop(throttle.admit(Urgency::Refresh, start).unwrap());
        }
        assert!(!throttle.is_failing());
    }

    proptest! {
        /// Whatever comes and goes: places are given back, and while the source fails no second
        /// sees more than two seconds' worth of probes and what was in the air.
        #[test]
        fn places_come_back_and_probes_are_few(events in prop::collection::vec((0..3_u8, 0..400_u64), 1..300)) {
            let start = clock::monotonic();
            let throttle = Throttle::new(start);
            throttle.admit(Urgency::Refresh, start).unwrap().record(Err(&down()));
            let (mut now, mut flying, mut admitted) = (0, Vec::new(), Vec::new());
            for (event, wait) in events {
                now += wait;
                match event {
                    0 | 1 => if let Ok(pass) = throttle.admit(Urgency::Refresh, at(start, now)) {
                        admitted.push(now);
                        flying.push(pass);
                    },
                    _ => if let Some(pass) = flying.pop() { pass.record(Err(&down())); },
                }
                prop_assert!(flying.len() <= 6);
                prop_assert_eq!(usize::try_from(throttle.state().refreshes), Ok(flying.len()));
            }
            for first in &admitted {
                let within = admitted.iter().filter(|t| (*first..first + 1_000).contains(*t)).count();
                prop_assert!(within <= 4, "{within} probes within a second");
            }
        }
    }
}
