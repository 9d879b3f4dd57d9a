//! Back-off: waits that double with every further failure, up to a longest one.
//!
//! Owns: the length of a wait as a plain function of the attempt and of chance. Jitter spreads callers
//! that failed together, so that they do not come back together.

use std::time::Duration;

/// The first wait and the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row: `first` after the first one, nothing after none.
    pub fn wait(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        self.first.saturating_mul(2_u32.saturating_pow(doublings)).min(self.longest)
    }

    /// Between half of that wait and all of it; `chance` is between 0 and 1.
    pub fn jittered(self, failures: u32, chance: f64) -> Duration {
        let chance = if chance.is_nan() { 1.0 } else { chance.clamp(0.0, 1.0) };
        self.wait(failures).mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(3_600) };

    #[test]
    fn it_doubles_up_to_the_longest() {
        let waits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, u32::MAX].map(|n| BACKOFF.wait(n).as_secs());
        assert_eq!(waits, [0, 30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
    }

    proptest! {
        #[test]
        fn jitter_takes_away_half_at_most(
            failures: u32,
            chance in prop_oneof![0.0..=1.0, Just(f64::NAN), Just(-1.0), Just(9.0)],
        ) {
            let (whole, part) = (BACKOFF.wait(failures), BACKOFF.jittered(failures, chance));
            prop_assert!(whole / 2 <= part && part <= whole, "{part:?} of {whole:?}");
        }
    }
}
