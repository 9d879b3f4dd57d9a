//! One part of the table: the accounts of some clients, behind one lock.
//!
//! Owns: accounts by client, at most so many, and the order in which idle ones leave. Refuses: an
//! account for a client never seen when it is full and none of those looked at is idle. Nothing
//! in here can panic between two changes that belong together, so a lock recovered from a panic
//! elsewhere guards a whole state.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::limits::policy::{Class, PerClass};
use crate::limits::principal::Principal;
use crate::limits::shared::ledger::Ledger;
use crate::resilience::tick::Tick;

/// Accounts looked at for idleness whenever a new client arrives: the table shrinks by itself
/// while strangers come, at a price that each of them pays.
const LOOKED_AT: usize = 2;
/// As many when there is no room: the chance for a place against the length of the lock.
const LOOKED_AT_WHEN_FULL: usize = 32;

/// Whose account, with its hash: that is computed once, chooses the shard and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AccountKey {
    pub(super) hash: u64,
    pub(super) class: Class,
    pub(super) principal: Principal,
}

impl Hash for AccountKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Passes on the hash that [`AccountKey`] carries.
#[derive(Debug, Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Unused: keys write one u64. Still a hash, should that change.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A client's account and the time from which it is as good as none.
#[derive(Debug)]
pub(super) struct Account {
    key: AccountKey,
    pub(super) ledger: Ledger,
    pub(super) idle_at: Tick,
}

/// Accounts of some clients.
#[derive(Debug, Default)]
pub(super) struct Shard {
    places: HashMap<AccountKey, usize, BuildHasherDefault<Passed>>,
    accounts: Vec<Account>,
    by_class: PerClass<usize>,
    /// The next account to be looked at for idleness.
    hand: usize,
    evicted: u64,
}

impl Shard {
    /// The account of `key`, opened if there is none and there is room for it.
    ///
    /// Keys find room always: there are only as many as were handed out, and a flood of addresses
    /// must not cost their holders the limits they were promised.
    pub(super) fn account(
        &mut self,
        key: &AccountKey,
        now: Tick,
        capacity: usize,
    ) -> Option<&mut Account> {
        if let Some(place) = self.places.get(key) {
            return self.accounts.get_mut(*place);
        }
        self.evict_idle(now, LOOKED_AT);
        if self.accounts.len() >= capacity {
            self.evict_idle(now, LOOKED_AT_WHEN_FULL);
        }
        if self.accounts.len() >= capacity && !key.principal.is_key() {
            return None;
        }
        self.open(key)
    }

    /// Number of accounts by class.
    pub(super) fn by_class(&self) -> PerClass<usize> {
        self.by_class
    }

    /// Accounts that were given up because they were idle.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn open(&mut self, key: &AccountKey) -> Option<&mut Account> {
        let place = self.accounts.len();
        self.accounts.push(Account { key: *key, ledger: Ledger::default(), idle_at: Tick::ORIGIN });
        self.places.insert(*key, place);
        if let Some(count) = self.by_class.get_mut(key.class) {
            *count = count.saturating_add(1);
        }
        self.accounts.get_mut(place)
    }

    /// Looks at the next accounts in turn and closes the idle ones.
    fn evict_idle(&mut self, now: Tick, looks: usize) {
        for _ in 0..looks.min(self.accounts.len()) {
            if self.hand >= self.accounts.len() {
                self.hand = 0;
            }
            let idle = self.accounts.get(self.hand).is_some_and(|account| account.idle_at <= now);
            if idle {
                self.close(self.hand);
            } else {
                self.hand = self.hand.saturating_add(1);
            }
        }
    }

    fn close(&mut self, place: usize) {
        let closed = self.accounts.swap_remove(place);
        self.places.remove(&closed.key);
        if let Some(moved) = self.accounts.get(place)
            && let Some(known) = self.places.get_mut(&moved.key)
        {
            *known = place;
        }
        if let Some(count) = self.by_class.get_mut(closed.key.class) {
            *count = count.saturating_sub(1);
        }
        self.evicted = self.evicted.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::principal::KeyId;

    fn client(number: u32) -> AccountKey {
        let principal = Principal::of_address(std::net::Ipv4Addr::from_bits(number).into(), 64);
        // Few hashes on purpose: places must tell clients apart, not hashes.
        AccountKey { hash: u64::from(number % 3), class: Class::General, principal }
    }

    fn at(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    fn open(shard: &mut Shard, number: u32, now: u64, idle_at: u64) -> bool {
        let account = shard.account(&client(number), at(now), 4);
        account.map(|account| account.idle_at = at(idle_at)).is_some()
    }

    #[test]
    fn full_of_busy_clients_it_refuses_strangers_and_serves_the_known() {
        let mut shard = Shard::default();
        for number in 0..4 {
            assert!(open(&mut shard, number, 0, 100));
        }
        assert!(!open(&mut shard, 9, 50, 100));
        for number in 0..4 {
            assert!(open(&mut shard, number, 50, 100));
        }
        assert_eq!(shard.by_class().general, 4);
    }

    #[test]
    fn idle_clients_make_room() {
        let mut shard = Shard::default();
        for number in 0..4 {
            open(&mut shard, number, 0, 100 + u64::from(number == 2) * 900);
        }
        assert!(open(&mut shard, 9, 100, 200));
        assert!(shard.accounts.iter().any(|account| account.key == client(2)), "busy stays");
        assert!(shard.evicted() >= 1);
    }

    #[test]
    fn a_key_finds_room_in_a_full_table() {
        let mut shard = Shard::default();
        for number in 0..4 {
            open(&mut shard, number, 0, 100);
        }
        let principal = Principal::Key(KeyId::INTERNAL);
        let key = AccountKey { hash: 7, class: Class::Search, principal };
        assert!(shard.account(&key, at(0), 4).is_some());
        assert_eq!(shard.by_class().search, 1);
    }

    proptest! {
        #[test]
        fn places_and_accounts_always_agree(
            steps in prop::collection::vec((0..12_u32, 0..30_u64, 0..60_u64), 1..200),
        ) {
            let mut shard = Shard::default();
            let mut now = 0;
            for (number, wait, busy) in steps {
                now += wait;
                open(&mut shard, number, now, now + busy);
                prop_assert!(shard.accounts.len() <= 4);
                prop_assert_eq!(shard.places.len(), shard.accounts.len());
                prop_assert_eq!(shard.by_class().general, shard.accounts.len());
                for (key, place) in &shard.places {
                    prop_assert_eq!(&shard.accounts[*place].key, key);
                }
            }
        }
    }
}
