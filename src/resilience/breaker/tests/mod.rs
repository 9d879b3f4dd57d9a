//! The breaker from outside, and against a small model.

mod persisted;
mod probes;
mod slow_start;

use std::sync::Mutex as StdMutex;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::{self, Timestamp};

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const OPEN: Duration = Duration::from_secs(30);
const SETTINGS: Settings = Settings { probes: 2, ..Settings::new(3, OPEN) };

/// A breaker under a clock that the test moves, and what its listener received.
struct Rig {
    breaker: Breaker,
    now: Instant,
    received: Arc<StdMutex<Vec<Transition>>>,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let received = Arc::new(StdMutex::new(Vec::new()));
        let listening = Arc::clone(&received);
        let listener: Listener = Arc::new(move |change: &Transition| {
            listening.lock().unwrap().push(*change);
        });
        Self {
            breaker: Breaker::new("test", settings, listener),
            now: clock::monotonic(),
            received,
        }
    }

    fn admit(&self) -> Result<Permit, Rejected> {
        self.breaker.admit(self.now)
    }

    fn call(&self, result: impl Into<CallResult>) {
        self.admit().unwrap().record(result, self.now);
    }

    fn fail(&self, times: u32) {
        (0..times).for_each(|_| self.call(Some(false)));
    }

    fn snapshot(&self) -> Snapshot {
        self.breaker.snapshot(self.now)
    }

    fn state(&self) -> State {
        self.snapshot().state
    }

    /// Moves to the moment at which an open breaker admits probes.
    fn wait_out(&mut self) {
        self.now += Duration::from_millis(self.snapshot().retry_after_ms.unwrap() + 1);
    }

    fn received(&self) -> Vec<(State, State, TransitionReason)> {
        self.received.lock().unwrap().iter().map(|t| (t.from, t.to, t.reason)).collect()
    }
}

#[test]
fn it_opens_at_the_failures_closes_after_the_probes_and_tells_each_change() {
    let mut rig = Rig::new(SETTINGS);
    rig.fail(2);
    rig.call(Some(true));
    rig.fail(2);
    assert_eq!((rig.state(), rig.snapshot().consecutive_failures), (State::Closed, 2));
    rig.fail(1);
    assert_eq!(rig.state(), State::Open);
    let rejected = rig.admit().unwrap_err();
    assert!(rejected.retry_after >= OPEN / 2 && rejected.retry_after <= OPEN, "{rejected:?}");
    rig.wait_out();
    rig.call(Some(true));
    assert_eq!(rig.state(), State::HalfOpen);
    rig.call(Some(true));
    assert_eq!(rig.state(), State::Closed);
    assert_eq!(
        rig.received(),
        [
            (State::Closed, State::Open, TransitionReason::Failures),
            (State::Open, State::HalfOpen, TransitionReason::TimeToProbe),
            (State::HalfOpen, State::Closed, TransitionReason::ProbesSucceeded),
        ]
    );
    assert_eq!(rig.snapshot().transitions, 3);
}

#[test]
fn only_a_result_moves_it() {
    let rig = Rig::new(SETTINGS);
    for _ in 0..100 {
        rig.call(CallResult::Ignored);
        drop(rig.admit());
    }
    assert_eq!(rig.state(), State::Closed);
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.issued, snapshot.under_way), (200, 0));
}

#[test]
fn half_open_admits_its_probes_and_no_more_whatever_the_load() {
    let mut rig = Rig::new(SETTINGS);
    rig.fail(3);
    rig.wait_out();
    let admitted: Vec<_> = (0..1_000).filter_map(|_| rig.admit().ok()).collect();
    assert_eq!(admitted.len(), 2);
    let rejected = rig.admit().unwrap_err();
    assert_eq!(rejected.retry_after, Duration::from_secs(1));
}

#[test]
fn a_dropped_or_undecided_probe_gives_its_probe_back_and_a_good_one_does_not() {
    let mut rig = Rig::new(SETTINGS);
    rig.fail(3);
    rig.wait_out();
    let (first, second) = (rig.admit().unwrap(), rig.admit().unwrap());
    assert!(rig.admit().is_err());
    drop(first);
    let third = rig.admit().unwrap();
    third.record(CallResult::Ignored, rig.now);
    let fourth = rig.admit().unwrap();
    second.record(Some(true), rig.now);
    assert!(rig.admit().is_err(), "one succeeded, one is under way: both places are taken");
    fourth.record(Some(true), rig.now);
    assert_eq!(rig.state(), State::Closed);
}

