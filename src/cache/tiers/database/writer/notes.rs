//! Small things for the database that are not rows: what was used, kept, to be removed.
//!
//! Owns: putting together what belongs together, so that the room they take is bounded by what they
//! are about and not by how often it is said.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;

use crate::cache::key::CacheKey;
use crate::clock::Timestamp;

/// Most things of each sort.
const MOST: usize = 8_192;
/// Most bytes of rows to be removed; the rest is found again by the next who reads it.
const MOST_REMOVED: usize = 16 * 1_024 * 1_024;

/// What waits beside the rows.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Rows to be removed if they still hold that.
    pub(super) removed: HashMap<CacheKey, Bytes>,
    removed_bytes: usize,
    pub(super) used: HashMap<CacheKey, (u32, Timestamp)>,
    pub(super) kept: HashMap<String, (String, Timestamp)>,
}

fn has_room<K: Eq + Hash, V>(map: &HashMap<K, V>, key: &K) -> bool {
    map.len() < MOST || map.contains_key(key)
}

impl Notes {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.used.is_empty() && self.kept.is_empty()
    }

    /// What was read last under a key is what is to go.
    pub(super) fn remove(&mut self, rows: Vec<(CacheKey, Bytes)>) {
        for (key, entry) in rows {
            let before = self.removed.get(&key).map_or(0, Bytes::len);
            let bytes = self.removed_bytes.saturating_sub(before).saturating_add(entry.len());
            if has_room(&self.removed, &key) && bytes <= MOST_REMOVED {
                self.removed_bytes = bytes;
                self.removed.insert(key, entry);
            }
        }
    }

    pub(super) fn used(&mut self, keys: Vec<(CacheKey, u32)>, at: Timestamp) {
        for (key, uses) in keys {
            if has_room(&self.used, &key) {
                let noted = self.used.entry(key).or_insert((0, at));
                *noted = (noted.0.saturating_add(uses), noted.1.max(at));
            }
        }
    }

    pub(super) fn keep(&mut self, name: &str, json: String, at: Timestamp) {
        let name = name.to_owned();
        let is_newer = self.kept.get(&name).is_none_or(|before| before.1 <= at);
        if is_newer && has_room(&self.kept, &name) {
            self.kept.insert(name, (json, at));
        }
    }

    /// Takes back older notes that could not be written.
    pub(super) fn take_back(&mut self, older: Self) {
        let older_only =
            older.removed.into_iter().filter(|(key, _)| !self.removed.contains_key(key));
        let older_only: Vec<_> = older_only.collect();
        self.remove(older_only);
        for (key, (uses, at)) in older.used {
            self.used(vec![(key, uses)], at);
        }
        for (name, (json, at)) in older.kept {
            if self.kept.get(&name).is_none_or(|newer| newer.1 < at) {
                self.keep(&name, json, at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn key(n: usize) -> CacheKey {
        CacheKey::new(format!("k{n}"))
    }

    #[test]
    fn what_is_said_twice_is_one_note() {
        let mut older = Notes::default();
        older.used(vec![(key(1), 2), (key(1), 3)], at(5));
        older.keep("a", "old".into(), at(1));
        older.keep("b", "only".into(), at(1));
        let mut notes = Notes::default();
        notes.used(vec![(key(1), 1)], at(4));
        notes.keep("a", "new".into(), at(1));
        notes.take_back(older);
        assert_eq!(notes.used[&key(1)], (6, at(5)));
        assert_eq!((notes.kept["a"].0.as_str(), notes.kept["b"].0.as_str()), ("new", "only"));
    }

    #[test]
    fn they_never_grow_beyond_their_room() {
        let mut notes = Notes::default();
        notes.used((0..2 * MOST).map(|n| (key(n), 1)).collect(), at(1));
        notes.remove((0..2 * MOST).map(|n| (key(n), Bytes::from_static(b"x"))).collect());
        (0..2 * MOST).for_each(|n| notes.keep(&n.to_string(), "x".into(), at(1)));
        assert_eq!((notes.used.len(), notes.removed.len(), notes.kept.len()), (MOST, MOST, MOST));
        let large = Bytes::from(vec![0; MOST_REMOVED / 4]);
        let mut notes = Notes::default();
        // The same row is the same room, however often it is read.
        (0..9).for_each(|n| notes.remove(vec![(key(n % 5), large.clone())]));
        assert_eq!((notes.removed.len(), notes.removed_bytes), (4, MOST_REMOVED));
    }
}
