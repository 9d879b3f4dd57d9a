//! The pacing from outside, and its rate against the definition.

mod spare;

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::clock;

const WALL: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const FAR: Duration = Duration::from_secs(3_600);
/// A queue may be there for good.
const FOREVER: patience::Settings =
    patience::Settings { burst: Duration::MAX, standing: Duration::MAX };
const FIVE: Settings = Settings {
    rate: Some(Rate { per_second: 5.0, burst: 3 }),
    daily_budget: Some(100),
    max_queue: 4,
    day_offset: Duration::ZERO,
    patience: FOREVER,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Pacing under a clock that the test moves.
struct Rig {
    pacing: Pacing,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let start = clock::monotonic();
        Self { pacing: Pacing::new(settings), start, now: start }
    }

    fn within(&self, patience: Duration) -> Result<Slot, Refused> {
        self.pacing.reserve(self.now, WALL.plus(self.now - self.start), self.now + patience)
    }

    fn reserve(&self) -> Result<Slot, Refused> {
        self.within(FAR)
    }

    /// Milliseconds from the start of the rig to the slot's moment.
    fn offset(&self, slot: &Slot) -> u128 {
        (slot.at() - self.start).as_millis()
    }

    fn snapshot(&self) -> Snapshot {
        self.pacing.snapshot(self.now, WALL.plus(self.now - self.start))
    }
}

fn reason(refused: Result<Slot, Refused>) -> Reason {
    refused.unwrap_err().reason
}

#[test]
fn a_burst_goes_at_once_then_calls_are_spaced() {
    let rig = Rig::new(FIVE);
    let slots: Vec<_> = (0..6).map(|_| rig.reserve().unwrap()).collect();
    let offsets: Vec<_> = slots.iter().map(|slot| rig.offset(slot)).collect();
    assert_eq!(offsets, [0, 0, 0, 200, 400, 600]);
}

#[test]
fn the_burst_recovers_in_a_pause() {
    let mut rig = Rig::new(FIVE);
    for _ in 0..3 {
        rig.reserve().unwrap().start(rig.now, WALL).unwrap();
    }
    rig.now += ms(400);
    let slots: Vec<_> = (0..3).map(|_| rig.reserve().unwrap()).collect();
    let offsets: Vec<_> = slots.iter().map(|slot| rig.offset(slot)).collect();
    assert_eq!(offsets, [400, 400, 600]);
}

#[test]
fn a_place_after_the_deadline_is_refused_and_not_taken() {
    let rig = Rig::new(FIVE);
    let _burst: Vec<_> = (0..3).map(|_| rig.reserve().unwrap()).collect();
    for _ in 0..100 {
        let refused = rig.within(ms(199)).unwrap_err();
        assert_eq!(refused, Refused { reason: Reason::Deadline, retry_after: ms(200) });
    }
    assert_eq!(rig.offset(&rig.within(ms(200)).unwrap()), 200);
}

#[test]
fn the_queue_is_bounded() {
    let mut rig = Rig::new(FIVE);
    let mut slots: Vec<_> = (0..7).map(|_| rig.reserve().unwrap()).collect();
    assert_eq!(rig.snapshot().queue, 4);
    let refused = rig.reserve().unwrap_err();
    assert_eq!(refused, Refused { reason: Reason::QueueFull, retry_after: ms(1_000) });
    // One whose moment has come waits no more.
    rig.now += ms(200);
    assert_eq!(rig.snapshot().queue, 3);
    slots.push(rig.reserve().unwrap());
    assert_eq!(reason(rig.reserve()), Reason::QueueFull);
}

#[test]
fn a_cancelled_place_goes_to_whoever_asks_next() {
    let rig = Rig::new(FIVE);
    let mut slots: Vec<_> = (0..6).map(|_| rig.reserve().unwrap()).collect();
    let dropped = slots.remove(4);
    assert_eq!(rig.offset(&dropped), 400);
    drop(dropped);
    assert_eq!(rig.offset(&rig.reserve().unwrap()), 400);
    assert_eq!(rig.snapshot().budget_remaining, Some(95));
}

#[test]
fn places_given_back_at_once_cost_nothing() {
    let mut rig = Rig::new(FIVE);
    for _ in 0..1_000 {
        assert_eq!(rig.reserve().unwrap().at(), rig.now);
        rig.now += Duration::from_micros(1);
    }
    assert_eq!(rig.snapshot().budget_remaining, Some(100));
    let slots: Vec<_> = (0..4).map(|_| rig.reserve().unwrap()).collect();
    assert_eq!(slots.iter().filter(|slot| slot.at() == rig.now).count(), 3);
}

