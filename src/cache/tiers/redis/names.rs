//! What Breakwater's keys in Redis are called.
//!
//! Owns: the names. Entries live under a prefix of their own, so that a clean-up by pattern, which
//! is put behind that prefix, never walks over locks, the journal or the sign of life.

use crate::cache::key::CacheKey;

/// Written now and then to learn whether Redis takes writes.
pub(super) const ALIVE: &str = "breakwater:2:alive";
/// The stream of invalidations.
pub(super) const JOURNAL: &str = "breakwater:2:journal";
/// The map of records that instances share: its name and version, subjects by version, records by
/// subject. In braces what a cluster places them by: a script needs them in one place.
pub(super) const RECORDS: [&str; 3] =
    ["breakwater:2:{records}:about", "breakwater:2:{records}:order", "breakwater:2:{records}:all"];
/// What the names of entries begin with; the number is that of the entry's form.
const ENTRY: &str = "breakwater:2:e:";
/// What the names of locks begin with.
const LOCK: &str = "breakwater:2:lock:";

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
        for other in [&lock(&key), ALIVE, JOURNAL].into_iter().chain(RECORDS) {
            assert!(!everything.matches(other));
        }
    }
}
