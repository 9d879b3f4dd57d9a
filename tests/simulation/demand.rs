//! When questions come.
//!
//! Owns: the curve of a day and the seeded arrivals along it (a Poisson process, thinned). The
//! questions are those that caches could not answer.

use std::f64::consts::TAU;
use std::ops::Range;
use std::time::Duration;

/// Longest a question is worth waiting for, as with the settings' defaults.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

const DAY: f64 = 24.0 * 3_600.0;
/// When most is asked, apart from the crowds.
const BUSIEST: f64 = 14.0 * 3_600.0;

/// How many questions come a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demand {
    /// In the middle of the night.
    pub(crate) least: f64,
    /// In the afternoon.
    pub(crate) most: f64,
    /// At noon, for five minutes: somebody wrote about the shop.
    pub(crate) noon: f64,
    /// While something is on sale: [`RUSH`].
    pub(crate) rush: f64,
}

const NOON: Range<Duration> = minutes(12, 30, 5);
/// Everybody was told of the sale.
pub(crate) const RUSH: Range<Duration> = minutes(18, 30, 4);

const fn minutes(hour: u64, minute: u64, minutes: u64) -> Range<Duration> {
    let from = (hour * 60 + minute) * 60;
    Duration::from_secs(from)..Duration::from_secs(from + minutes * 60)
}

impl Demand {
    /// Questions a second at a moment: a sine over the day, sharpened, and the two crowds.
    fn per_second(&self, at: f64) -> f64 {
        let crowds = [(NOON, self.noon), (RUSH, self.rush)];
        let now = |(time, _): &&(Range<Duration>, f64)| time.contains(&Duration::from_secs_f64(at));
        if let Some((_, per_second)) = crowds.iter().find(now) {
            return *per_second;
        }
        let swing = (1.0 + ((at - BUSIEST) / DAY * TAU).cos()) / 2.0;
        self.least + (self.most - self.least) * swing.powi(8)
    }

    /// The moments of a day's questions, since midnight.
    pub(crate) fn arrivals(&self, seed: u64) -> Vec<Duration> {
        let (mut dice, mut at, mut arrivals) = (fastrand::Rng::with_seed(seed), 0.0, Vec::new());
        let highest = self.most.max(self.noon).max(self.rush);
        loop {
            // 1 - f64() is never zero.
            at -= (1.0 - dice.f64()).ln() / highest;
            if at >= DAY {
                return arrivals;
            }
            if dice.f64() * highest < self.per_second(at) {
                arrivals.push(Duration::from_secs_f64(at));
            }
        }
    }
}