#[test]
fn the_days_budget_is_a_bound_and_starts_anew() {
    let mut rig = Rig::new(Settings { daily_budget: Some(2), ..FIVE });
    for _ in 0..2 {
        rig.reserve().unwrap().start(rig.now, WALL).unwrap();
    }
    let refused = rig.reserve().unwrap_err();
    let Reason::BudgetSpent { until } = refused.reason else { panic!("{refused:?}") };
    assert_eq!(until.as_millis() % 86_400_000, 0);
    assert_eq!(refused.retry_after, until.since(WALL));
    rig.now += refused.retry_after;
    assert!(rig.reserve().is_ok());
}

#[test]
fn a_short_ban_is_waited_out_and_a_long_one_refuses() {
    let mut rig = Rig::new(FIVE);
    rig.pacing.ban(rig.now, ms(1_000));
    rig.pacing.ban(rig.now, ms(10));
    assert_eq!(rig.snapshot().banned_until, Some(WALL.plus(ms(1_000))));
    let refused = rig.within(ms(999)).unwrap_err();
    let until = WALL.plus(ms(1_000));
    assert_eq!(refused, Refused { reason: Reason::Banned { until }, retry_after: ms(1_000) });
    let slot = rig.within(ms(1_000)).unwrap();
    assert_eq!(rig.offset(&slot), 1_000);
    rig.now += ms(1_000);
    assert_eq!(rig.snapshot().banned_until, None);
    assert!(slot.start(rig.now, WALL).is_ok());
}

#[test]
fn a_ban_stops_those_who_wait_already() {
    let mut rig = Rig::new(FIVE);
    let waiting: Vec<_> = (0..4).map(|_| rig.reserve().unwrap()).collect();
    rig.pacing.ban(rig.now, ms(60_000));
    rig.now += ms(200);
    for slot in waiting {
        let refused = slot.start(rig.now, WALL).unwrap_err();
        assert_eq!(refused.retry_after, ms(59_800));
    }
    assert_eq!(rig.snapshot().budget_remaining, Some(100));
    rig.pacing.lift_ban();
    assert_eq!(rig.reserve().unwrap().at(), rig.now);
}

#[test]
fn unpaced_has_no_rate_but_keeps_bans_and_the_queues_bound() {
    let unpaced = Settings { rate: None, daily_budget: None, ..FIVE };
    let rig = Rig::new(unpaced);
    let slots: Vec<_> = (0..1_000).map(|_| rig.reserve().unwrap()).collect();
    assert!(slots.iter().all(|slot| slot.at() == rig.now));
    assert_eq!(rig.snapshot().budget_remaining, None);
    rig.pacing.ban(rig.now, ms(500));
    let waiting: Vec<_> = (0..4).map(|_| rig.reserve().unwrap()).collect();
    assert!(waiting.iter().all(|slot| rig.offset(slot) == 500));
    assert_eq!(reason(rig.reserve()), Reason::QueueFull);
}

#[test]
fn an_earlier_processes_calls_and_ban_are_taken_over() {
    let first = Rig::new(FIVE);
    first.reserve().unwrap().start(first.now, WALL).unwrap();
    first.pacing.ban(first.now, ms(5_000));
    let saved = serde_json::to_string(&first.snapshot()).unwrap();
    let second = Rig::new(FIVE);
    second.pacing.restore(&serde_json::from_str(&saved).unwrap(), second.now, WALL);
    assert_eq!(second.snapshot(), first.snapshot());
}

#[test]
fn extreme_settings_are_survived() {
    for per_second in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300, 1e300] {
        for burst in [0, 1, u32::MAX] {
            let rate = Some(Rate { per_second, burst });
            let mut rig = Rig::new(Settings { rate, ..FIVE });
            drop(rig.pacing.reserve_spare(Priority::Refresh, rig.now, WALL));
            drop(rig.pacing.reserve_spare(Priority::Warming, rig.now, WALL));
            rig.pacing.ban(rig.now, Duration::MAX);
            let kept: Vec<_> = (0..10).filter_map(|_| rig.reserve().ok()).collect();
            rig.now += ms(1);
            assert!(!kept.is_empty());
            drop(kept);
            drop(rig.reserve());
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve { patience_ms: u64 },
    Cancel { nth: usize },
    Wait { millis: u64 },
    Ban { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..5_000).prop_map(|patience_ms| Step::Reserve { patience_ms }),
        3 => any::<usize>().prop_map(|nth| Step::Cancel { nth }),
        3 => (0_u64..900).prop_map(|millis| Step::Wait { millis }),
        1 => (0_u64..900).prop_map(|millis| Step::Ban { millis }),
    ];
    prop::collection::vec(step, 1..200)
}

