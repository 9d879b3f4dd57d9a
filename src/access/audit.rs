//! What admins did: who, when, what, to what, and what came of it.
//!
//! Owns: the form of a deed, and those that are still to be stored. Refuses: secrets (nobody hands it
//! one: keys are named by id, the admin by a fingerprint), texts of any length, and more unstored
//! deeds than a bound: the oldest are given up then, with a count; each is in the log as well.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// Deeds that may wait for the database.
const WAITING: usize = 10_000;
/// Longest text that is kept of a deed, and longest details: a key may have 64 networks.
const LONGEST: usize = 300;
const LONGEST_DETAILS: usize = 4_000;

/// Something an admin did or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// When.
    pub at: Timestamp,
    /// Who: `admin:` and a fingerprint of the key.
    pub actor: String,
    /// From which address.
    pub address: String,
    /// What, for example `keys.create`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// What exactly, where action and subject do not say it.
    pub details: String,
    /// `done`, or the code of the error it ended with.
    pub outcome: String,
    /// The request's id.
    pub request_id: String,
}

impl Deed {
    /// The same with texts of bounded length.
    fn bounded(mut self) -> Self {
        for (text, longest) in [
            (&mut self.actor, LONGEST),
            (&mut self.address, LONGEST),
            (&mut self.action, LONGEST),
            (&mut self.subject, LONGEST),
            (&mut self.details, LONGEST_DETAILS),
            (&mut self.outcome, LONGEST),
            (&mut self.request_id, LONGEST),
        ] {
            if let Some((end, _)) = text.char_indices().nth(longest) {
                text.truncate(end);
            }
        }
        self
    }
}

/// A deed as it was stored, with its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number; later deeds have greater ones.
    pub id: i64,
    /// The deed.
    pub deed: Deed,
}

/// Deeds on their way to the database.
#[derive(Debug, Default)]
pub(super) struct Unstored {
    waiting: Mutex<Waiting>,
    given_up: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The oldest first.
    deeds: VecDeque<Deed>,
    /// How many of the first are being stored right now.
    under_way: usize,
}

impl Unstored {
    /// Takes a deed in.
    pub(super) fn note(&self, deed: Deed) {
        let mut waiting = self.lock();
        waiting.deeds.push_back(deed.bounded());
        if waiting.deeds.len() > WAITING {
            let oldest = waiting.under_way;
            waiting.deeds.remove(oldest);
            self.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The first so many, to be stored; none while others are under way. They stay until it is said
    /// that they were stored, and may be taken again when they were not.
    pub(super) fn take(&self, most: usize) -> Taken<'_> {
        let mut waiting = self.lock();
        let mut deeds = Vec::new();
        if waiting.under_way == 0 {
            waiting.under_way = waiting.deeds.len().min(most);
            deeds.extend(waiting.deeds.iter().take(waiting.under_way).cloned());
        }
        Taken { of: self, deeds }
    }

    fn over(&self, stored: bool) {
        let mut waiting = self.lock();
        let under_way = std::mem::take(&mut waiting.under_way);
        if stored {
            waiting.deeds.drain(..under_way);
        }
    }

    /// All that are not stored, the oldest first.
    pub(super) fn all(&self) -> Vec<Deed> {
        self.lock().deeds.iter().cloned().collect()
    }

    /// How many are not stored.
    pub(super) fn len(&self) -> usize {
        self.lock().deeds.len()
    }

    /// Deeds that were never stored, since the start.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deeds that are being stored. Unless it is said that they were, they were not: whoever died over it
/// says nothing.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    of: &'a Unstored,
    deeds: Vec<Deed>,
}

impl Taken<'_> {
    /// They were stored.
    pub(super) fn stored(mut self) {
        self.end(true);
    }

    fn end(&mut self, stored: bool) {
        if !std::mem::take(&mut self.deeds).is_empty() {
            self.of.over(stored);
        }
    }
}

impl std::ops::Deref for Taken<'_> {
    type Target = [Deed];

    fn deref(&self) -> &[Deed] {
        &self.deeds
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.end(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(number: usize) -> Deed {
        Deed {
            at: Timestamp::default(),
            actor: "admin".into(),
            address: "127.0.0.1".into(),
            action: "keys.create".into(),
            subject: number.to_string(),
            details: "d".repeat(9_000),
            outcome: "done".into(),
            request_id: "r".repeat(1_000),
        }
    }

    fn subjects(deeds: &[Deed]) -> Vec<&str> {
        deeds.iter().map(|deed| deed.subject.as_str()).collect()
    }

    #[test]
    fn what_cannot_be_stored_is_tried_again_in_its_order() {
        let unstored = Unstored::default();
        (0..5).for_each(|number| unstored.note(deed(number)));
        let taken = unstored.take(3);
        assert_eq!(subjects(&taken), ["0", "1", "2"]);
        assert_eq!(taken[0].request_id.len(), LONGEST);
        assert_eq!(taken[0].details.len(), LONGEST_DETAILS);
        assert!(unstored.take(3).is_empty(), "one at a time");
        unstored.note(deed(5));
        drop(taken);
        assert_eq!(subjects(&unstored.all()), ["0", "1", "2", "3", "4", "5"]);
        let taken = unstored.take(4);
        assert_eq!(unstored.len(), 6, "not stored yet");
        taken.stored();
        assert_eq!(subjects(&unstored.all()), ["4", "5"]);
        assert_eq!(unstored.given_up(), 0);
    }

    #[test]
    fn who_dies_over_it_does_not_end_it() {
        let unstored = Unstored::default();
        unstored.note(deed(1));
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let taken = unstored.take(10);
            assert!(taken.is_empty(), "it is there");
        }));
        assert!(died.is_err());
        let taken = unstored.take(10);
        assert_eq!(subjects(&taken), ["1"]);
        taken.stored();
        assert_eq!(unstored.len(), 0);
    }

    #[test]
    fn beyond_the_bound_the_oldest_are_given_up_and_counted_but_not_those_under_way() {
        let unstored = Unstored::default();
        (0..WAITING + 3).for_each(|number| unstored.note(deed(number)));
        assert_eq!((unstored.len(), unstored.given_up()), (WAITING, 3));
        let taken = unstored.take(10);
        assert_eq!(taken[0].subject, "3");
        (0..4).for_each(|number| unstored.note(deed(number)));
        assert_eq!((unstored.len(), unstored.given_up()), (WAITING, 7));
        taken.stored();
        assert_eq!((unstored.len(), unstored.all()[0].subject.as_str()), (WAITING - 10, "17"));
    }
}
