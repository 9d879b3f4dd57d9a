//! Who is throttled, and who was.
//!
//! Owns: the penalties by principal, at most so many, behind a lock for each shard. As long as there
//! is none, asking costs one atomic load. Refuses: a further penalty when it is full of those that
//! last; the request itself is still refused, and so is every later one that continues the pattern.
//! Keys always find room: there are only as many as were handed out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::pattern::Pattern;
use super::penalty::Penalty;
use crate::limits::principal::Principal;
use crate::limits::tick::Tick;

const SHARDS: usize = 16;
/// A wait after which every pattern is forgotten, for whom no penalty could be kept.
const UNKEPT: Duration = Duration::from_secs(60);

type Shard = HashMap<Principal, Penalty>;

/// All penalties.
#[derive(Debug)]
pub(super) struct Penalties {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
    entries: AtomicUsize,
    unkept: AtomicU64,
}

/// How somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// How often he was found; 0 for never, or forgotten.
    pub(super) flags: u32,
    /// Time left to wait.
    pub(super) throttled_for: Option<Duration>,
}

impl Standing {
    const CLEAN: Self = Self { flags: 0, throttled_for: None };
}

/// What came of finding somebody abusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sentence {
    /// How often he was found.
    pub(super) flags: u32,
    /// Time to wait.
    pub(super) throttled_for: Duration,
    /// It was passed now, not by another request at the same time.
    pub(super) fresh: bool,
}

impl Penalties {
    /// Room for about so many.
    pub(super) fn with_room_for(principals: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_capacity: principals / SHARDS,
            entries: AtomicUsize::new(0),
            unkept: AtomicU64::new(0),
        }
    }

    /// How `principal` stands; who is to wait is counted as refused.
    pub(super) fn standing(&self, principal: Principal, now: Tick) -> Standing {
        if self.entries.load(Ordering::Acquire) == 0 {
            return Standing::CLEAN;
        }
        let Some(mut shard) = self.shard(principal) else { return Standing::CLEAN };
        let Some(penalty) = shard.get_mut(&principal) else { return Standing::CLEAN };
        if penalty.is_forgotten(now) {
            shard.remove(&principal);
            self.entries.fetch_sub(1, Ordering::AcqRel);
            return Standing::CLEAN;
        }
        let throttled_for = penalty.throttled_for(now);
        if throttled_for.is_some() {
            penalty.refused = penalty.refused.saturating_add(1);
        }
        Standing { flags: penalty.flags, throttled_for }
    }

    /// `principal` was found abusive. Who is throttled already is so for no longer than that.
    pub(super) fn sentence(
        &self,
        principal: Principal,
        pattern: Pattern,
        seen: u32,
        now: Tick,
    ) -> Sentence {
        let unkept = Sentence { flags: 1, throttled_for: UNKEPT, fresh: false };
        let Some(mut shard) = self.shard(principal) else { return unkept };
        let known = shard.get_mut(&principal).filter(|penalty| !penalty.is_forgotten(now));
        if let Some(penalty) = known {
            if let Some(throttled_for) = penalty.throttled_for(now) {
                return Sentence { flags: penalty.flags, throttled_for, fresh: false };
            }
            penalty.again(pattern, seen, now);
            return fresh(penalty, now);
        }
        if shard.len() >= self.shard_capacity {
            self.tidy(&mut shard, now);
        }
        if shard.len() >= self.shard_capacity && !principal.is_key() {
            self.unkept.fetch_add(1, Ordering::Relaxed);
            return unkept;
        }
        let penalty = Penalty::first(pattern, seen, now);
        if shard.insert(principal, penalty).is_none() {
            self.entries.fetch_add(1, Ordering::AcqRel);
        }
        fresh(&penalty, now)
    }

    /// Drops what is forgotten; returns how many are throttled now.
    pub(super) fn throttled_now(&self, now: Tick) -> usize {
        self.shards.iter().fold(0, |sum, shard| {
            let mut shard = locked(shard);
            self.tidy(&mut shard, now);
            let throttled = shard.values().filter(|one| one.throttled_for(now).is_some());
            sum.saturating_add(throttled.count())
        })
    }

    /// At most `most` of those that count, the worst first.
    pub(super) fn worst(&self, most: usize, now: Tick) -> Vec<(Principal, Penalty)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let mut some: Vec<_> = {
                let shard = locked(shard);
                shard.iter().map(|(principal, penalty)| (*principal, *penalty)).collect()
            };
            some.retain(|(_, penalty)| !penalty.is_forgotten(now));
            all.append(&mut some);
            all.sort_unstable_by_key(|(principal, penalty)| {
                let rank = (penalty.throttled_for(now).is_some(), penalty.flags, penalty.refused);
                (std::cmp::Reverse(rank), *principal)
            });
            all.truncate(most);
        }
        all
    }

    /// How many are kept now, and at most.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.load(Ordering::Relaxed), self.shard_capacity.saturating_mul(SHARDS))
    }

    /// How often there was no room.
    pub(super) fn unkept(&self) -> u64 {
        self.unkept.load(Ordering::Relaxed)
    }

    fn tidy(&self, shard: &mut Shard, now: Tick) {
        let before = shard.len();
        shard.retain(|_, penalty| !penalty.is_forgotten(now));
        self.entries.fetch_sub(before.saturating_sub(shard.len()), Ordering::AcqRel);
    }

    fn shard(&self, principal: Principal) -> Option<MutexGuard<'_, Shard>> {
        let hash = self.hasher.hash_one(principal);
        let number = usize::try_from(hash >> 60).unwrap_or_default();
        self.shards.get(number).map(locked)
    }
}

