//! Calls that nobody waits for: what they are given, and what that costs those who wait.

use super::*;

const SEVEN: Settings = Settings { rate: Some(Rate { per_second: 5.0, burst: 7 }), ..FIVE };
const BACKGROUND: [Priority; 2] = [Priority::Refresh, Priority::Warming];

impl Rig {
    fn spare(&self, priority: Priority) -> Result<Slot, Refused> {
        self.pacing.reserve_spare(priority, self.now, WALL.plus(self.now - self.start))
    }

    /// As many calls of this priority as are given a place now; they are made.
    fn use_up(&self, priority: Priority) -> usize {
        let given =
            |_: &usize| self.spare(priority).is_ok_and(|slot| slot.start(self.now, WALL).is_ok());
        (0..1_000).take_while(given).count()
    }
}

#[test]
fn a_refresh_leaves_half_of_the_burst_and_warming_all_but_one() {
    for (priority, given, wait) in [(Priority::Refresh, 3, 200), (Priority::Warming, 1, 200)] {
        let mut rig = Rig::new(SEVEN);
        assert_eq!(rig.use_up(priority), given);
        let refused = rig.spare(priority).unwrap_err();
        assert_eq!(refused, Refused { reason: Reason::KeptForClients, retry_after: ms(wait) });
        rig.now += ms(wait - 1);
        assert_eq!(rig.use_up(priority), 0);
        rig.now += ms(1);
        assert_eq!(rig.use_up(priority), 1);
        let clients: Vec<_> = (0..8).map(|_| rig.reserve().unwrap()).collect();
        let at_once = clients.iter().filter(|slot| slot.at() == rig.now).count();
        assert_eq!(at_once, 7 - given);
    }
}

#[test]
fn with_a_burst_of_one_it_goes_when_nothing_else_does() {
    let mut rig = Rig::new(Settings { rate: Some(Rate { per_second: 5.0, burst: 1 }), ..FIVE });
    for priority in BACKGROUND {
        assert_eq!(rig.use_up(priority), 1);
        let client = rig.reserve().unwrap();
        assert_eq!(client.at(), rig.now + ms(200));
        assert_eq!(rig.use_up(priority), 0, "a client is queued");
        rig.now += ms(200);
        client.start(rig.now, WALL).unwrap();
        rig.now += ms(200);
    }
}

#[test]
fn one_given_back_costs_nothing() {
    let mut rig = Rig::new(FIVE);
    for _ in 0..100 {
        drop(rig.spare(Priority::Warming).unwrap());
        rig.now += Duration::from_micros(1);
    }
    assert_eq!(rig.snapshot().spent_today, 0);
    let slots: Vec<_> = (0..4).map(|_| rig.reserve().unwrap()).collect();
    assert_eq!(slots.iter().filter(|slot| slot.at() == rig.now).count(), 3);
}

#[test]
fn no_ban_is_waited_out() {
    let rig = Rig::new(FIVE);
    rig.pacing.ban(rig.now, ms(10));
    for priority in BACKGROUND {
        let until = WALL.plus(ms(10));
        let refused = Refused { reason: Reason::Banned { until }, retry_after: ms(10) };
        assert_eq!(rig.spare(priority).unwrap_err(), refused);
    }
}

#[test]
fn the_end_of_the_days_budget_is_for_clients() {
    let mut rig = Rig::new(Settings { daily_budget: Some(20), ..FIVE });
    let mut spent = [0, 0];
    for (priority, spent) in BACKGROUND.into_iter().rev().zip(&mut spent) {
        for _ in 0..100 {
            rig.now += ms(1_000);
            *spent += rig.use_up(priority).min(1);
        }
        let refused = rig.spare(priority).unwrap_err();
        assert_eq!(refused.reason, Reason::KeptForClients);
        let wall = WALL.plus(rig.now - rig.start).plus(refused.retry_after);
        assert_eq!(wall.as_millis() % 86_400_000, 0, "until the next day");
    }
    assert_eq!((spent, rig.snapshot().budget_remaining), ([10, 8], Some(2)));
    for _ in 0..2 {
        rig.now += ms(1_000);
        rig.reserve().unwrap().start(rig.now, WALL).unwrap();
    }
    let spent = rig.spare(Priority::Refresh).unwrap_err().reason;
    assert!(matches!(spent, Reason::BudgetSpent { .. }), "{spent:?}");
}

