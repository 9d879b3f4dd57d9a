//! Limits log lines that a flood of requests may cause.
//!
//! It decides which line is written, and says how many were left out since the one before. The
//! metrics count everything exactly. Pure: the time is an argument.

use std::num::NonZeroU32;
use std::time::Instant;

use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

const ONE: NonZeroU32 = NonZeroU32::MIN;

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
    /// So many lines a second, all of which may come at once.
    #[must_use]
    pub fn per_second(lines: NonZeroU32) -> Self {
        Self::new(BucketRule::per_second(lines, lines))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn so_many_a_second_and_then_how_many_there_were() {
        let (lines, start) = (ONE.saturating_add(1), monotonic());
        let mut sampler = LogSampler::per_second(lines);
        let lines: Vec<_> = (0..20)
            .filter_map(|tenth| sampler.line(start + Duration::from_millis(100) * tenth))
            .collect();
        assert_eq!(lines, [0, 0, 3, 4, 4]);
        assert_eq!(sampler.line(start + Duration::from_secs(100)), Some(4));
    }
}
