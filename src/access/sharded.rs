//! A map of which a copy costs next to nothing until one of the two is changed.
//!
//! Owns: parts that are shared between copies; a change copies the part it falls into. So every
//! request reads a map that nobody changes under it, without a lock, and an entry more among a
//! hundred thousand costs the copy of a sixty-fourth. Refuses nothing; has no neighbours.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// Parts.
const PARTS: usize = 64;

/// A map in parts that copies share.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    parts: Box<[Arc<HashMap<K, V>>]>,
    /// Keyed, so that nobody can choose names that meet in one part.
    hasher: RandomState,
    len: usize,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let parts = (0..PARTS).map(|_| Arc::default()).collect();
        Self { parts, hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Sharded<K, V> {
    /// What is held under a name.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        if self.len == 0 {
            return None;
        }
        self.parts.get(self.place(key))?.get(key)
    }

    /// Puts something under a name; what was there before.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let place = self.place(&key);
        let before = Arc::make_mut(self.parts.get_mut(place)?).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes out what is under a name.
    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        // Looked for first: to take out nothing copies nothing.
        self.get(key)?;
        let place = self.place(key);
        let before = Arc::make_mut(self.parts.get_mut(place)?).remove(key);
        self.len -= usize::from(before.is_some());
        before
    }

    /// Names.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn place(&self, key: &K) -> usize {
        usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default() % PARTS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_copies_do_not_see_changes(
            steps in prop::collection::vec((0..40_u32, any::<Option<u8>>()), 0..200),
        ) {
            let mut model = HashMap::new();
            let mut map = Sharded::default();
            for (key, value) in steps {
                let (copy, before) = (map.clone(), model.clone());
                match value {
                    Some(value) => {
                        prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                    }
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                for key in 0..40 {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                    prop_assert_eq!(copy.get(&key), before.get(&key));
                }
                prop_assert_eq!((map.len(), copy.len()), (model.len(), before.len()));
            }
        }
    }
}
