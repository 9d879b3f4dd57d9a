//! What opens a breaker, for how long, and what closes it again.
//!
//! Owns: the settings. Refuses nothing: the machine clamps what makes no sense.

use std::time::Duration;

/// What opens a breaker, for how long, and what closes it again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; at least 1.
    pub consecutive_failures: u32,
    /// Share of failures over the last 30 s that opens it, above 0; 1 and more turn this off.
    pub failure_rate: f64,
    /// Calls in that time below which the share says nothing.
    pub minimum_calls: u32,
    /// The first open time before jitter, doubled at each opening until it closes; at least 1 ms.
    pub open: Duration,
    pub open_max: Duration,
    /// Probes that half-open admits, and that have to succeed before it closes; at least 1.
    pub probes: u32,
    /// So long after the last probe was given, probes without a result are lost, and others are
    /// admitted. Longer than a call can take.
    pub probe_timeout: Duration,
    /// Whether it lets calls through at a growing rate after it has closed.
    pub slow_start: bool,
}

impl Settings {
    /// Opens after `consecutive_failures` or when half of at least 20 calls failed, for `open`
    /// doubling up to ten times that, and lets three probes decide, each within ten seconds. No slow
    /// start.
    pub const fn new(consecutive_failures: u32, open: Duration) -> Self {
        Self {
            consecutive_failures,
            failure_rate: 0.5,
            minimum_calls: 20,
            open,
            open_max: open.saturating_mul(10),
            probes: 3,
            probe_timeout: Duration::from_secs(10),
            slow_start: false,
        }
    }
}
