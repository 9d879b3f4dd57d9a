//! The limit against a model of an upstream: places, a queue before them, a service time.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const MOST: u32 = 64;

/// How long the upstream serves one call, in terms of its usual time.
#[derive(Debug, Clone, Copy)]
enum Service {
    Always,
    /// From 80 to 120 %.
    Even,
    /// Memoryless: as uneven as service times usually get.
    Exponential,
}

/// An upstream under load: whoever asks does so at once and for ever, as the limit allows.
struct Model {
    places: usize,
    seconds: f64,
    service: Service,
    demand: u32,
    /// Share of calls that fail, however many there are.
    fails: f64,
    limit: Limit,
    now: f64,
    /// Ends of what is served.
    served: Vec<(f64, f64, Begun)>,
    queued: VecDeque<(f64, Begun)>,
    chance: fastrand::Rng,
}

impl Model {
    fn new(places: usize, service: Service) -> Self {
        Self {
            places,
            seconds: 0.1,
            service,
            demand: u32::MAX,
            fails: 0.0,
            limit: Limit::new(MOST),
            now: 0.0,
            served: vec![],
            queued: VecDeque::new(),
            chance: fastrand::Rng::with_seed(7),
        }
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.served.len() + self.queued.len()).unwrap()
    }

    fn serve(&mut self) {
        while self.served.len() < self.places {
            let Some((asked, begun)) = self.queued.pop_front() else { return };
            let chance = self.chance.f64();
            let share = match self.service {
                Service::Always => 1.0,
                Service::Even => 0.8 + 0.4 * chance,
                Service::Exponential => -(1.0 - chance).ln(),
            };
            self.served.push((self.now + self.seconds * share, asked, begun));
        }
    }

    /// Until one call ended.
    fn one(&mut self) {
        while self.in_flight() < self.demand && self.limit.admits(self.in_flight()) {
            let begun = self.limit.begins(self.in_flight() + 1);
            self.queued.push_back((self.now, begun));
        }
        self.serve();
        let next =
            (0..self.served.len()).min_by(|a, b| self.served[*a].0.total_cmp(&self.served[*b].0));
        let (now, asked, begun) = self.served.swap_remove(next.unwrap());
        self.now = now;
        let took = Duration::from_secs_f64(now - asked);
        let fails = self.chance.f64() < self.fails;
        self.limit.ended(begun, if fails { End::Overloaded } else { End::Answered(took) });
        self.serve();
    }

    fn run(&mut self, calls: u32) -> f64 {
        (0..calls).for_each(|_| self.one());
        self.limit.places()
    }

    /// The least and the highest limit of so many calls, and calls a second.
    fn watch(&mut self, calls: u32) -> (f64, f64, f64) {
        let start = self.now;
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for _ in 0..calls {
            let limit = self.run(1);
            (least, most) = (least.min(limit), most.max(limit));
        }
        (least, most, f64::from(calls) / (self.now - start))
    }
}

#[test]
fn it_settles_where_all_places_are_used_and_few_calls_queue() {
    for service in [Service::Always, Service::Even] {
        for places in [2_u32, 4, 8, 10, 16, 30] {
            let mut model = Model::new(usize::try_from(places).unwrap(), service);
            model.run(5_000);
            // Long enough that any drift would show.
            let (least, most, rate) = model.watch(50_000);
            let places = f64::from(places);
            let is_within = least >= places && most <= 2.0 * places + 4.0;
            assert!(is_within, "{service:?} {places}: {least}..{most}");
            assert!(rate > 0.97 * places / 0.1, "{service:?} {places}: {rate}");
        }
    }
}

#[test]
fn uneven_service_times_move_it_but_it_stays_about_there() {
    for places in [4_u32, 10, 20] {
        let mut model = Model::new(usize::try_from(places).unwrap(), Service::Exponential);
        model.run(2_000);
        let (least, most, rate) = model.watch(50_000);
        let places = f64::from(places);
        let is_within = least >= 0.75 * places && most <= 3.0 * places + 8.0;
        assert!(is_within, "{places}: {least}..{most}");
        assert!(rate > 0.95 * places / 0.1, "{places}: {rate}");
    }
}

#[test]
fn one_place_gets_a_short_queue() {
    let mut model = Model::new(1, Service::Even);
    model.run(5_000);
    let (least, most, _) = model.watch(5_000);
    assert!(least >= 4.0 && most <= 8.0, "{least}..{most}");
}

#[test]
fn an_upstream_with_room_gets_all_that_is_allowed() {
    let mut model = Model::new(1_000, Service::Even);
    model.run(1_000);
    let (least, most, rate) = model.watch(20_000);
    assert!(least >= 63.0 && most <= 64.0, "{least}..{most}");
    // What the dips cost.
    assert!(rate > 0.95 * 640.0, "{rate}");
}

#[test]
fn it_falls_within_fifty_calls_when_half_of_the_places_are_lost_and_comes_back() {
    for places in [8, 10, 16] {
        let mut model = Model::new(places, Service::Even);
        let before = model.run(5_000);
        model.places = places / 2;
        let after = model.run(50);
        assert!(after < 0.9 * before, "{places}: {before} to {after}");
        let (least, most, _) = {
            model.run(150);
            model.watch(3_000)
        };
        let half = f64::from(u32::try_from(places / 2).unwrap());
        assert!(least >= half && most <= 2.0 * half + 4.0, "{places}: {least}..{most}");
        model.places = places;
        let again = model.run(300);
        assert!(again > 0.9 * before, "{places}: {before} to {again}");
    }
}

