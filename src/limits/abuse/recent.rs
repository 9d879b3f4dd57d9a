//! A table of what came lately, of a size that no flood changes.
//!
//! Owns: one small value for each of so many keys, found by a secret hash, in buckets of eight places
//! behind a lock for each shard; a bucket takes memory when it is first used. Refuses: a new key
//! where all eight places hold something that came more than once in the last minute. A flood of
//! strangers who each come once makes room for the next of them, and never costs a client his
//! count. Nothing in here can panic halfway through a change.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Places among which a key is looked for.
const WAYS: usize = 8;
/// Parts with a lock of their own.
const SHARDS: usize = 64;
/// From when on a value that was not touched is as good as none, in seconds.
const IDLE: u32 = 60;

/// What is kept.
pub(super) trait Kept: Copy + Default {
    /// How much is behind it: 1 for what came once.
    fn weight(&self) -> u32;
}

#[derive(Debug, Clone, Copy, Default)]
struct Place<T> {
    /// 0 where nothing is kept.
    key: u64,
    second: u32,
    value: T,
}

type Bucket<T> = Option<Box<[Place<T>; WAYS]>>;
type Shard<T> = Mutex<Box<[Bucket<T>]>>;

/// Values by key.
#[derive(Debug)]
pub(super) struct Recent<T> {
    shards: Box<[Shard<T>]>,
    /// Buckets a shard has; a power of two.
    buckets: u64,
    used: AtomicUsize,
    turned_away: AtomicU64,
}

impl<T: Kept> Recent<T> {
    /// Room for about so many keys: rounded to a power of two.
    pub(super) fn with_room_for(keys: usize) -> Self {
        let buckets = (keys / WAYS / SHARDS).max(1).next_power_of_two();
        let shard = |_| Mutex::new((0..buckets).map(|_| None).collect());
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            buckets: u64::try_from(buckets).unwrap_or(1),
            used: AtomicUsize::new(0),
            turned_away: AtomicU64::new(0),
        }
    }

    /// Changes the value of a key, a new one if it has none. `None` when there is no room for it.
    pub(super) fn change<R>(
        &self,
        key: u64,
        second: u32,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let key = key.max(1);
        let shard = usize::try_from(key >> 58).unwrap_or_default();
        let bucket = usize::try_from(key & self.buckets.saturating_sub(1)).unwrap_or_default();
        let mut shard = self.shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner);
        let places = shard.get_mut(bucket)?.get_or_insert_with(|| {
            self.used.fetch_add(1, Ordering::Relaxed);
            Box::new([Place::default(); WAYS])
        });
        let Some(place) = place_of(places.as_mut_slice(), key, second) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        place.second = place.second.max(second);
        Some(change(&mut place.value))
    }

    /// Bytes taken now.
    pub(super) fn bytes(&self) -> usize {
        let places = self.used.load(Ordering::Relaxed) * WAYS * size_of::<Place<T>>();
        places + self.empty_bytes()
    }

    /// Bytes taken at most.
    pub(super) fn most_bytes(&self) -> usize {
        let buckets = SHARDS * usize::try_from(self.buckets).unwrap_or_default();
        buckets * WAYS * size_of::<Place<T>>() + self.empty_bytes()
    }

    /// How often there was no room.
    pub(super) fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    fn empty_bytes(&self) -> usize {
        SHARDS * usize::try_from(self.buckets).unwrap_or_default() * size_of::<Bucket<T>>()
    }
}

/// The place of `key`, as new if it was idle; else one that can be given to it.
fn place_of<T: Kept>(places: &mut [Place<T>], key: u64, second: u32) -> Option<&mut Place<T>> {
    let idle = |place: &Place<T>| second.saturating_sub(place.second) >= IDLE;
    let worth = |place: &Place<T>| {
        if place.key == 0 || idle(place) { 0 } else { place.value.weight().max(1) }
    };
    if let Some(known) = places.iter().position(|place| place.key == key) {
        let place = places.get_mut(known)?;
        if idle(place) {
            place.value = T::default();
        }
        return Some(place);
    }
    let place = places.iter_mut().min_by_key(|place| (worth(place), place.second))?;
    if worth(place) > 1 {
        return None;
    }
    *place = Place { key, second, value: T::default() };
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, Default)]
    struct Count(u32);

    impl Kept for Count {
        fn weight(&self) -> u32 {
            self.0
        }
    }

    fn add(table: &Recent<Count>, key: u64, second: u32) -> Option<u32> {
        table.change(key, second, |count| {
            count.0 += 1;
            count.0
        })
    }

    /// Keys of one bucket of one shard.
    fn neighbours() -> impl Iterator<Item = u64> {
        (1..).map(|number| number << 20)
    }

    #[test]
    fn who_comes_once_makes_room_and_who_came_twice_stays() {
        let table = Recent::with_room_for(1);
        let busy: Vec<u64> = neighbours().take(3).collect();
        for key in &busy {
            assert_eq!((add(&table, *key, 0), add(&table, *key, 1)), (Some(1), Some(2)));
        }
        for stranger in neighbours().skip(3).take(10_000) {
            assert_eq!(add(&table, stranger, 2), Some(1));
        }
        for key in &busy {
            assert_eq!(add(&table, *key, 3), Some(3));
        }
        assert_eq!(table.turned_away(), 0);
    }

    #[test]
    fn a_full_bucket_turns_strangers_away_until_somebody_rests() {
        let table = Recent::with_room_for(1);
        for key in neighbours().take(WAYS) {
            add(&table, key, 0);
            add(&table, key, 0);
        }
        let stranger = 999 << 20;
        assert_eq!(add(&table, stranger, IDLE - 1), None);
        assert_eq!(table.turned_away(), 1);
        assert_eq!(add(&table, stranger, IDLE), Some(1));
    }

    #[test]
    fn who_rested_begins_anew() {
        let table = Recent::with_room_for(1_000);
        assert_eq!(
            [add(&table, 7, 0), add(&table, 7, 59), add(&table, 7, 118)],
            [1, 2, 3].map(Some)
        );
        assert_eq!(add(&table, 7, 178), Some(1));
        assert_eq!(add(&table, 0, 0), Some(1), "no key is special");
    }

    #[test]
    fn memory_is_taken_when_it_is_used_and_has_an_end() {
        let table = Recent::with_room_for(10_000);
        let empty = table.bytes();
        assert!(empty < table.most_bytes() / 10);
        let mut chance = fastrand::Rng::with_seed(1);
        for _ in 0..200_000 {
            add(&table, chance.u64(..), 0);
        }
        assert_eq!(table.bytes(), table.most_bytes());
        assert!(table.most_bytes() < 10_000 * 2 * size_of::<Place<Count>>() * 2);
    }
}