fn fresh(penalty: &Penalty, now: Tick) -> Sentence {
    let throttled_for = penalty.throttled_for(now).unwrap_or_default();
    Sentence { flags: penalty.flags, throttled_for, fresh: true }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::penalty::{CALM, FIRST};
    use super::*;
    use crate::limits::principal::KeyId;

    fn client(number: u32) -> Principal {
        Principal::of_address(std::net::Ipv4Addr::from_bits(number).into(), 64)
    }

    fn found(penalties: &Penalties, number: u32, now: Tick) -> Sentence {
        penalties.sentence(client(number), Pattern::SequentialIds, 21, now)
    }

    #[test]
    fn who_waits_is_served_and_who_hammers_waits_no_longer() {
        let penalties = Penalties::with_room_for(1_000);
        let start = Tick::ORIGIN;
        let sentence = found(&penalties, 1, start);
        assert_eq!((sentence.throttled_for, sentence.fresh), (FIRST, true));
        let soon = start.plus(Duration::from_secs(10));
        let twice = found(&penalties, 1, soon);
        assert_eq!((twice.throttled_for.as_secs(), twice.fresh, twice.flags), (20, false, 1));
        for _ in 0..100 {
            let left = penalties.standing(client(1), soon).throttled_for;
            assert_eq!(left, Some(Duration::from_secs(20)));
        }
        let end = start.plus(FIRST);
        assert_eq!(penalties.standing(client(1), end), Standing { flags: 1, throttled_for: None });
        assert_eq!(penalties.standing(client(2), soon), Standing::CLEAN);
        assert_eq!(penalties.worst(5, soon)[0].1.refused, 100);
        assert_eq!((penalties.throttled_now(soon), penalties.throttled_now(end)), (1, 0));
    }

    #[test]
    fn what_is_forgotten_is_dropped() {
        let penalties = Penalties::with_room_for(1_000);
        let end = Tick::ORIGIN.plus(FIRST).plus(CALM);
        for number in 0..3 {
            found(&penalties, number, Tick::ORIGIN);
        }
        assert_eq!(penalties.standing(client(0), end), Standing::CLEAN);
        assert_eq!(found(&penalties, 1, end).flags, 1);
        penalties.throttled_now(end);
        assert_eq!(penalties.size().0, 1);
    }

    #[test]
    fn a_full_table_keeps_those_it_has_and_takes_keys() {
        let penalties = Penalties::with_room_for(160);
        for number in 0..10_000 {
            found(&penalties, number, Tick::ORIGIN);
        }
        assert_eq!(penalties.size(), (160, 160));
        assert_eq!(penalties.unkept(), 9_840);
        let key = Principal::Key(KeyId::new(1));
        assert!(penalties.sentence(key, Pattern::PageScan, 21, Tick::ORIGIN).fresh);
        assert_eq!(penalties.worst(20, Tick::ORIGIN).len(), 20);
        let later = Tick::ORIGIN.plus(FIRST).plus(CALM);
        assert!(found(&penalties, 99_999, later).fresh, "the forgotten make room");
    }
}