#[test]
fn a_failed_probe_opens_it_for_longer_and_a_closing_forgets_that() {
    let mut rig = Rig::new(SETTINGS);
    rig.fail(3);
    for full in [60, 120, 240, 300, 300].map(Duration::from_secs) {
        rig.wait_out();
        rig.fail(1);
        let left = Duration::from_millis(rig.snapshot().retry_after_ms.unwrap());
        assert!(full / 2 <= left && left <= full, "{left:?} of {full:?}");
    }
    rig.wait_out();
    rig.call(Some(true));
    rig.call(Some(true));
    rig.fail(3);
    assert!(rig.snapshot().retry_after_ms.unwrap() <= 30_000);
}

#[test]
fn late_results_of_an_earlier_era_move_nothing() {
    let mut rig = Rig::new(SETTINGS);
    let late: Vec<_> = (0..20).map(|_| rig.admit().unwrap()).collect();
    let mut late = late.into_iter();
    rig.fail(3);
    let open = rig.snapshot();
    late.next().unwrap().record(Some(true), rig.now);
    late.next().unwrap().record(Some(false), rig.now);
    assert_eq!(rig.snapshot().retry_after_ms, open.retry_after_ms);
    rig.wait_out();
    let _probe = rig.admit().unwrap();
    for _ in 0..5 {
        late.next().unwrap().record(Some(true), rig.now);
        late.next().unwrap().record(Some(false), rig.now);
        drop(late.next().unwrap());
    }
    assert_eq!((rig.state(), rig.snapshot().transitions), (State::HalfOpen, 2));
    let _second = rig.admit().unwrap();
    assert!(rig.admit().is_err(), "and no place of a permit that is not a probe");
}

#[test]
fn an_admin_holds_it_open_until_it_is_closed() {
    let mut rig = Rig::new(SETTINGS);
    rig.breaker.force_open(rig.now);
    rig.now += Duration::from_secs(1_000_000);
    assert_eq!(rig.admit().unwrap_err().retry_after, OPEN);
    let snapshot = rig.snapshot();
    assert_eq!((snapshot.state, snapshot.forced), (State::Open, true));
    rig.breaker.force_open(rig.now);
    rig.breaker.force_close(rig.now);
    assert_eq!((rig.state(), rig.snapshot().forced), (State::Closed, false));
    assert_eq!(
        rig.received(),
        [
            (State::Closed, State::Open, TransitionReason::Forced),
            (State::Open, State::Closed, TransitionReason::Forced)
        ]
    );
    rig.fail(3);
    assert_eq!(rig.state(), State::Open, "closed by hand, it goes on by itself");
}

#[test]
fn a_natural_opening_can_be_held_too() {
    let mut rig = Rig::new(SETTINGS);
    rig.fail(3);
    rig.breaker.force_open(rig.now);
    rig.now += OPEN * 100;
    assert!(rig.admit().is_err());
}

#[test]
fn closing_by_hand_remembers_earlier_openings_and_a_reset_does_not() {
    let rig = Rig::new(SETTINGS);
    let open_for = || {
        rig.fail(3);
        rig.snapshot().retry_after_ms.unwrap()
    };
    open_for();
    rig.breaker.force_close(rig.now);
    assert!(open_for() >= 30_000);
    rig.breaker.force_close(rig.now);
    assert!(open_for() >= 60_000);
    rig.breaker.reset(rig.now);
    assert!(open_for() <= 30_000);
    assert_eq!(rig.snapshot().transitions, 7);
}

#[test]
fn a_listener_that_panics_loses_no_probe_and_poisons_nothing() {
    let listener: Listener = Arc::new(|_| panic!("on purpose"));
    let breaker = Breaker::new("test", Settings { consecutive_failures: 1, ..SETTINGS }, listener);
    let mut now = clock::monotonic();
    let caught =
        |work: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err();
    assert!(caught(&|| breaker.admit(now).unwrap().record(Some(false), now)));
    now += OPEN * 2;
    assert!(caught(&|| drop(breaker.admit(now))));
    let probes: Vec<_> = (0..10).filter_map(|_| breaker.admit(now).ok()).collect();
    assert_eq!(probes.len(), 2);
    let snapshot = breaker.snapshot(now);
    assert_eq!((snapshot.issued, snapshot.under_way), (4, 2));
}

#[test]
fn the_snapshot_is_what_status_shows() {
    let mut rig = Rig::new(SETTINGS);
    rig.call(Some(true));
    rig.now += Duration::from_millis(1_500);
    let shown = serde_json::to_value(rig.snapshot()).unwrap();
    assert_eq!(
        shown,
        serde_json::json!({
            "name": "test", "state": "closed", "in_state_ms": 1_500, "retry_after_ms": null,
            "forced": false, "slow_start_per_second": null, "consecutive_failures": 0, "transitions": 0, "rejected": 0,
            "issued": 1, "under_way": 0,
        })
    );
    let gauges = [State::Closed, State::Open, State::HalfOpen].map(State::gauge);
    assert_eq!(gauges, [0, 1, 2]);
}