#[test]
fn an_upstream_that_is_slow_by_itself_gets_less_until_that_is_normal() {
    let mut model = Model::new(1_000, Service::Even);
    let before = model.run(2_000);
    model.seconds = 1.0;
    let soon = model.run(300);
    assert!(soon < before / 3.0, "{before} to {soon}");
    // Not forgotten at once,
    let later = model.run(300);
    assert!(later < before / 3.0, "{before} to {later}");
    // and not a reason to ask for less and less.
    let (least, ..) = model.watch(4_000);
    assert!(least >= 4.0, "{least}");
    let normal = model.run(1);
    assert!(normal > 0.9 * before, "{before} to {normal}");
    // Fast again, and soon with less room than it seemed to have.
    model.seconds = 0.1;
    model.places = 8;
    model.run(8_000);
    let (least, most, _) = model.watch(1_000);
    assert!(least >= 8.0 && most <= 26.0, "{least}..{most}");
}

#[test]
fn with_little_traffic_it_stays() {
    let mut model = Model::new(1_000, Service::Even);
    let start = model.limit.places();
    model.demand = 4;
    for seconds in [0.1, 1.0, 0.01] {
        model.seconds = seconds;
        assert_eq!(model.watch(1_000).0.to_bits(), start.to_bits());
        assert_eq!(model.limit.places().to_bits(), start.to_bits());
        assert!(model.limit.admits(15) && !model.limit.admits(16));
    }
    let calm = model.limit.calm.time().unwrap();
    assert!((0.008..0.02).contains(&calm), "{calm}");
}

#[test]
fn a_batch_of_time_outs_is_one_event() {
    let mut limit = Limit::new(MOST);
    let calls: Vec<_> = (1..=16).map(|n| limit.begins(n)).collect();
    calls.iter().for_each(|call| limit.ended(*call, End::Overloaded));
    assert!((limit.places() - 14.4).abs() < 1e-9, "{}", limit.places());
    // The next round trip is another.
    let calls: Vec<_> = (1..=14).map(|n| limit.begins(n)).collect();
    calls.iter().for_each(|call| limit.ended(*call, End::Overloaded));
    assert!((limit.places() - 12.96).abs() < 1e-9, "{}", limit.places());
}

#[test]
fn failures_that_are_not_the_load_s_leave_enough() {
    for (fails, enough) in [(0.01, 30.0), (0.1, 12.0), (0.3, 8.0)] {
        let mut model = Model::new(1_000, Service::Even);
        model.fails = fails;
        model.run(2_000);
        let limits: Vec<f64> = (0..5_000).map(|_| model.run(1)).collect();
        let mean = limits.iter().sum::<f64>() / 5_000.0;
        assert!(mean > enough, "{fails}: {mean}");
    }
}

#[test]
fn an_upstream_that_turns_away_what_is_too_much_is_left_alone() {
    let (mut limit, places) = (Limit::new(MOST), 6);
    let (mut served, mut turned_away) = (VecDeque::new(), 0);
    for _ in 0..1_000 {
        while limit.admits(u32::try_from(served.len()).unwrap()) {
            let call = limit.begins(u32::try_from(served.len()).unwrap() + 1);
            if served.len() < places {
                served.push_back(call);
            } else {
                turned_away += 1;
                limit.ended(call, End::Overloaded);
            }
        }
        limit.ended(served.pop_front().unwrap(), End::Answered(Duration::from_millis(100)));
    }
    // One in six: what it costs to find out that there are no more places.
    assert!(turned_away < 220, "{turned_away}");
    assert!((4.0..=8.0).contains(&limit.places()), "{}", limit.places());
}

#[test]
fn a_hang_leaves_the_least_and_it_comes_back() {
    let mut limit = Limit::new(MOST);
    for _ in 0..100 {
        let call = limit.begins(1);
        limit.ended(call, End::Overloaded);
    }
    assert_eq!(limit.places().to_bits(), LEAST.to_bits());
    assert!(limit.admits(1) && !limit.admits(2));
    let mut model = Model::new(10, Service::Even);
    model.limit = limit;
    assert!(model.run(400) > 10.0);
}

#[test]
fn the_bounds_hold_for_one_place_too() {
    for most in [0, 1, 2, 3] {
        let mut model = Model::new(10, Service::Even);
        model.limit = Limit::new(most);
        let bound = f64::from(most.max(1));
        let (_, highest, _) = model.watch(2_000);
        assert!(highest <= bound && !model.limit.admits(most.max(1)), "{most}: {highest}");
        assert!(model.limit.admits(0));
    }
}

proptest! {
    /// Whatever happens, it is within its bounds, and one call may always be made.
    #[test]
    fn it_stays_within_its_bounds(
        most in 0_u32..100,
        ends in prop::collection::vec((0_u8..6, 0_u64..u64::MAX / 2, any::<bool>()), 1..400),
    ) {
        let mut limit = Limit::new(most);
        let mut begun = VecDeque::new();
        for (kind, micros, begins) in ends {
            let in_flight = u32::try_from(begun.len()).unwrap();
            if begins && limit.admits(in_flight) {
                begun.push_back(limit.begins(in_flight + 1));
            } else if let Some(call) = begun.pop_front() {
                limit.ended(call, match kind {
                    0 => End::Overloaded,
                    1 => End::Silent,
                    2 => End::Answered(Duration::ZERO),
                    3 => End::Answered(Duration::from_micros(micros)),
                    _ => End::Answered(Duration::from_micros(micros % 10_000)),
                });
            }
            let bound = f64::from(most.max(1));
            prop_assert!((LEAST.min(bound)..=bound).contains(&limit.places()));
            prop_assert!(limit.admits(0) && !limit.admits(most.max(1)));
        }
    }
}
