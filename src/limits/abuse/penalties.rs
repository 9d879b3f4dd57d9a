//! Who is throttled, and who was.
//!
//! Owns: the penalties by principal, at most so many, behind a lock for each shard. Who surely has
//! none is told by one atomic load (`filter`). Refuses: a further penalty when it is full of those
//! that last; the request itself is still refused, and so is every later one that continues the
//! pattern. Keys always find room: there are only as many as were handed out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::filter::Filter;
use super::hashed::{Hashed, Keyed, keyed};
use super::pattern::Pattern;
use super::penalty::Penalty;
use crate::limits::principal::Principal;
use crate::resilience::tick::Tick;

const SHARDS: usize = 16;
/// A wait after which every pattern is forgotten, for whom no penalty could be kept.
const UNKEPT: Duration = Duration::from_secs(60);

type Shard = HashMap<Hashed, Penalty, Keyed>;

/// All penalties.
#[derive(Debug)]
pub(super) struct Penalties {
    filter: Filter,
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
            filter: Filter::default(),
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::with_hasher(keyed()))).collect(),
            shard_capacity: principals / SHARDS,
            entries: AtomicUsize::new(0),
            unkept: AtomicU64::new(0),
        }
    }

    /// How somebody stands; who is to wait is counted as refused.
    pub(super) fn standing(&self, who: &Hashed, now: Tick) -> Standing {
        let Some(mut shard) = self.shard_of_known(who) else { return Standing::CLEAN };
        let Some(penalty) = shard.get_mut(who) else { return Standing::CLEAN };
        if penalty.is_forgotten(now) {
            shard.remove(who);
            self.forgot(who);
            return Standing::CLEAN;
        }
        let throttled_for = penalty.throttled_for(now);
        if throttled_for.is_some() {
            penalty.refused = penalty.refused.saturating_add(1);
        }
        Standing { flags: penalty.flags, throttled_for }
    }

    /// Time that somebody still has to wait. Counts nothing: it may be another who asks.
    pub(super) fn wait(&self, who: &Hashed, now: Tick) -> Option<Duration> {
        self.shard_of_known(who)?.get(who)?.throttled_for(now)
    }

    /// Somebody was found abusive. Who is throttled already is so for no longer than that.
    pub(super) fn sentence(
        &self,
        who: &Hashed,
        pattern: Pattern,
        seen: u32,
        now: Tick,
    ) -> Sentence {
        let unkept = Sentence { flags: 1, throttled_for: UNKEPT, fresh: false };
        let Some(mut shard) = self.shard(who) else { return unkept };
        let known = shard.get_mut(who).filter(|penalty| !penalty.is_forgotten(now));
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
        if shard.len() >= self.shard_capacity && !who.principal.is_key() {
            self.unkept.fetch_add(1, Ordering::Relaxed);
            return unkept;
        }
        let penalty = Penalty::first(pattern, seen, now);
        if shard.insert(*who, penalty).is_none() {
            self.filter.add(who.hash);
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
                shard.iter().map(|(who, penalty)| (who.principal, *penalty)).collect()
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

    /// Bytes taken now; every shard's lock for a moment.
    pub(super) fn bytes(&self) -> usize {
        let shards = self.shards.iter().map(|shard| table_bytes(locked(shard).capacity()));
        Filter::BYTES + shards.sum::<usize>()
    }

    /// Bytes taken at most, beside those of keys that found room in a full table. A map that is
    /// filled and emptied again and again may grow until half of it is enough.
    pub(super) fn most_bytes(&self) -> usize {
        Filter::BYTES + SHARDS * table_bytes(self.shard_capacity.saturating_mul(2))
    }

    fn tidy(&self, shard: &mut Shard, now: Tick) {
        shard.retain(|who, penalty| {
            let stays = !penalty.is_forgotten(now);
            if !stays {
                self.forgot(who);
            }
            stays
        });
    }

    fn forgot(&self, who: &Hashed) {
        self.filter.remove(who.hash);
        self.entries.fetch_sub(1, Ordering::AcqRel);
    }

    /// The shard of somebody, if he may have a penalty.
    fn shard_of_known(&self, who: &Hashed) -> Option<MutexGuard<'_, Shard>> {
        if self.filter.may_have(who.hash) { self.shard(who) } else { None }
    }

    fn shard(&self, who: &Hashed) -> Option<MutexGuard<'_, Shard>> {
        let number = usize::try_from(who.hash >> 60).unwrap_or_default();
        self.shards.get(number).map(locked)
    }
}

/// What a hash map takes that has room for so many: a power of two of places, seven of eight of them
/// usable, with a byte for each and a group of them at the end.
const fn table_bytes(capacity: usize) -> usize {
    if capacity == 0 {
        return 0;
    }
    let places = (capacity * 8 / 7).next_power_of_two();
    places * (size_of::<(Hashed, Penalty)>() + 1) + 16
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
    use super::super::hashed::seeded;
    use super::super::penalty::{CALM, FIRST};
    use super::*;
    use crate::limits::principal::KeyId;

    fn client(number: u32) -> Hashed {
        let address = std::net::Ipv4Addr::from_bits(number);
        hashed(Principal::of_address(address.into(), 64))
    }

    /// By one hash for all tests.
    fn hashed(principal: Principal) -> Hashed {
        Hashed::of(principal, &seeded(1))
    }

    fn found(penalties: &Penalties, number: u32, now: Tick) -> Sentence {
        penalties.sentence(&client(number), Pattern::SequentialIds, 21, now)
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
            let left = penalties.standing(&client(1), soon).throttled_for;
            assert_eq!(left, Some(Duration::from_secs(20)));
        }
        let end = start.plus(FIRST);
        assert_eq!(penalties.standing(&client(1), end), Standing { flags: 1, throttled_for: None });
        assert_eq!(penalties.standing(&client(2), soon), Standing::CLEAN);
        assert_eq!(penalties.wait(&client(1), soon), Some(Duration::from_secs(20)));
        assert_eq!(penalties.wait(&client(1), end), None);
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
        assert_eq!(penalties.standing(&client(0), end), Standing::CLEAN);
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
        let key = hashed(Principal::Key(KeyId::new(1)));
        assert!(penalties.sentence(&key, Pattern::PageScan, 21, Tick::ORIGIN).fresh);
        assert_eq!(penalties.worst(20, Tick::ORIGIN).len(), 20);
        let later = Tick::ORIGIN.plus(FIRST).plus(CALM);
        assert!(found(&penalties, 99_999, later).fresh, "the forgotten make room");
    }

    #[test]
    fn what_is_taken_is_told() {
        let penalties = Penalties::with_room_for(57_344);
        let (empty, most) = (penalties.bytes(), penalties.most_bytes());
        assert_eq!(empty, Filter::BYTES);
        let mut now = Tick::ORIGIN;
        for round in 0..4 {
            for number in 0..70_000 {
                found(&penalties, round * 70_000 + number, now);
            }
            assert!(penalties.bytes() > empty + 50_000 * size_of::<(Hashed, Penalty)>());
            assert!(penalties.bytes() <= most, "{} of {most}", penalties.bytes());
            now = now.plus(FIRST).plus(CALM);
        }
        assert!(most < 9 << 20, "{most}");
        penalties.throttled_now(now);
        assert!((0..280_000).all(|number| !penalties.filter.may_have(client(number).hash)));
    }
}