#[derive(Debug, Clone)]
enum Step {
    Admit,
    Record { nth: usize, result: CallResult },
    Drop { nth: usize },
    Wait { seconds: u64 },
    ForceOpen,
    ForceClose,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let result = prop_oneof![
        1 => Just(CallResult::Ignored),
        3 => Just(CallResult::Success),
        4 => Just(CallResult::Failure),
    ];
    let step = prop_oneof![
        8 => Just(Step::Admit),
        8 => (any::<usize>(), result).prop_map(|(nth, result)| Step::Record { nth, result }),
        2 => any::<usize>().prop_map(|nth| Step::Drop { nth }),
        2 => (0_u64..60).prop_map(|seconds| Step::Wait { seconds }),
        1 => prop_oneof![Just(Step::ForceOpen), Just(Step::ForceClose), Just(Step::Reset)],
    ];
    prop::collection::vec(step, 1..300)
}

/// What may be known from outside: permits held, each with the number of changes of state there
/// had been when it was given.
#[derive(Default)]
struct Model {
    held: Vec<(Permit, u64)>,
    succeeded_probes: u64,
    seen_transitions: u64,
}

impl Model {
    fn take(&mut self, nth: usize) -> Option<(Permit, u64)> {
        if self.held.is_empty() {
            return None;
        }
        let nth = nth % self.held.len();
        Some(self.held.remove(nth))
    }

    /// Probes of this half-open era that are under way.
    fn probing(&self) -> u64 {
        let era = self.seen_transitions;
        u64::try_from(self.held.iter().filter(|(_, given)| *given == era).count()).unwrap()
    }

    fn step(&mut self, rig: &mut Rig, step: &Step) {
        let before = rig.snapshot();
        match *step {
            Step::Admit => {
                if let Ok(permit) = rig.admit() {
                    let after = rig.snapshot();
                    assert_ne!(after.state, State::Open, "admitted while open");
                    self.held.push((permit, after.transitions));
                }
            }
            Step::Record { nth, result } => {
                if let Some((permit, given)) = self.take(nth) {
                    permit.record(result, rig.now);
                    let after = rig.snapshot();
                    let same_era = given == before.transitions;
                    let moved = after.transitions != before.transitions
                        || after.consecutive_failures != before.consecutive_failures
                        || after.slow_start_per_second != before.slow_start_per_second;
                    assert!(same_era || !moved, "a late result moved it");
                    let good_probe =
                        before.state == State::HalfOpen && result == CallResult::Success;
                    self.succeeded_probes += u64::from(same_era && good_probe);
                }
            }
            Step::Drop { nth } => drop(self.take(nth)),
            Step::Wait { seconds } => rig.now += Duration::from_secs(seconds),
            Step::ForceOpen => rig.breaker.force_open(rig.now),
            Step::ForceClose => rig.breaker.force_close(rig.now),
            Step::Reset => rig.breaker.reset(rig.now),
        }
    }

    fn check(&mut self, rig: &Rig, settings: Settings) {
        let snapshot = rig.snapshot();
        let held = u64::try_from(self.held.len()).unwrap();
        assert_eq!(snapshot.under_way, held);
        if snapshot.transitions != self.seen_transitions {
            self.seen_transitions = snapshot.transitions;
            self.succeeded_probes = 0;
        }
        assert!(snapshot.slow_start_per_second.is_none() || snapshot.state == State::Closed);
        if snapshot.state == State::HalfOpen {
            let probes = u64::from(settings.probes);
            assert!(self.probing() + self.succeeded_probes <= probes);
            assert!(self.succeeded_probes < probes, "all probes succeeded and it did not close");
        }
        let received = rig.received.lock().unwrap();
        assert_eq!(u64::try_from(received.len()).unwrap(), snapshot.transitions);
        assert!(received.windows(2).all(|pair| pair[0].to == pair[1].from));
        assert_eq!(received.last().map_or(State::Closed, |last| last.to), snapshot.state);
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_model(steps in steps(), slow_start in any::<bool>()) {
        let settings = Settings { slow_start, minimum_calls: 6, ..SETTINGS };
        let mut rig = Rig::new(settings);
        let mut model = Model::default();
        for step in &steps {
            model.step(&mut rig, step);
            model.check(&rig, settings);
        }
        model.held.clear();
        let snapshot = rig.snapshot();
        prop_assert_eq!(snapshot.under_way, 0);
    }
}

#[test]
fn it_is_one_breaker_on_many_threads() {
    let mut rig = Rig::new(SETTINGS);
    rig.fail(3);
    rig.wait_out();
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let permits: Vec<_> = (0..100).filter_map(|_| rig.admit().ok()).collect();
                    // Kept until every thread has asked: a dropped permit frees its probe.
                    permits
                })
            })
            .collect();
        let permits: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        permits.iter().map(Vec::len).sum()
    });
    assert_eq!(admitted, 2);
}
