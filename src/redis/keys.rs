//! What the keys of Breakwater in Redis begin with.
//!
//! Owns: the prefixes, all in one table, so that no room walks over another's keys: cleaning entries
//! by pattern touches entries only. The number is that of the form of what is stored.

/// Written now and then to learn whether Redis takes writes.
pub(super) const ALIVE: &str = "breakwater:2:alive";
/// Entries of the cache.
pub const ENTRY: &str = "breakwater:2:e:";
/// Locks of keys that an instance loads.
pub const LOCK: &str = "breakwater:2:lock:";
/// The stream of invalidations.
pub const JOURNAL: &str = "breakwater:2:journal";
/// The map of records that instances share: its name and version, subjects by version, records by
/// subject. In braces what a cluster places them by: a script needs them in one place.
pub const RECORDS: [&str; 3] =
    ["breakwater:2:{records}:about", "breakwater:2:{records}:order", "breakwater:2:{records}:all"];
