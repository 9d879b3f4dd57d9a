//! What opens a breaker, for how long, and what closes it again.
//!
//! Owns: the settings. Refuses nothing: those who use them hold them to what makes sense.

use std::time::Duration;

use super::ramp;

/// What opens a breaker, for how long, and what closes it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; at least 1. Slow calls neither add to them nor end the row.
    pub consecutive_failures: u32,
    /// Share of failures over `window` that opens it, above 0; 1 and more turn this off.
    pub failure_rate: f64,
    /// What is slow, and what share of it over `window` opens it; `None` turns this off.
    pub slow: Option<Slow>,
    /// Calls in `window` below which the shares say nothing.
    pub minimum_calls: u32,
    /// How far back the shares look; at least 1 s.
    pub window: Duration,
    /// The first open time before jitter, doubled at each opening until it closes; at least 1 ms.
    pub open: Duration,
    /// The longest open time.
    pub open_max: Duration,
    /// Probes that half-open admits, and that have to succeed before it closes; at least 1.
    pub probes: u32,
    /// So long after the last probe was given, probes that nobody has heard of are lost, and others
    /// are admitted. Longer than a call can take.
    pub probe_patience: Duration,
    /// The least time after closing during which calls are let through at a growing rate, `probes`
    /// a second at first; `None` lets all of them through at once.
    pub ramp: Option<Duration>,
}

/// When slow calls open a breaker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// An answer that took so long is slow.
    pub after: Duration,
    /// Share of slow calls over the window that opens the breaker, above 0 up to 1.
    pub share: f64,
}

impl Settings {
    /// Opens after `consecutive_failures` or when half of at least 20 calls in 30 s failed, for
    /// `open` doubling up to ten times that, and lets three probes decide, each within ten seconds.
    /// No call is slow, and there is no ramp.
    #[must_use]
    pub const fn new(consecutive_failures: u32, open: Duration) -> Self {
        Self {
            consecutive_failures,
            failure_rate: 0.5,
            slow: None,
            minimum_calls: 20,
            window: Duration::from_secs(30),
            open,
            open_max: open.saturating_mul(10),
            probes: 3,
            probe_patience: Duration::from_secs(10),
            ramp: None,
        }
    }

    /// How a ramp goes with these settings; `None` when there is none.
    pub(super) fn ramp_plan(&self) -> Option<ramp::Plan> {
        let rate = if self.failure_rate.is_nan() { 1.0 } else { self.failure_rate.clamp(0.0, 1.0) };
        self.ramp.map(|least| ramp::Plan {
            first: f64::from(self.probes.max(1)),
            least,
            tolerance: rate / 2.0,
            row: self.consecutive_failures.max(1),
        })
    }
}