#[test]
fn unpaced_it_is_given_unless_banned() {
    let rig = Rig::new(Settings { rate: None, daily_budget: None, ..FIVE });
    assert_eq!(BACKGROUND.map(|priority| rig.use_up(priority)), [1_000; 2]);
    rig.pacing.ban(rig.now, ms(500));
    let waiting = rig.reserve().unwrap();
    assert_eq!(BACKGROUND.map(|priority| rig.use_up(priority)), [0; 2]);
    rig.pacing.lift_ban();
    assert_eq!(BACKGROUND.map(|priority| rig.use_up(priority)), [1_000; 2]);
    drop(waiting);
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Client,
    Background { priority: Priority, made: bool },
    Wait { millis: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let background = (any::<bool>(), prop::bool::weighted(0.8)).prop_map(|(warming, made)| {
        let priority = if warming { Priority::Warming } else { Priority::Refresh };
        Event::Background { priority, made }
    });
    let event = prop_oneof![
        3 => Just(Event::Client),
        4 => background,
        4 => (0_u64..50).prop_map(|tens| Event::Wait { millis: 10 * tens }),
        1 => (0_u64..300).prop_map(|tens| Event::Wait { millis: 10 * tens }),
    ];
    prop::collection::vec(event, 1..200)
}

/// The same clients before two pacings, one of which is asked for background calls too.
struct Pair {
    with: Rig,
    without: Rig,
    held: [Vec<Slot>; 2],
    started: [Vec<Instant>; 2],
}

impl Pair {
    fn new(burst: u32) -> Self {
        let rate = Some(Rate { per_second: 5.0, burst });
        let rig = || Rig::new(Settings { rate, daily_budget: None, max_queue: 1_000, ..FIVE });
        let (with, mut without) = (rig(), rig());
        (without.start, without.now) = (with.start, with.now);
        Self { with, without, held: <[Vec<_>; 2]>::default(), started: <[Vec<_>; 2]>::default() }
    }

    /// How much longer a client waits because of background calls.
    fn client(&mut self) -> Duration {
        let slots = [&self.with, &self.without].map(|rig| rig.reserve().unwrap());
        let [with, without] = slots.each_ref().map(Slot::at);
        for (held, slot) in self.held.iter_mut().zip(slots) {
            held.push(slot);
        }
        assert!(with >= without, "a background call cannot make anybody earlier");
        with - without
    }

    fn background(&mut self, priority: Priority, made: bool, burst: u32) {
        let queued = self.with.snapshot().queue;
        let Ok(slot) = self.with.spare(priority) else { return };
        assert_eq!((slot.at(), queued), (self.with.now, 0), "at once, and past nobody");
        let kept: Vec<_> = (0..background::kept_places(priority, burst))
            .map(|_| self.with.reserve().unwrap())
            .collect();
        assert!(kept.iter().all(|client| client.at() == self.with.now), "the reserve is there");
        drop(kept);
        if made {
            slot.start(self.with.now, WALL).unwrap();
            self.started[0].push(self.with.now);
        }
    }

    fn wait(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            start_due(&self.with, &mut self.held[0], &mut self.started[0]);
            start_due(&self.without, &mut self.held[1], &mut self.started[1]);
            self.with.now += ms(10);
            self.without.now += ms(10);
        }
    }
}

proptest! {
    /// Whatever is asked for in the background: a client's call starts no earlier, and later by at
    /// most as many slots as the background may take of the burst: one if only warming asks, half
    /// of the burst, at least one, if refreshes do. Calls of all kinds together keep the rate.
    #[test]
    fn no_client_waits_much_longer(
        events in events(), burst in 1_u32..8, refreshes in any::<bool>()
    ) {
        let mut pair = Pair::new(burst);
        let slots = if refreshes { (burst / 2).max(1) } else { 1 };
        for event in events {
            match event {
                Event::Client => {
                    let later = pair.client();
                    prop_assert!(later <= ms(200) * slots, "{later:?} later, {slots} slots");
                }
                Event::Background { priority: Priority::Refresh, .. } if !refreshes => {}
                Event::Background { priority, made } => pair.background(priority, made, burst),
                Event::Wait { millis } => pair.wait(millis),
            }
        }
        let started = &mut pair.started[0];
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
