//! Keys and lists as every request reads them.
//!
//! Owns: the decision over one request: is it denied, allowed, or neither; and finding a key. Follows
//! the log of changes as its topic `access`; while the database is away it goes on with what it
//! knows. What has expired does not count, also before it is taken out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use ipnet::IpNet;

use super::record::{Entry, Identifier, ListName, StoredKey, Subject};
use crate::clock::Timestamp;
use crate::limits::KeyId;
use crate::replication::{Change, Draft, Topic};

const TOPIC: &str = "access";
/// How long an expired key is still listed.
const EXPIRED_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStatus {
    Unlisted,
    /// Limits do not apply.
    Allowed,
    Denied(DeniedBy),
}

/// What of a request is on the deny list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeniedBy {
    /// The address it comes from, or a network around it.
    Address,
    Key,
}

impl DeniedBy {
    pub const ALL: [Self; 2] = [Self::Address, Self::Key];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub keys: usize,
    pub allow: usize,
    pub deny: usize,
}

impl Sizes {
    pub const fn of(self, list: ListName) -> usize {
        match list {
            ListName::Allow => self.allow,
            ListName::Deny => self.deny,
        }
    }
}

/// Keys and lists. Readers wait for nothing but a change that is being put in.
#[derive(Debug, Default)]
pub struct Table(RwLock<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// In their order, for pages.
    pub(super) keys: BTreeMap<KeyId, StoredKey>,
    allow: List,
    deny: List,
}

/// The entries of a list in their order: networks first. An address is looked for once for each length
/// of network that was ever put in, the longest first: that depends on how many lengths there are (33
/// and 129 at most, a handful usually) and not on how many entries. An IPv4 address in IPv6 is IPv4
/// before it comes here.
#[derive(Debug, Default)]
struct List {
    entries: BTreeMap<Identifier, Entry>,
    v4: BTreeSet<Reverse<u8>>,
    v6: BTreeSet<Reverse<u8>>,
}

impl Table {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // An entry is put in with one call; whoever panics leaves a state that is whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn drop_expired(&self, now: Timestamp) {
        if self.read().expired(now).next().is_some() {
            let mut state = self.write();
            let expired: Vec<Subject> = state.expired(now).collect();
            expired.iter().for_each(|subject| state.remove(subject));
        }
    }
}

impl Topic for Table {
    fn name(&self) -> &'static str {
        TOPIC
    }

    fn apply(&self, changes: &[Change], whole: bool) -> usize {
        let mut unreadable: usize = 0;
        let mut put = |state: &mut State| {
            for change in changes {
                let fits = state.put(&change.key, change.payload.as_deref());
                unreadable = unreadable.saturating_add(usize::from(!fits));
            }
        };
        if whole {
            let mut state = State::default();
            put(&mut state);
            // What was there before may be large: it is dropped after the lock.
            drop(std::mem::replace(&mut *self.write(), state));
        } else {
            put(&mut self.write());
        }
        unreadable
    }

    fn state(&self) -> Vec<Draft> {
        let state = self.read();
        let keys = state.keys.iter().map(|(id, key)| draft_of_key(*id, key));
        let entries = [ListName::Allow, ListName::Deny].into_iter().flat_map(|name| {
            let entries = state.list(name).after(None);
            entries.map(move |(who, entry)| draft_of_entry(name, who, entry))
        });
        keys.chain(entries).collect()
    }
}

pub(super) fn draft_of_key(id: KeyId, key: &StoredKey) -> Draft {
    draft(Subject::Key(id), key, key.created_at, kept_until(key))
}

pub(super) fn draft_of_entry(list: ListName, who: Identifier, entry: &Entry) -> Draft {
    draft(Subject::Entry(list, who), entry, entry.created_at, entry.expires_at)
}

fn draft(
    subject: Subject,
    stored: &impl serde::Serialize,
    at: Timestamp,
    keep_until: Option<Timestamp>,
) -> Draft {
    let payload = serde_json::to_string(stored).ok();
    Draft { topic: TOPIC, key: subject.to_string(), payload, at, keep_until }
}

/// When nobody needs an expired key any more.
fn kept_until(key: &StoredKey) -> Option<Timestamp> {
    key.expires_at.map(|until| until.plus(EXPIRED_KEPT))
}

pub(super) fn removal(subject: Subject, now: Timestamp) -> Draft {
    Draft::removal(TOPIC, subject.to_string(), now)
}

