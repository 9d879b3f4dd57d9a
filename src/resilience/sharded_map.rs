//! A map that all workers share: bounded, in shards with a lock each.
//!
//! Owns: the values by key, at most so many. When a shard is full, a new key takes the place of the one
//! that was used longest ago (`cached`'s LRU list), so a flood of new keys does not push out the active
//! ones. Each process hashes by a secret of its own: nobody can choose keys that meet in one shard. A
//! lock that was poisoned by a panic is taken over: the map itself is whole.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cached::{Cached, CachedIter, LruCache, LruCacheBuilder};
use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

const MOST_SHARDS: usize = 64;
/// Fewer entries than this are not worth a shard of their own.
const SMALLEST_SHARD: usize = 64;

/// A hash under 64 bits of the system's randomness, for a fraction of the standard hash's time.
pub fn secret_hasher() -> SeedableRandomState {
    let secret = std::hash::RandomState::new().hash_one(0_u8);
    SeedableRandomState::with_seed(secret, SharedSeed::global_random())
}

type Shard<K, V> = LruCache<K, V, SeedableRandomState>;

pub struct ShardedMap<K, V> {
    hasher: SeedableRandomState,
    shards: Box<[Mutex<Shard<K, V>>]>,
    capacity: usize,
    len: AtomicUsize,
    evicted: AtomicU64,
}

impl<K, V> fmt::Debug for ShardedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedMap").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl<K: Eq + Hash + Clone, V: Default> ShardedMap<K, V> {
    /// An empty map for about `capacity` keys and no more, but one at least.
    pub fn new(capacity: usize) -> Self {
        let wanted = (capacity / SMALLEST_SHARD).clamp(1, MOST_SHARDS);
        // Rounded down to a power of two, so that a mask chooses the shard.
        let shards = 1_usize << wanted.ilog2();
        let each = (capacity / shards).max(1);
        let hasher = secret_hasher();
        let empty = || {
            LruCacheBuilder::default().hasher(hasher.clone()).max_size(each).build().map(Mutex::new)
        };
        // Only without memory there is none; such a map keeps nothing.
        let shards: Box<[_]> = (0..shards).flat_map(|_| empty()).collect();
        let capacity = each * shards.len();
        let (len, evicted) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { hasher, shards, capacity, len, evicted }
    }

    /// Works on the value of `key`, the default if there is none, under the lock of its shard.
    pub fn update<R>(&self, key: &K, work: impl FnOnce(&mut V) -> R) -> R {
        let Some(mut shard) = self.shard(key) else { return work(&mut V::default()) };
        let is_full = Some(shard.cache_size()) >= shard.cache_capacity();
        let value = shard.cache_get_or_set_with_mut(key.clone(), || {
            if is_full {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            } else {
                self.len.fetch_add(1, Ordering::Relaxed);
            }
            V::default()
        });
        work(value)
    }

    /// In an empty map it takes no lock.
    pub fn find<R>(&self, key: &K, work: impl FnOnce(&mut V) -> R) -> Option<R> {
        if self.is_empty() {
            return None;
        }
        self.shard(key)?.cache_get_mut(key).map(work)
    }

    pub fn remove(&self, key: &K) -> Option<V> {
        let removed = self.shard(key)?.cache_remove(key)?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some(removed)
    }

    /// Calls `visit` with every entry, one shard after the other.
    pub fn each(&self, mut visit: impl FnMut(&K, &V)) {
        for shard in &self.shards {
            locked(shard).iter().for_each(|(key, value)| visit(key, value));
        }
    }

    pub fn retain(&self, keep: impl Fn(&K, &V) -> bool) {
        for shard in &self.shards {
            let mut shard = locked(shard);
            let before = shard.cache_size();
            shard.retain(|key, value| keep(key, value));
            self.len.fetch_sub(before - shard.cache_size(), Ordering::Relaxed);
        }
    }

    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keys that made room for others so far.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes that the entries take now, without what their values own elsewhere.
    pub fn bytes(&self) -> usize {
        // Two links of the list and the place in the table beside each entry.
        self.len() * (size_of::<(K, V)>() + 4 * size_of::<usize>())
    }

    fn shard(&self, key: &K) -> Option<MutexGuard<'_, Shard<K, V>>> {
        // The map inside uses the lower bits and the top seven.
        let number = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default();
        self.shards.get(number & self.shards.len().saturating_sub(1)).map(locked)
    }
}

/// Takes a lock also after somebody panicked while holding it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn count(map: &ShardedMap<u64, u32>, key: u64) -> u32 {
        map.update(&key, |count| {
            *count += 1;
            *count
        })
    }

    #[test]
    fn a_flood_of_new_keys_is_bounded_and_leaves_the_active_ones() {
        let map = ShardedMap::new(1_000);
        let mut flood = 1_000_u64..;
        for round in 1..=100 {
            for active in 0..50 {
                assert_eq!(count(&map, active), round, "key {active}");
            }
            flood.by_ref().take(500).for_each(|key| assert_eq!(count(&map, key), 1));
        }
        assert!(map.len() <= map.capacity() && map.capacity() <= 1_000);
        let seen = 50 + 100 * 500;
        assert_eq!(map.evicted(), seen - u64::try_from(map.len()).unwrap());
    }

    #[test]
    fn the_key_that_was_used_longest_ago_makes_room() {
        let map = ShardedMap::new(3);
        [1, 2, 3, 1, 4].iter().for_each(|key| assert!(count(&map, *key) > 0));
        assert_eq!(
            [1, 2, 3, 4].map(|key| map.find(&key, |_| ()).is_some()),
            [true, false, true, true]
        );
        assert_eq!(map.bytes() / map.len(), size_of::<(u64, u32)>() + 32);
    }

    #[test]
    fn a_panic_under_the_lock_costs_nothing() {
        let map = ShardedMap::new(1);
        count(&map, 1);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| map.update(&1, |_| panic!("while the lock is held")));
            assert!(thread.join().is_err());
        });
        assert_eq!(count(&map, 1), 2);
    }

    #[test]
    fn no_two_maps_hash_alike() {
        let (one, other) = (ShardedMap::<u64, ()>::new(1), ShardedMap::<u64, ()>::new(1));
        assert_ne!(one.hasher.hash_one(7_u64), other.hasher.hash_one(7_u64));
    }

    proptest! {
        #[test]
        fn below_its_capacity_it_is_a_map(
            steps in prop::collection::vec((0..50_u64, 0..4_u8), 0..300),
        ) {
            let (map, mut model) = (ShardedMap::new(500), HashMap::<u64, u32>::new());
            for (key, step) in steps {
                match step {
                    0 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(map.find(&key, |count| *count), model.get(&key).copied()),
                    2 => {
                        map.retain(|other, _| *other != key);
                        model.remove(&key);
                    }
                    _ => {
                        let counted = model.entry(key).or_default();
                        *counted += 1;
                        prop_assert_eq!(count(&map, key), *counted);
                    }
                }
                let mut all = HashMap::new();
                map.each(|key, count| {
                    all.insert(*key, *count);
                });
                prop_assert_eq!((&all, map.len(), map.is_empty()), (&model, model.len(), model.is_empty()));
            }
            prop_assert_eq!(map.evicted(), 0);
        }
    }
}