/// Starts every slot whose moment has come, as its holder would, and notes the moment.
fn start_due(rig: &Rig, held: &mut Vec<Slot>, started: &mut Vec<Instant>) {
    held.sort_by_key(Slot::at);
    while held.first().is_some_and(|slot| slot.at() <= rig.now) {
        let slot = held.remove(0);
        let at = slot.at();
        if slot.start(at, WALL).is_ok() {
            started.push(at);
        }
    }
}

proptest! {
    /// Whatever is reserved, cancelled and banned: the calls that are made keep the rate, which
    /// is that any `burst + n` of them span at least `n` intervals; and no promise is broken.
    #[test]
    fn calls_that_are_made_keep_the_rate(steps in steps(), burst in 1_u32..5) {
        let rate = Some(Rate { per_second: 5.0, burst });
        let mut rig = Rig::new(Settings { rate, daily_budget: Some(10_000), ..FIVE });
        let (mut held, mut started) = (vec![], vec![]);
        for step in steps {
            match step {
                Step::Reserve { patience_ms } => match rig.within(ms(patience_ms)) {
                    Ok(slot) => {
                        prop_assert!(slot.at() >= rig.now && slot.at() <= rig.now + ms(patience_ms));
                        held.push(slot);
                    }
                    Err(refused) => prop_assert!(!refused.retry_after.is_zero()),
                },
                Step::Cancel { nth } if !held.is_empty() => {
                    let nth = nth % held.len();
                    drop(held.remove(nth));
                }
                Step::Cancel { .. } => {}
                Step::Wait { millis } => {
                    // In small steps: holders start on time, not when the test looks again.
                    for _ in 0..millis / 10 {
                        start_due(&rig, &mut held, &mut started);
                        rig.now += ms(10);
                    }
                }
                Step::Ban { millis } => rig.pacing.ban(rig.now, ms(millis)),
            }
            let snapshot = rig.snapshot();
            prop_assert!(snapshot.queue <= FIVE.max_queue);
            let open = u64::try_from(held.len() + started.len()).unwrap();
            prop_assert_eq!(snapshot.spent_today, open);
        }
        started.sort();
        let burst = usize::try_from(burst).unwrap();
        for (first, from) in started.iter().enumerate() {
            for (calls, to) in started[first..].iter().enumerate() {
                let spaced = u32::try_from((calls + 1).saturating_sub(burst)).unwrap();
                prop_assert!(*to - *from >= ms(200) * spaced, "{calls} calls after {first}");
            }
        }
    }
}

/// Calls that were all kept from their moments, by a stall, do not start all at once.
#[test]
fn calls_held_up_together_keep_the_pace_among_them() {
    let mut rig = Rig::new(FIVE);
    let mut slots: Vec<_> = (0..7).map(|_| rig.reserve().unwrap()).collect();
    rig.now = slots.last().unwrap().at() + ms(3_000);
    let starts: Vec<_> = slots
        .iter_mut()
        .map(|slot| slot.claim(rig.now).saturating_duration_since(rig.now))
        .collect();
    let noise = 5;
    let expected = [0, 0, 0, 200, 400, 600, 800].map(|at: u64| ms(at.saturating_sub(noise)));
    assert_eq!(starts, expected);
}

proptest! {
    /// Started late or on time, in any window there are no more calls than a burst and what the
    /// rate gives, and whoever is on time within what timers err is not kept longer.
    #[test]
    fn calls_that_are_made_keep_the_pace(
        steps in prop::collection::vec((0_u64..900, 0_u64..2_000, any::<bool>()), 1..60),
    ) {
        let settings = Settings { max_queue: 1_000, ..FIVE };
        let mut rig = Rig::new(settings);
        let mut starts = Vec::new();
        for (pause, stall, is_held_up) in steps {
            rig.now += ms(pause);
            let mut slot = rig.reserve().unwrap();
            rig.now = rig.now.max(slot.at()) + if is_held_up { ms(stall) } else { ms(stall % 5) };
            let at = slot.claim(rig.now);
            slot.start(at, WALL).unwrap();
            starts.push(at);
        }
        starts.sort_unstable();
        for (first, from) in starts.iter().enumerate() {
            for (calls, to) in (1_u32..).zip(&starts[first..]) {
                let least = ms(200) * calls.saturating_sub(3);
                prop_assert!(*to - *from + ms(5) >= least, "{calls} in {:?}", *to - *from);
            }
        }
    }
}

