//! The script of the shared limits against a plain model, decision by decision.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::limits_rig::Script;

const MINUTE: u64 = 60_000_000;
const KEY: &str = "breakwater:2:limit:{search|203.0.113.7}";

#[derive(Debug, Clone, Copy)]
struct Rules {
    limit: u64,
    tokens: u64,
    period: u64,
    burst: u64,
}

impl Rules {
    const fn unit(self) -> u64 {
        if self.limit > 1_024 { 1_000_000 } else { 1_000 }
    }

    fn arguments(self, cost: u64, pairs: &[(u64, u64)]) -> Vec<u64> {
        let Self { limit, tokens, period, burst } = self;
        let mut all = vec![cost, limit, tokens, period, burst, self.unit(), 0, 1_000_000, 0];
        all.extend(pairs.iter().flat_map(|(age, count)| [*age, *count]));
        all
    }
}

/// Every admission by its stamp, and the bucket as a fraction.
#[derive(Default)]
struct Model {
    stamps: Vec<u64>,
    /// When the bucket is full, in `tokens`-ths of a microsecond.
    full: u128,
}

impl Model {
    /// The script's numbers but for the last three.
    fn ask(&mut self, rules: Rules, now: u64, cost: u64) -> Vec<i64> {
        let unit = rules.unit();
        let (tokens, period) = (u128::from(rules.tokens), u128::from(rules.period));
        self.stamps.retain(|stamp| stamp + MINUTE > now);
        let used = u64::try_from(self.stamps.len()).unwrap();
        let weight = cost.min(rules.limit);
        let excess = (used + weight).saturating_sub(rules.limit);
        let wait_minute = match excess {
            0 => 0,
            _ => self.stamps[usize::try_from(excess - 1).unwrap()] + MINUTE - now,
        };
        let scaled = u128::from(now) * tokens;
        let capacity = u128::from(rules.burst) * period;
        let debt = self.full.saturating_sub(scaled) + u128::from(cost.min(rules.burst)) * period;
        let over = debt.saturating_sub(capacity);
        let wait_burst = if tokens == 0 { 0 } else { over.div_ceil(tokens) };
        let admitted = wait_minute == 0 && wait_burst == 0;
        if admitted {
            let stamp = (now / unit + 1) * unit;
            self.stamps.extend((0..weight).map(|_| stamp));
            self.full = scaled + debt;
        }
        let debt = self.full.saturating_sub(scaled);
        let left = rules.limit - u64::try_from(self.stamps.len()).unwrap().min(rules.limit);
        let reset = self.stamps.last().map_or(0, |stamp| stamp + MINUTE - now);
        let (burst_left, burst_reset) = match tokens {
            0 => (0, 0),
            _ => ((capacity - debt) / period, debt.div_ceil(tokens)),
        };
        let micros = [wait_minute, u64::try_from(wait_burst).unwrap(), left, reset];
        let bucket = [burst_left, burst_reset].map(|number| i64::try_from(number).unwrap());
        let mut numbers = vec![i64::from(admitted)];
        numbers.extend(micros.map(|number| i64::try_from(number).unwrap()));
        numbers.extend(bucket);
        numbers
    }
}

fn rules() -> impl Strategy<Value = Rules> {
    let limit = prop_oneof![Just(0_u64), 1..25_u64, 1_025..1_100_u64];
    let period = prop_oneof![Just(1_000_000_u64), Just(60_000_000)];
    (limit, 0..40_u64, period, 1..12_u64)
        .prop_map(|(limit, tokens, period, burst)| Rules { limit, tokens, period, burst })
        .prop_filter("some rule", |rules| rules.limit > 0 || rules.tokens > 0)
}

fn wait() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => Just(0_u64),
        4 => 0..5_000_u64,
        4 => 0..3_000_000_u64,
        1 => MINUTE - 2_000..MINUTE + 2_000,
    ]
}

