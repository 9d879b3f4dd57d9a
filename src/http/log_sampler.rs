//! Limits log lines that a flood of requests may cause.
//!
//! It decides which line is written, and says how many were left out since the one before. The
//! metrics count everything exactly. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// So many lines in each span of time.
#[derive(Debug, Clone, Copy)]
pub struct LogSampler {
    most: u32,
    span: Duration,
    since: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl LogSampler {
    #[must_use]
    pub const fn new(most: u32, span: Duration) -> Self {
        Self { most, span, since: None, written: 0, left_out: 0 }
    }

    /// One more line. If it is to be written: how many were left out since the last.
    #[must_use = "a line is due"]
    pub fn line(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= self.span) {
            (self.since, self.written) = (Some(now), 0);
        }
        if self.written >= self.most {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn so_many_a_second_and_then_how_many_there_were() {
        let (mut sampler, start) = (LogSampler::new(2, Duration::from_secs(1)), monotonic());
        let lines: Vec<_> = (0..30)
            .filter_map(|tenth| sampler.line(start + Duration::from_millis(100) * tenth))
            .collect();
        assert_eq!(lines, [0, 0, 8, 0, 8, 0]);
        assert_eq!(sampler.line(start + Duration::from_secs(100)), Some(8));
        assert_eq!(sampler.line(start), Some(0), "an earlier moment begins nothing");
        assert_eq!(sampler.line(start), None);
    }
}
