//! A worker's buffer of what it tells `MetricsActor`.
//!
//! Owns: when a batch is worth a message to another thread: 64 entries, or 200 ms after the first
//! of them. Refuses: to send; the worker does, and drops and counts what the actor has no room
//! for. Pure: the time is an argument. A worker without traffic asks [`Batch::due`] now and then,
//! or its last few requests would wait for the next one.

use std::time::{Duration, Instant};

use super::recent::RequestSeen;

/// A batch is sent when it has this many entries.
pub const BATCH_ENTRIES: usize = 64;

/// A batch is sent when its first entry is this old.
pub const BATCH_AGE: Duration = Duration::from_millis(200);

/// Entries not sent yet.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<RequestSeen>,
    first: Option<Instant>,
}

impl Batch {
    /// Adds an entry; gives the batch when it is time to send it.
    #[must_use = "the batch must be sent, or dropped and counted"]
    pub fn push(&mut self, seen: RequestSeen, now: Instant) -> Option<Vec<RequestSeen>> {
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(BATCH_ENTRIES);
        }
        self.entries.push(seen);
        self.first.get_or_insert(now);
        if self.entries.len() >= BATCH_ENTRIES { self.take() } else { self.due(now) }
    }

    /// Gives the batch when its first entry is old enough.
    #[must_use = "the batch must be sent, or dropped and counted"]
    pub fn due(&mut self, now: Instant) -> Option<Vec<RequestSeen>> {
        let first = self.first?;
        if now.saturating_duration_since(first) >= BATCH_AGE { self.take() } else { None }
    }

    /// Gives what there is, for example at shutdown; `None` when there is nothing.
    #[must_use = "the batch must be sent, or dropped and counted"]
    pub fn take(&mut self) -> Option<Vec<RequestSeen>> {
        self.first = None;
        let entries = std::mem::take(&mut self.entries);
        if entries.is_empty() { None } else { Some(entries) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::monotonic;
    use crate::metrics::recent::tests::seen;

    #[test]
    fn the_sixty_fourth_entry_sends_the_batch() {
        let (mut batch, now) = (Batch::default(), monotonic());
        for _ in 1..BATCH_ENTRIES {
            assert!(batch.push(seen("x", now), now).is_none());
        }
        assert_eq!(batch.push(seen("x", now), now).map(|sent| sent.len()), Some(BATCH_ENTRIES));
        assert!(batch.take().is_none());
    }

    #[test]
    fn an_old_batch_is_sent_by_the_next_entry_or_when_asked() {
        let (mut batch, start) = (Batch::default(), monotonic());
        assert!(batch.due(start).is_none());
        assert!(batch.push(seen("a", start), start).is_none());
        let just_before = start + BATCH_AGE - Duration::from_nanos(1);
        assert!(batch.push(seen("b", start), just_before).is_none());
        assert!(batch.due(just_before).is_none());
        assert_eq!(batch.due(start + BATCH_AGE).map(|sent| sent.len()), Some(2));
        assert!(batch.push(seen("c", start), start + BATCH_AGE).is_none());
        assert_eq!(
            batch.push(seen("d", start), start + BATCH_AGE * 2).map(|sent| sent.len()),
            Some(2)
        );
    }

    proptest! {
        #[test]
        fn no_entry_is_lost_doubled_or_kept_too_long(gaps in prop::collection::vec(0_u64..300, 0..400)) {
            let (mut batch, mut now) = (Batch::default(), monotonic());
            let mut sent = Vec::new();
            for (number, gap) in gaps.iter().enumerate() {
                now += Duration::from_millis(*gap);
                if let Some(entries) = batch.push(seen(&number.to_string(), now), now) {
                    prop_assert!(entries.len() <= BATCH_ENTRIES);
                    sent.extend(entries);
                }
                if let Some(first) = batch.first {
                    prop_assert!(now - first < BATCH_AGE);
                }
            }
            sent.extend(batch.take().unwrap_or_default());
            let numbers: Vec<String> = sent.iter().map(|seen| seen.request_id.to_string()).collect();
            let all: Vec<String> = (0..gaps.len()).map(|number| number.to_string()).collect();
            prop_assert_eq!(numbers, all);
        }
    }
}