impl State {
    /// What the lists say of a request from `address` by the holder of `key`. The clock is read only
    /// if an entry that ends is met.
    pub(super) fn evaluate(
        &self,
        address: IpAddr,
        key: Option<KeyId>,
        now: impl Fn() -> Timestamp,
    ) -> ListStatus {
        if self.deny.has_address(address, &now) {
            ListStatus::Denied(DeniedBy::Address)
        } else if self.deny.has_key(key, &now) {
            ListStatus::Denied(DeniedBy::Key)
        } else if self.allow.has_key(key, &now) || self.allow.has_address(address, &now) {
            ListStatus::Allowed
        } else {
            ListStatus::Unlisted
        }
    }

    /// The keys in the order of their ids, those after one; also those that expired a while ago.
    pub(super) fn keys(&self, after: Option<KeyId>) -> impl Iterator<Item = (KeyId, &StoredKey)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.keys.range((from, Bound::Unbounded)).map(|(id, key)| (*id, key))
    }

    /// The entries of a list, networks first, those after one.
    pub(super) fn entries(
        &self,
        list: ListName,
        after: Option<Identifier>,
    ) -> impl Iterator<Item = (Identifier, &Entry)> {
        self.list(list).after(after)
    }

    pub(super) fn has(&self, subject: Subject, now: Timestamp) -> bool {
        match subject {
            // An expired key can be revoked: until then it is listed.
            Subject::Key(id) => self.keys.contains_key(&id),
            Subject::Entry(list, who) => self.list(list).has(&who, &|| now),
        }
    }

    pub(super) fn sizes(&self, now: Timestamp) -> Sizes {
        let in_force = |key: &&StoredKey| key.expires_at.is_none_or(|until| now < until);
        let keys = self.keys.values().filter(in_force).count();
        Sizes { keys, allow: self.allow.entries.len(), deny: self.deny.entries.len() }
    }

    /// Puts a change in force; false if it cannot be read.
    pub(super) fn put(&mut self, subject: &str, payload: Option<&str>) -> bool {
        let Ok(subject) = subject.parse::<Subject>() else { return false };
        let Some(payload) = payload else {
            self.remove(&subject);
            return true;
        };
        match subject {
            Subject::Key(id) => {
                let read = serde_json::from_str(payload).ok();
                read.map(|key| self.keys.insert(id, key)).is_some()
            }
            Subject::Entry(list, who) => {
                let read = serde_json::from_str(payload).ok();
                read.map(|entry| self.list_mut(list).put(who, entry)).is_some()
            }
        }
    }

    fn remove(&mut self, subject: &Subject) {
        match subject {
            Subject::Key(id) => drop(self.keys.remove(id)),
            Subject::Entry(list, who) => drop(self.list_mut(*list).entries.remove(who)),
        }
    }

    fn expired(&self, now: Timestamp) -> impl Iterator<Item = Subject> {
        let is_over = move |until: Option<Timestamp>| until.is_some_and(|until| until <= now);
        let keys = self.keys.iter().filter(move |(_, key)| is_over(kept_until(key)));
        let entries = [ListName::Allow, ListName::Deny].into_iter().flat_map(move |list| {
            let over = self.entries(list, None).filter(move |(_, one)| is_over(one.expires_at));
            over.map(move |(who, _)| Subject::Entry(list, who))
        });
        keys.map(|(id, _)| Subject::Key(*id)).chain(entries)
    }

    const fn list(&self, list: ListName) -> &List {
        match list {
            ListName::Allow => &self.allow,
            ListName::Deny => &self.deny,
        }
    }

    const fn list_mut(&mut self, list: ListName) -> &mut List {
        match list {
            ListName::Allow => &mut self.allow,
            ListName::Deny => &mut self.deny,
        }
    }
}

impl List {
    fn put(&mut self, who: Identifier, entry: Entry) {
        match who {
            Identifier::Network(IpNet::V4(net)) => self.v4.insert(Reverse(net.prefix_len())),
            Identifier::Network(IpNet::V6(net)) => self.v6.insert(Reverse(net.prefix_len())),
            Identifier::Key(_) => false,
        };
        self.entries.insert(who, entry);
    }

    fn has(&self, who: &Identifier, now: &impl Fn() -> Timestamp) -> bool {
        self.entries.get(who).is_some_and(|entry| entry.is_in_force(now))
    }

    fn has_address(&self, address: IpAddr, now: &impl Fn() -> Timestamp) -> bool {
        let lengths = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        lengths.iter().any(|Reverse(length)| {
            let network = IpNet::new(address, *length).map(|network| network.trunc());
            network.is_ok_and(|network| self.has(&Identifier::Network(network), now))
        })
    }

    fn has_key(&self, key: Option<KeyId>, now: &impl Fn() -> Timestamp) -> bool {
        key.is_some_and(|key| self.has(&Identifier::Key(key), now))
    }

    fn after(&self, after: Option<Identifier>) -> impl Iterator<Item = (Identifier, &Entry)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(who, entry)| (*who, entry))
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