/// Three times what the pace takes, for as long as you like: whoever gets a place has a short wait,
/// every place is used, and soon after the end the queue is empty.
#[test]
fn an_overload_leaves_no_queue_behind() {
    let rate = Some(Rate { per_second: 100.0, burst: 5 });
    let patience = patience::Settings::default();
    let mut rig = Rig::new(Settings { rate, daily_budget: None, max_queue: 256, patience, ..FIVE });
    let (mut taken, mut waits, mut waiting) = (0_u32, Vec::new(), VecDeque::new());
    for _ in 0..3_000 {
        if let Ok(slot) = rig.reserve() {
            waits.push((rig.now - rig.start, slot.at() - rig.now));
            waiting.push_back(slot);
        }
        rig.now += Duration::from_micros(3_333);
        while waiting.front().is_some_and(|slot: &Slot| slot.at() <= rig.now) {
            taken += u32::from(waiting.pop_front().unwrap().start(rig.now, WALL).is_ok());
        }
    }
    assert!((1_000..1_050).contains(&taken), "{taken} of 1,000 places in ten seconds");
    let late = waits.iter().filter(|(at, _)| *at > ms(4_000)).map(|(_, wait)| *wait).max();
    assert!(late.unwrap() <= ms(260), "{late:?}");
    rig.now += ms(260);
    drop(waiting);
    assert_eq!(rig.offset(&rig.reserve().unwrap()), (rig.now - rig.start).as_millis());
}

/// A slow pace lets a few stand in its queue, and who comes after a pause waits as long as it takes.
#[test]
fn a_few_may_always_wait() {
    let patience = patience::Settings::default();
    let mut rig = Rig::new(Settings { max_queue: 100, patience, ..FIVE });
    let mut slots: Vec<_> = (0..30).map(|_| rig.reserve().unwrap()).collect();
    assert_eq!(slots.len(), 30, "all of a burst");
    rig.now += ms(1_001);
    assert_eq!(reason(rig.reserve()), Reason::StandingQueue);
    slots.truncate(9);
    rig.now += ms(0);
    let mut joined = 0;
    while let Ok(slot) = rig.reserve() {
        slots.push(slot);
        joined += 1;
    }
    assert!((1..=5).contains(&joined), "{joined}");
}

/// A call that was ready and then not made, for want of time or of a permit, keeps nobody waiting.
/// Were it counted, those behind it would come too late in turn, and so on for ever.
#[test]
fn who_is_not_called_after_all_is_not_waited_for() {
    let mut rig = Rig::new(FIVE);
    for _ in 0..20 {
        let mut slot = rig.reserve().unwrap();
        assert_eq!(slot.claim(rig.now), rig.now);
        assert_eq!(slot.claim(rig.now), rig.now, "it is claimed once");
        drop(slot);
    }
    // A claim of long ago gives nothing to those of today.
    let mut early = rig.reserve().unwrap();
    assert_eq!(early.claim(rig.now), rig.now);
    rig.now += ms(60_000);
    let mut slots: Vec<_> = (0..5).map(|_| rig.reserve().unwrap()).collect();
    rig.now += ms(10_000);
    let _first = slots[0].claim(rig.now);
    drop(early);
    let waits = slots.iter_mut().map(|slot| slot.claim(rig.now).saturating_duration_since(rig.now));
    assert_eq!(waits.collect::<Vec<_>>(), [0, 0, 0, 195, 395].map(ms));
}

proptest! {
    /// Many are ready together, and some of them are not made after all: those that are made keep the
    /// pace.
    #[test]
    fn calls_that_are_made_keep_the_pace_whoever_is_not(
        steps in prop::collection::vec((0_u64..500, 0_u8..4), 1..200),
    ) {
        let mut rig = Rig::new(Settings { max_queue: 1_000, daily_budget: None, ..FIVE });
        let (mut ready, mut starts) = (Vec::<(Instant, Slot)>::new(), Vec::new());
        for (pause, event) in steps {
            rig.now += ms(pause);
            while let Some(due) = ready.iter().position(|(at, _)| *at <= rig.now) {
                let (at, slot) = ready.remove(due);
                slot.start(at, WALL).unwrap();
                starts.push(at);
            }
            if event == 0 && !ready.is_empty() {
                drop(ready.remove(0));
            } else {
                let mut slot = rig.reserve().unwrap();
                ready.push((slot.claim(rig.now), slot));
            }
        }
        starts.sort_unstable();
        for (first, from) in starts.iter().enumerate() {
            for (calls, to) in (1_u32..).zip(&starts[first..]) {
                let least = ms(200) * calls.saturating_sub(3);
                prop_assert!(*to - *from + ms(5) >= least, "{calls} in {:?}", *to - *from);
            }
        }
    }
}
