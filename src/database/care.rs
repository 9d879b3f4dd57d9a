//! What a store remembers between two checks of its file, and what follows from it.
//!
//! Owns: how often to try, when to check, whether to believe an error; plain decisions of state and
//! time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::error::{DatabaseError, Harm};
use super::quarantine::Identities;
use crate::resilience::backoff::Backoff;

/// Between two attempts to open.
const WAITS: Backoff =
    Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };
/// So long without trouble, and the waits begin anew.
const QUIET: Duration = Duration::from_secs(30);
/// Between two looks from outside.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A file that was read without a fault and is called broken again within this time is.
const TRUSTED_FOR: Duration = Duration::from_secs(60);
/// Statements that began before an opening have ended.
const SETTLED_AFTER: Duration = Duration::from_secs(1);
/// Files quarantined within the time: more would only fill the disk.
const MOST_QUARANTINED: usize = 5;
const QUARANTINED_WITHIN: Duration = Duration::from_secs(600);

/// What is known between two looks.
#[derive(Default)]
pub(super) struct Care {
    pub(super) files: Option<Identities>,
    /// Whether the file was called broken.
    pub(super) suspect: bool,
    /// When the file was last read from end to end without a fault.
    pub(super) read_through_at: Option<Instant>,
    tried_at: Option<Instant>,
    /// Attempts to open, without such a time between them.
    attempts: u32,
    looked_at: Option<Instant>,
    /// When files were quarantined.
    pub(super) quarantined_at: VecDeque<Instant>,
    /// The last reason given for its absence.
    pub(super) reported: Option<String>,
    /// The process stops: it is not opened again.
    pub(super) closed: bool,
}

impl Care {
    /// Whether a look from outside is due; counts as made.
    pub(super) fn is_to_look(&mut self, at: Instant) -> bool {
        let due =
            self.looked_at.is_none_or(|before| at.saturating_duration_since(before) >= LOOK_EVERY);
        if due {
            self.looked_at = Some(at);
        }
        due
    }

    /// Whether the last opening was just now.
    pub(super) fn is_settling(&self, at: Instant) -> bool {
        self.tried_at.is_some_and(|tried| at.saturating_duration_since(tried) < SETTLED_AFTER)
    }

    /// Whether an attempt to open is due.
    pub(super) fn may_try(&self, at: Instant) -> bool {
        self.tried_at
            .is_none_or(|tried| at.saturating_duration_since(tried) >= WAITS.wait(self.attempts))
    }

    /// Notes an attempt to open.
    pub(super) fn tried(&mut self, at: Instant) {
        let quiet =
            self.tried_at.is_none_or(|before| at.saturating_duration_since(before) >= QUIET);
        self.attempts = if quiet { 1 } else { self.attempts.saturating_add(1) };
        self.tried_at = Some(at);
    }

    /// A file that breaks although it could be read is not read again.
    pub(super) fn distrust(&self, at: Instant) -> Option<DatabaseError> {
        let read = self.read_through_at.filter(|_| self.suspect)?;
        (at.saturating_duration_since(read) < TRUSTED_FOR).then(|| {
            DatabaseError::new("called broken again soon after it was read").of(Harm::File)
        })
    }

    /// Whether one more file may be quarantined.
    pub(super) fn may_quarantine(&mut self, at: Instant) -> Result<(), &'static str> {
        self.quarantined_at.retain(|then| at.saturating_duration_since(*then) < QUARANTINED_WITHIN);
        if self.quarantined_at.len() < MOST_QUARANTINED {
            Ok(())
        } else {
            Err("quarantined too often")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rare_and_often_again_after_quiet() {
        let start = crate::clock::monotonic();
        let mut care = Care::default();
        let mut at = start;
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert!(care.may_try(at));
            care.tried(at);
            let wait = WAITS.wait(care.attempts);
            waits.push(wait.as_millis());
            assert!(!care.may_try(at + wait - Duration::from_millis(1)));
            at += wait;
        }
        assert_eq!(waits, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        care.tried(at + QUIET);
        assert_eq!(care.attempts, 1);
    }

    #[test]
    fn a_file_called_broken_twice_within_a_minute_is() {
        let at = crate::clock::monotonic();
        let mut care = Care { suspect: true, read_through_at: Some(at), ..Care::default() };
        assert_eq!(care.distrust(at + TRUSTED_FOR / 2).unwrap().harm(), Harm::File);
        assert!(care.distrust(at + TRUSTED_FOR).is_none());
        care.suspect = false;
        assert!(care.distrust(at).is_none());
    }

    #[test]
    fn not_more_than_a_few_files_are_kept_within_ten_minutes() {
        let at = crate::clock::monotonic();
        let mut care = Care { quarantined_at: [at; MOST_QUARANTINED].into(), ..Care::default() };
        assert!(care.may_quarantine(at).is_err());
        assert!(care.may_quarantine(at + QUARANTINED_WITHIN).is_ok());
    }
}
