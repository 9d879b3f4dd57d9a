//! What became of the requests of a load.
//!
//! Owns: the counts and the times, and reading the two marks in a body. Has no neighbour.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Course;
use super::wire::Answer;

/// Where in a body the two marks are looked for: so many bytes at its start and at its end.
const MARGIN: usize = 512;

/// What became of the requests.
pub(crate) struct Tally {
    /// Answers by status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Answers with status 200 that hold what was wanted.
    pub(crate) good: u64,
    /// Good answers marked as stale.
    pub(crate) stale: u64,
    /// Connections that failed.
    pub(crate) errors: u64,
    /// Requests without an answer when time was up.
    pub(crate) left_waiting: u64,
    /// Answers in each second.
    pub(crate) by_second: Vec<u64>,
    /// Times to the answer, in microseconds.
    pub(crate) times: Histogram<u64>,
    /// How long it took.
    pub(crate) lasted: Duration,
}

impl fmt::Debug for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tally")
            .field("statuses", &self.statuses)
            .field("good", &self.good)
            .field("stale", &self.stale)
            .field("errors", &self.errors)
            .field("left_waiting", &self.left_waiting)
            .field("by_second", &self.by_second)
            .finish_non_exhaustive()
    }
}

impl Tally {
    pub(super) fn new() -> io::Result<Self> {
        let times = Histogram::new_with_bounds(1, 600_000_000, 3).map_err(io::Error::other)?;
        Ok(Self {
            statuses: BTreeMap::new(),
            good: 0,
            stale: 0,
            errors: 0,
            left_waiting: 0,
            by_second: Vec::new(),
            times,
            lasted: Duration::ZERO,
        })
    }

    /// Answers of any kind.
    pub(crate) fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Everything that was asked and should have been answered.
    pub(crate) fn asked(&self) -> u64 {
        self.answers() + self.errors + self.left_waiting
    }

    /// Good answers a second.
    pub(crate) fn good_per_second(&self) -> f64 {
        let good = u32::try_from(self.good).unwrap_or(u32::MAX);
        f64::from(good) / self.lasted.as_secs_f64()
    }

    /// The time that `share` (0 to 1) of the requests did not exceed.
    pub(crate) fn time(&self, share: f64) -> Duration {
        Duration::from_micros(self.times.value_at_quantile(share))
    }

    pub(super) fn count(&mut self, answer: &Answer, course: &Course, second: usize) {
        *self.statuses.entry(answer.status).or_default() += 1;
        if self.by_second.len() <= second {
            self.by_second.resize(second + 1, 0);
        }
        if let Some(answers) = self.by_second.get_mut(second) {
            *answers += 1;
        }
        let first = answer.body.get(..MARGIN).unwrap_or(answer.body);
        let last = answer.body.len().saturating_sub(MARGIN);
        let last = answer.body.get(last..).unwrap_or_default();
        if answer.status == 200 && holds(first, &course.good) {
            self.good += 1;
            self.stale += u64::from(holds(last, &course.stale));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.good += other.good;
        self.stale += other.stale;
        self.errors += other.errors;
        self.left_waiting += other.left_waiting;
        self.by_second.resize(self.by_second.len().max(other.by_second.len()), 0);
        self.by_second.iter_mut().zip(&other.by_second).for_each(|(own, others)| *own += others);
        // Both have the same bounds.
        self.times.add(&other.times).ok();
        self.lasted = self.lasted.max(other.lasted);
    }
}

fn holds(text: &[u8], part: &str) -> bool {
    text.windows(part.len().max(1)).any(|window| window == part.as_bytes())
}
