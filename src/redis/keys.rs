//! What the keys of Breakwater in Redis begin with.
//!
//! Owns: the prefixes, all in one table, so that no room walks over another's keys: cleaning entries
//! by pattern touches entries only. The number is that of the form of what is stored.

/// Written now and then to learn whether Redis takes writes.
pub(super) const ALIVE: &str = "breakwater:2:alive";
/// Entries of the cache.
pub const ENTRY: &str = "breakwater:2:e:";
/// The channel on which instances say that they have written to the log of changes.
pub const CHANGES: &str = "breakwater:2:changes";
/// Locks of keys that an instance loads.
pub const LOCK: &str = "breakwater:2:lock:";
