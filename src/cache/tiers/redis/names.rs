//! What the cache's keys in Redis are called.
//!
//! Owns: the names. Entries live under a prefix of their own, so that a clean-up by pattern, which
//! is put behind that prefix, never walks over locks or what other rooms keep.

use crate::cache::key::CacheKey;
use crate::redis::keys::{ENTRY, LOCK};

/// Where the entry of `key` is kept.
pub(super) fn entry(key: &CacheKey) -> String {
    format!("{ENTRY}{key}")
}

/// Where the lock of `key` is kept.
pub(super) fn lock(key: &CacheKey) -> String {
    format!("{LOCK}{key}")
}

/// The glob for the names of entries whose keys match `glob`.
pub(super) fn entries_matching(glob: &str) -> String {
    format!("{ENTRY}{glob}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::glob::Glob;

    #[test]
    fn a_pattern_for_everything_matches_entries_only() {
        let key = CacheKey::new("products:search:1");
        let everything = Glob::new(&entries_matching("*"));
        assert!(everything.matches(&entry(&key)));
        for other in [&lock(&key), "breakwater:2:alive"] {
            assert!(!everything.matches(other));
        }
    }
}
