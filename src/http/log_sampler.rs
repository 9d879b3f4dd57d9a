//! Limits log lines that a flood of requests may cause.
//!
//! It decides which line is written, and says how many were left out since the one before. The
//! metrics count everything exactly. Each kind of line has a rate of its own, so a flood of one hides
//! no other. Pure: the time is an argument.

use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Instant;

use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

const ONE: NonZeroU32 = NonZeroU32::MIN;
/// Lines of one kind that a request may cause, at once. With one a second from then on, a flood of a
/// day takes less room than the log files have, so the lines of admins are still there.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();

/// Lines at a steady rate.
#[derive(Debug, Clone, Copy)]
pub struct LogSampler {
    rule: BucketRule,
    bucket: TokenBucket,
    /// The first line, which times are counted from.
    origin: Option<Instant>,
    left_out: u64,
}

impl LogSampler {
    /// So many lines at once, and one a second from then on.
    #[must_use]
    pub fn one_a_second(at_once: NonZeroU32) -> Self {
        Self::new(BucketRule::per_second(ONE, at_once))
    }

    #[must_use]
    pub fn one_a_minute() -> Self {
        Self::new(BucketRule::per_minute(ONE, ONE))
    }

    fn new(rule: BucketRule) -> Self {
        Self { rule, bucket: TokenBucket::default(), origin: None, left_out: 0 }
    }

    /// One more line. If it is to be written: how many were left out since the last.
    #[must_use = "a line is due"]
    pub fn line(&mut self, now: Instant) -> Option<u64> {
        let now = Tick::between(*self.origin.get_or_insert(now), now);
        if self.bucket.take(self.rule, now, 1).is_err() {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Lines of several kinds.
#[derive(Debug, Default)]
pub struct LogSamplers(RefCell<HashMap<&'static str, LogSampler>>);

impl LogSamplers {
    /// One more line of a kind. If it is to be written: how many of the kind were left out.
    #[must_use = "a line is due"]
    pub fn line(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut samplers = self.0.borrow_mut();
        samplers.entry(kind).or_insert_with(|| LogSampler::one_a_second(AT_ONCE)).line(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn so_many_at_once_and_then_one_a_second_and_how_many_there_were() {
        let (at_once, start) = (ONE.saturating_add(1), monotonic());
        let mut sampler = LogSampler::one_a_second(at_once);
        let lines: Vec<_> = (0..20)
            .filter_map(|tenth| sampler.line(start + Duration::from_millis(100) * tenth))
            .collect();
        assert_eq!(lines, [0, 0, 8]);
        assert_eq!(sampler.line(start + Duration::from_secs(100)), Some(9));
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let (samplers, now) = (LogSamplers::default(), monotonic());
        let written = (0..1_000).filter(|_| samplers.line("not_found", now).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(samplers.line("forbidden", now), Some(0));
    }
}
