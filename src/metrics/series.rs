//! What the counters did lately, second by second: the curves of the admin's page.
//!
//! Owns: three rings of points (1 s for 5 min, 10 s for 1 h, 60 s for 24 h). A point is what the exact
//! counters grew by since the point before, so a request pays nothing for it: once a second somebody
//! reads the counters and hands them over. Refuses: to read a clock. A second in which nobody did is a
//! gap, and what was counted meanwhile is part of the next point. About 110 kB, whatever the load.

use std::collections::VecDeque;
use std::time::Duration;

use super::histogram::{LATENCY, LATENCY_BUCKETS};

/// The columns of a point, in this order.
pub(super) const COLUMNS: [&str; WIDTH] = [
    "requests",
    "client_errors",
    "server_errors",
    "limited",
    "memory",
    "redis",
    "database",
    "miss",
    "stale",
    "upstream",
    "upstream_failed",
    "p50_us",
    "p99_us",
];
const COUNTED: usize = 11;
const WIDTH: usize = COUNTED + 2;

/// Nothing was measured.
const GAP: u32 = u32::MAX;

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Requests of clients, and of these those answered with 4xx, 5xx and 429.
    pub requests: u64,
    pub client_errors: u64,
    pub server_errors: u64,
    pub limited: u64,
    /// Lookups, by the tier that answered, or that none did.
    pub memory: u64,
    pub redis: u64,
    pub database: u64,
    pub miss: u64,
    /// Of those answered: past their fresh time.
    pub stale: u64,
    /// Calls to the upstream, and those of no use.
    pub upstream: u64,
    pub upstream_failed: u64,
    /// How long requests took.
    pub latency: [u64; LATENCY_BUCKETS],
}

impl Sample {
    const fn counts(&self) -> [u64; COUNTED] {
        [
            self.requests,
            self.client_errors,
            self.server_errors,
            self.limited,
            self.memory,
            self.redis,
            self.database,
            self.miss,
            self.stale,
            self.upstream,
            self.upstream_failed,
        ]
    }
}

type Point = [u32; WIDTH];

/// What was counted between two samples.
fn point(from: &Sample, to: &Sample) -> Point {
    let grown = |(to, from): (u64, u64)| to.saturating_sub(from);
    let mut latency = to.latency;
    for (bucket, before) in latency.iter_mut().zip(from.latency) {
        *bucket = grown((*bucket, before));
    }
    let counts = to.counts().into_iter().zip(from.counts()).map(grown);
    let counts =
        counts.map(|count| u32::try_from(count).map_or(GAP - 1, |count| count.min(GAP - 1)));
    let times = [50, 99].map(|percent| quantile(&latency, percent).map_or(GAP, micros));
    let mut point = [GAP; WIDTH];
    point.iter_mut().zip(counts.chain(times)).for_each(|(place, value)| *place = value);
    point
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).map_or(GAP - 1, |micros| micros.min(GAP - 1))
}

/// How long so many of a hundred took at most, estimated within the bucket where that lies; `None`
/// when nothing was counted.
fn quantile(buckets: &[u64; LATENCY_BUCKETS], percent: u64) -> Option<Duration> {
    let all: u64 = buckets.iter().sum();
    let wanted = all.saturating_mul(percent).div_ceil(100).max(1);
    let mut below = 0_u64;
    let mut from = 0.0;
    // What is above all bounds is told as the last of them.
    let bounds = LATENCY.into_iter().chain(LATENCY.last().copied());
    for (count, to) in buckets.iter().zip(bounds) {
        let reached = below.saturating_add(*count);
        if reached >= wanted && *count > 0 {
            let part = share(wanted.saturating_sub(below), *count);
            return Duration::try_from_secs_f64((to - from).mul_add(part, from)).ok();
        }
        (below, from) = (reached, to);
    }
    None
}

fn share(part: u64, of: u64) -> f64 {
    let whole = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    whole(part) / whole(of).max(1.0)
}

/// Points at equal distances, the newest last.
#[derive(Debug)]
struct Ring {
    name: &'static str,
    /// Seconds from point to point.
    step: u64,
    most: usize,
    points: VecDeque<Point>,
    /// The second at which the newest point ended.
    end: u64,
    /// The counters as they were then.
    last: Sample,
}

impl Ring {
    fn new(name: &'static str, (step, most): (u64, usize), at: u64, first: Sample) -> Self {
        let points = VecDeque::with_capacity(most);
        Self { name, step, most, points, end: at - at % step, last: first }
    }

    fn take(&mut self, second: u64, sample: &Sample) {
        let end = second - second % self.step;
        let steps = end.saturating_sub(self.end) / self.step;
        if steps == 0 {
            return;
        }
        let missed = usize::try_from(steps - 1).unwrap_or(usize::MAX).min(self.most);
        let gaps = std::iter::repeat_n([GAP; WIDTH], missed);
        for one in gaps.chain([point(&self.last, sample)]) {
            if self.points.len() >= self.most {
                self.points.pop_front();
            }
            self.points.push_back(one);
        }
        (self.end, self.last) = (end, *sample);
    }

    fn since(&self, second: u64) -> Option<Curves> {
        let new = self.end.saturating_sub(second).div_ceil(self.step);
        let new = usize::try_from(new).unwrap_or(usize::MAX).min(self.points.len());
        let points = || self.points.iter().skip(self.points.len().saturating_sub(new));
        let column = |at| points().map(move |point| point.get(at).copied().filter(|v| *v != GAP));
        let columns = COLUMNS.iter().enumerate().map(|(at, name)| (*name, column(at).collect()));
        (new > 0).then(|| Curves { name: self.name, end: self.end, columns: columns.collect() })
    }
}

/// The points of one ring, column by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curves {
    /// `1s`, `10s` or `60s`.
    pub name: &'static str,
    /// The second at which the last point ended.
    pub end: u64,
    pub columns: Vec<(&'static str, Vec<Option<u32>>)>,
}

/// The rings of the process.
#[derive(Debug)]
pub struct Series {
    rings: [Ring; 3],
    seconds: u64,
}

impl Series {
    /// Begins at this second (of any epoch) with what the counters are at then.
    pub fn new(second: u64, first: Sample) -> Self {
        let rings = [("1s", (1, 300)), ("10s", (10, 360)), ("60s", (60, 1_440))];
        let rings = rings.map(|(name, shape)| Ring::new(name, shape, second, first));
        Self { rings, seconds: second }
    }

    /// What the counters are at `second`. One that was sampled already is left out.
    pub fn take(&mut self, second: u64, sample: &Sample) {
        self.rings.iter_mut().for_each(|ring| ring.take(second, sample));
        self.seconds = self.seconds.max(second);
    }

    /// The second of the last sample.
    pub const fn second(&self) -> u64 {
        self.seconds
    }

    /// The points that ended after `second`; rings without any are left out.
    pub fn since(&self, second: u64) -> Vec<Curves> {
        self.rings.iter().filter_map(|ring| ring.since(second)).collect()
    }

    /// What the finest points of the last `seconds` add up to: requests and server errors.
    pub fn lately(&self, seconds: usize) -> (u64, u64) {
        let [finest, ..] = &self.rings;
        let points = finest.points.iter().rev().take(seconds).filter(|point| point[0] != GAP);
        points.fold((0, 0), |(requests, errors), point| {
            (requests + u64::from(point[0]), errors + u64::from(point[2]))
        })
    }
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
