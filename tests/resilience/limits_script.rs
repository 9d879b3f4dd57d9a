//! The script of the shared limits against a plain model, decision by decision.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::limits_rig::{BEGIN, Script};

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

    const fn arguments(self) -> [u64; 5] {
        [self.limit, self.tokens, self.period, self.burst, self.unit()]
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
    /// The script's numbers.
    fn ask(&mut self, rules: Rules, now: u64) -> Vec<i64> {
        let unit = rules.unit();
        let (tokens, period) = (u128::from(rules.tokens), u128::from(rules.period));
        self.stamps.retain(|stamp| stamp + MINUTE > now);
        let used = u64::try_from(self.stamps.len()).unwrap();
        let weight = 1.min(rules.limit);
        let excess = (used + weight).saturating_sub(rules.limit);
        let wait_minute = match excess {
            0 => 0,
            _ => self.stamps[usize::try_from(excess - 1).unwrap()] + MINUTE - now,
        };
        let scaled = u128::from(now) * tokens;
        let capacity = u128::from(rules.burst) * period;
        let debt = self.full.saturating_sub(scaled) + period;
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
    let mut script = Script::start().keeping();
    let steps = prop::collection::vec((wait(), prop_oneof![8 => 1..4_u32, 1 => 1..60_u32]), 1..60);
    let cell = std::cell::RefCell::new(&mut script);
    let mut runner = TestRunner::new(Config::with_cases(128));
    let outcome = runner.run(&(rules(), steps), |(rules, steps)| {
        let mut script = cell.borrow_mut();
        let mut now = 0;
        script.begin(now);
        let mut model = Model::default();
        for (wait, times) in steps {
            now += wait;
            script.turn_clock(now);
            for _ in 0..times {
                let told = script.run(KEY, &rules.arguments());
                prop_assert_eq!(told, model.ask(rules, BEGIN + now), "at {}", now);
            }
        }
        Ok(())
    });
    script.stop();
    outcome.unwrap();
}

/// Asks so often; the last numbers.
fn asked(script: &mut Script, rules: Rules, times: usize) -> Vec<i64> {
    (0..times).map(|_| script.run(KEY, &rules.arguments())).last().unwrap()
}

#[test]
fn what_is_not_ours_is_overwritten() {
    let mut script = Script::start();
    let rules = Rules { limit: 10, tokens: 5, period: 1_000_000, burst: 5 };
    for junk in [&["SET", KEY, "x"][..], &["RPUSH", KEY, "x", "y"], &["SADD", KEY, "1"]] {
        script.begin(0);
        script.command::<()>(junk);
        assert_eq!(script.run(KEY, &rules.arguments())[..4], [1, 0, 0, 9], "{junk:?}");
        assert_eq!(script.run(KEY, &rules.arguments())[..4], [1, 0, 0, 8], "{junk:?}");
    }
    script.stop();
}

#[test]
fn a_clock_that_is_put_back_locks_nobody_out() {
    let mut script = Script::start();
    let rules = Rules { limit: 10, tokens: 10, period: 1_000_000, burst: 10 };
    script.begin(3_600_000_000);
    assert_eq!(asked(&mut script, rules, 10)[..4], [1, 0, 0, 0]);
    script.turn_clock(0);
    let refused = script.run(KEY, &rules.arguments());
    assert_eq!(refused[0], 0, "what was used counts");
    assert!(refused[1] <= 60_001_000 && refused[2] <= 1_000_000, "for a minute: {refused:?}");
    script.turn_clock(60_001_000);
    assert_eq!(asked(&mut script, rules, 10)[0], 1);
    script.stop();
}

#[test]
fn a_key_lives_as_long_as_it_matters_and_stays_small() {
    let mut script = Script::start();
    let rules = Rules { limit: 1_000, tokens: 0, period: 0, burst: 0 };
    script.begin(0);
    for step in 0..1_000 {
        script.turn_clock(step * 10_000);
        assert_eq!(script.run(KEY, &rules.arguments())[0], 1);
    }
    assert_eq!(script.run(KEY, &rules.arguments())[0], 0);
    let life: i64 = script.command(&["PTTL", KEY]);
    assert!((59_000..=61_001).contains(&life), "{life}");
    let bytes: i64 = script.command(&["MEMORY", "USAGE", KEY]);
    eprintln!("a thousand instants take {bytes} bytes in Redis");
    assert!(bytes < 80_000, "{bytes}");
    script.stop();
}