#[test]
fn the_script_decides_as_the_plain_model_does() {
    let mut script = Script::start();
    let steps = prop::collection::vec((wait(), prop_oneof![8 => 1..4_u64, 1 => 1..400_u64]), 1..60);
    let cell = std::cell::RefCell::new(&mut script);
    let mut runner = TestRunner::new(Config::with_cases(128));
    let outcome = runner.run(&(rules(), steps), |(rules, steps)| {
        let mut script = cell.borrow_mut();
        let mut now = 0;
        script.begin(now);
        let mut model = Model::default();
        for (wait, cost) in steps {
            now += wait;
            script.turn_clock(now);
            let told = script.run(KEY, &rules.arguments(cost, &[]));
            let begin = u64::try_from(told[9]).unwrap() - now;
            let expected = model.ask(rules, begin + now, cost);
            prop_assert_eq!(&told[..7], &expected[..], "at {} for {}", now, cost);
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn what_was_admitted_elsewhere_counts_from_when_it_was() {
    let mut script = Script::start();
    let rules = Rules { limit: 10, tokens: 0, period: 0, burst: 0 };
    script.begin(0);
    script.turn_clock(30_000_000);
    assert_eq!(script.run(KEY, &rules.arguments(4, &[]))[3], 6);
    // Three twenty seconds ago, two before any that still matter, two five seconds ago.
    let told = [(25_000_000, 3), (61_000_000, 2), (5_000_000, 2)];
    assert_eq!(script.run(KEY, &rules.arguments(1, &told))[3], 0);
    let refused = script.run(KEY, &rules.arguments(1, &[]));
    assert!(
        (34_999_000..=35_001_000).contains(&refused[1]),
        "the oldest leaves first: {refused:?}"
    );
    script.turn_clock(65_001_000);
    assert_eq!(script.run(KEY, &rules.arguments(1, &[]))[3], 2);
    script.stop();
}

#[test]
fn an_old_admission_that_is_told_refills_nothing() {
    let mut script = Script::start();
    let rules = Rules { limit: 60, tokens: 5, period: 1_000_000, burst: 10 };
    script.begin(0);
    script.turn_clock(5_000_000);
    assert_eq!(script.run(KEY, &rules.arguments(10, &[]))[5], 0, "all ten are gone");
    let told = script.run(KEY, &rules.arguments(1, &[(5_000_000, 1)]));
    assert_eq!((told[0], told[5]), (0, 0), "{told:?}");
    assert_eq!(told[2], 200_000, "a bucket never owes more than it holds");
    script.stop();
}

/// What is left of a bucket after all that was admitted, each when it was.
fn left_of(rules: Rules, admitted: &mut [(u64, u64)], now: u64) -> u64 {
    admitted.sort_unstable();
    let (mut debt, mut seen) = (0_u64, 0_u64);
    for (at, count) in admitted.iter().copied().chain([(now, 0)]) {
        debt = debt.saturating_sub((at - seen) * rules.tokens) + count * rules.period;
        seen = at;
    }
    (rules.burst * rules.period).saturating_sub(debt) / rules.period
}

#[test]
fn what_is_told_late_leaves_no_more_than_if_it_had_been_told_at_once() {
    let mut script = Script::start();
    let steps = prop::collection::vec((wait(), any::<bool>(), 1..4_u64), 1..40);
    let period = prop_oneof![Just(1_000_000_u64), Just(60_000_000)];
    let rules = (1..40_u64, period, 1..12_u64);
    let cell = std::cell::RefCell::new(&mut script);
    let mut runner = TestRunner::new(Config::with_cases(128));
    let outcome = runner.run(&(rules, steps), |((tokens, period, burst), steps)| {
        let mut script = cell.borrow_mut();
        let rules = Rules { limit: 1_000, tokens, period, burst };
        let (mut now, mut all, mut untold) = (0, Vec::new(), Vec::new());
        script.begin(now);
        for (wait, elsewhere, count) in steps {
            now += wait;
            script.turn_clock(now);
            if elsewhere {
                untold.push((now, count.min(burst)));
            } else if script.run(KEY, &rules.arguments(count, &[]))[0] == 1 {
                all.push((now, count.min(burst)));
            }
        }
        let ages: Vec<_> = untold.iter().map(|(at, count)| (now - at, *count)).collect();
        let told = script.run(KEY, &rules.arguments(1, &ages));
        all.extend(untold);
        all.extend((told[0] == 1).then_some((now, 1)));
        let most = left_of(rules, &mut all, now);
        let left = u64::try_from(told[5]).unwrap();
        prop_assert!(left <= most, "{} left, of {} at most", left, most);
        prop_assert!(told[2] <= i64::try_from(period.div_ceil(tokens)).unwrap(), "{:?}", told);
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

#[test]
fn permits_on_top_are_counted_and_given_back() {
    let mut script = Script::start();
    script.begin(0);
    let ask = |wanted: u64, back: &[u64]| {
        let returns = u64::try_from(back.len() / 2).unwrap();
        let mut all = vec![1, 10_000, 0, 0, 0, 1_000_000, wanted, 1_000_000, returns];
        all.extend(back);
        all
    };
    let granted = script.run(KEY, &ask(50, &[]));
    assert_eq!((granted[3], granted[7]), (10_000 - 51, 50));
    let stamp = u64::try_from(granted[8]).unwrap();
    assert!(stamp > u64::try_from(granted[9]).unwrap() + 1_000_000, "as of their end");
    script.turn_clock(5_000_000);
    let back = script.run(KEY, &ask(0, &[stamp, 30]));
    assert_eq!(back[3], 10_000 - 51 + 30 - 1);
    let few = script.run(KEY, &ask(64, &[stamp, 1_000]));
    assert_eq!(few[3], 10_000 - 2 - 64, "no more than were granted");
    script.stop();
}

#[test]
fn what_is_given_back_is_given_back_once() {
    let mut script = Script::start();
    let rules = Rules { limit: 10, tokens: 0, period: 0, burst: 0 };
    script.begin(0);
    let charged = script.run(KEY, &rules.arguments(2, &[]));
    // Told of the same instant, which makes another group of the same stamp.
    assert_eq!(script.run(KEY, &rules.arguments(1, &[(0, 3)]))[3], 4);
    let mut back = rules.arguments(1, &[(u64::try_from(charged[8]).unwrap(), 2)]);
    back[8] = 1;
    assert_eq!(script.run(KEY, &back)[3], 5, "two of six are back, and one more is used");
    script.stop();
}

#[test]
fn what_is_not_ours_is_overwritten() {
    let mut script = Script::start();
    let rules = Rules { limit: 10, tokens: 5, period: 1_000_000, burst: 5 };
    for junk in [&["SET", KEY, "x"][..], &["RPUSH", KEY, "x", "y"], &["SADD", KEY, "1"]] {
        script.begin(0);
        script.command::<()>(junk);
        assert_eq!(script.run(KEY, &rules.arguments(1, &[]))[..4], [1, 0, 0, 9], "{junk:?}");
        assert_eq!(script.run(KEY, &rules.arguments(1, &[]))[..4], [1, 0, 0, 8], "{junk:?}");
    }
    script.stop();
}

#[test]
fn a_clock_that_is_put_back_locks_nobody_out() {
    let mut script = Script::start();
    let rules = Rules { limit: 10, tokens: 10, period: 1_000_000, burst: 10 };
    script.begin(3_600_000_000);
    assert_eq!(script.run(KEY, &rules.arguments(10, &[]))[..4], [1, 0, 0, 0]);
    script.turn_clock(0);
    let refused = script.run(KEY, &rules.arguments(1, &[]));
    assert_eq!(refused[0], 0, "what was used counts");
    assert!(refused[1] <= 60_001_000 && refused[2] <= 1_000_000, "for a minute: {refused:?}");
    script.turn_clock(60_001_000);
    assert_eq!(script.run(KEY, &rules.arguments(10, &[]))[0], 1);
    script.stop();
}

#[test]
fn a_key_lives_as_long_as_it_matters_and_stays_small() {
    let mut script = Script::start();
    let rules = Rules { limit: 1_000, tokens: 0, period: 0, burst: 0 };
    script.begin(0);
    for step in 0..1_000 {
        script.turn_clock(step * 10_000);
        assert_eq!(script.run(KEY, &rules.arguments(1, &[]))[0], 1);
    }
    assert_eq!(script.run(KEY, &rules.arguments(1, &[]))[0], 0);
    let life: i64 = script.command(&["PTTL", KEY]);
    assert!((59_000..=61_001).contains(&life), "{life}");
    let bytes: i64 = script.command(&["MEMORY", "USAGE", KEY]);
    eprintln!("a thousand instants take {bytes} bytes in Redis");
    assert!(bytes < 80_000, "{bytes}");
    script.stop();
}
