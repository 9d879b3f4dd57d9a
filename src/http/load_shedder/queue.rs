//! Whether a queue stands before a worker, and how much of what comes it should still take.
//!
//! Judged by how late the worker's ticker fires. With many connections the queue of a worker is made
//! of connections that are ready to be read; a turn of its loop serves them one after the other, and
//! the ticker waits among them. Its lateness is what a request waits.
//!
//! A burst makes a long queue that goes away by itself; what has to be answered is a queue that
//! stands: the *least* wait over an interval is above the target (Nichols and Jacobson, "Controlling
//! Queue Delay", ACM Queue 10(5), 2012; with the interval of Maurer, "Fail at Scale", ACM Queue
//! 13(8), 2015). While it stands, a share of the requests is refused that holds the wait at the
//! target: proportional to the wait and to its sum over time, as PIE does (RFC 8033), on the
//! logarithm of the admitted share, so that the loop is as quick at ten times the load as at twice.
//! When the wait is below half the target the share goes back within a second.
//!
//! Pure: times and chance are arguments. Refuses: nothing below the target, nothing because of one
//! stall however long, and never more than 98 of a hundred, so that it notices when it may stop.

use std::time::{Duration, Instant};

pub const TICK: Duration = Duration::from_millis(10);
/// How long the wait must be above the target without a break.
const INTERVAL: Duration = Duration::from_millis(100);
/// The least share that is admitted.
const LEAST: f64 = 0.02;
/// What as much wait above the target as the target itself takes off the logarithm of the admitted
/// share. A request stands in line about three times before it is answered, and so long it takes
/// until a refusal is felt: the loop must be slower than that, or it swings.
const PROPORTIONAL: f64 = 0.7;
/// The same for each time that the target passes meanwhile.
const INTEGRAL: f64 = 0.05;
/// What a second without any wait gives back; less of it up to half the target.
const GIVEN_BACK: f64 = 6.0;
/// The most that is taken off; one over [`LEAST`].
const MOST: f64 = 3.9;
/// A tick counts for at most so much time.
const LONGEST: Duration = Duration::from_secs(1);

/// What is known of one worker's queue.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    target: Duration,
    ticked: Instant,
    due: Instant,
    above_since: Option<Instant>,
    stands: bool,
    taken_off: f64,
    admitted: f64,
}

impl Queue {
    /// No queue at `now`. A target of zero means that nothing is ever refused.
    #[must_use]
    pub fn new(target: Duration, now: Instant) -> Self {
        Self {
            target,
            ticked: now,
            due: now + TICK,
            above_since: None,
            stands: false,
            taken_off: 0.0,
            admitted: 1.0,
        }
    }

    #[must_use]
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// The share of requests that is admitted, 0.02 to 1.
    #[must_use]
    pub const fn admitted(&self) -> f64 {
        self.admitted
    }

    /// Whether a request is refused, by a chance of 0 to 1.
    #[must_use]
    pub const fn refuses(&self, chance: f64) -> bool {
        self.stands && chance >= self.admitted
    }

    #[must_use]
    pub const fn stands(&self) -> bool {
        self.stands
    }

    /// The ticker fired; says how late.
    pub fn ticked(&mut self, now: Instant) -> Duration {
        let lag = now.saturating_duration_since(self.due);
        let passed = now.saturating_duration_since(self.ticked).min(LONGEST).as_secs_f64();
        self.ticked = now;
        self.due = now + TICK;
        if !self.target.is_zero() {
            self.judge(lag, passed, now);
        }
        lag
    }

    fn judge(&mut self, lag: Duration, passed: f64, now: Instant) {
        if lag > self.target {
            let since = *self.above_since.get_or_insert(now);
            self.stands |= now.saturating_duration_since(since) >= INTERVAL;
        } else {
            self.above_since = None;
        }
        if !self.stands {
            return;
        }
        let target = self.target.as_secs_f64();
        let over = (lag.as_secs_f64() - target) / target;
        let step =
            if over < -0.5 { GIVEN_BACK * (1.0 + 2.0 * over) } else { INTEGRAL * over / target };
        self.taken_off = (self.taken_off + step * passed).clamp(0.0, MOST);
        if self.taken_off <= 0.0 && over < -0.5 {
            self.stands = false;
        }
        let off = self.taken_off + PROPORTIONAL * over.max(0.0);
        self.admitted = (-off).exp().clamp(LEAST, 1.0);
    }
}
