//! Whether an entry may be served.
//!
//! Owns: the decision. Times are those written into the entry when it was stored; a store's own
//! expiry is only for cleaning. Words after RFC 5861 (stale-while-revalidate, stale-if-error).

use super::entry::Entry;
use crate::clock::Timestamp;

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Served as it is.
    Fresh,
    /// Served while a refresh runs, or because it failed.
    Stale,
    /// Not served.
    Dead,
}

/// Judges `entry` at `now`.
#[must_use]
pub(super) fn judge(entry: &Entry, now: Timestamp) -> Freshness {
    if now < entry.fresh_until {
        Freshness::Fresh
    } else if now < entry.stale_until {
        Freshness::Stale
    } else {
        Freshness::Dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_bounds_belong_to_the_later_state() {
        let at = Timestamp::from_millis;
        let entry = Entry::new(Bytes::new(), at(0), at(10), at(20), false);
        assert_eq!(judge(&entry, at(9)), Freshness::Fresh);
        assert_eq!(judge(&entry, at(10)), Freshness::Stale);
        assert_eq!(judge(&entry, at(19)), Freshness::Stale);
        assert_eq!(judge(&entry, at(20)), Freshness::Dead);
    }
}
