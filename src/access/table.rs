//! Keys and lists as every request reads them.
//!
//! Owns: the decision over one request: is it denied, allowed, or neither; and finding a key. Follows
//! the log of changes as its topic `access`; while the database is away it goes on with what it
//! knows. What has expired does not count, also before it is taken out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::identifier::Identifier;
use super::networks::Networks;
use super::record::{Entry, ListName, StoredKey, Subject};
use crate::clock::Timestamp;
use crate::limits::KeyId;
use crate::replication::{Change, Draft, Topic};

const TOPIC: &str = "access";
/// How long an expired key is still listed.
const EXPIRED_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What the lists say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
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
    /// The key it holds.
    Key,
}

impl DeniedBy {
    /// The word in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
        }
    }
}

/// How much is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub keys: usize,
    pub allow: usize,
    pub deny: usize,
}

/// Keys and lists. Readers wait for nothing but a change that is being put in.
#[derive(Debug, Default)]
pub struct Table(RwLock<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// In their order, for pages.
    keys: BTreeMap<KeyId, StoredKey>,
    allow: List,
    deny: List,
}

#[derive(Debug, Default)]
struct List {
    networks: Networks<Entry>,
    keys: BTreeMap<KeyId, Entry>,
}

impl Table {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        // An entry is put in with one call; whoever panics leaves a state that is whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what has expired.
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
        let keys = state.keys.iter().map(|(id, key)| draft(Subject::Key(*id), key));
        let entries = [ListName::Allow, ListName::Deny].into_iter().flat_map(|name| {
            let entries = state.list(name).entries(None);
            entries.map(move |(who, entry)| draft(Subject::Entry(name, who), entry))
        });
        keys.chain(entries).collect()
    }
}

/// What is stored of a key or an entry.
pub(super) trait Stored: serde::Serialize {
    fn created_at(&self) -> Timestamp;
    /// When nobody needs it any more.
    fn keep_until(&self) -> Option<Timestamp>;
}

impl Stored for StoredKey {
    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn keep_until(&self) -> Option<Timestamp> {
        self.expires_at.map(|until| until.plus(EXPIRED_KEPT))
    }
}

impl Stored for Entry {
    fn created_at(&self) -> Timestamp {
        self.created_at
    }

    fn keep_until(&self) -> Option<Timestamp> {
        self.expires_at
    }
}

/// The change that puts a key or an entry in force.
pub(super) fn draft(subject: Subject, stored: &impl Stored) -> Draft {
    Draft {
        topic: TOPIC,
        key: subject.to_string(),
        payload: serde_json::to_string(stored).ok(),
        at: stored.created_at(),
        keep_until: stored.keep_until(),
    }
}

/// The change that removes one.
pub(super) fn removal(subject: Subject, now: Timestamp) -> Draft {
    Draft::removal(TOPIC, subject.to_string(), now)
}

impl State {
    /// What the lists say of a request from `address` by the holder of `key`. The clock is read only
    /// if an entry that ends is met.
    pub(super) fn judge(
        &self,
        address: IpAddr,
        key: Option<KeyId>,
        now: impl Fn() -> Timestamp,
    ) -> Verdict {
        if self.deny.has_address(address, &now) {
            Verdict::Denied(DeniedBy::Address)
        } else if self.deny.has_key(key, &now) {
            Verdict::Denied(DeniedBy::Key)
        } else if self.allow.has_key(key, &now) || self.allow.has_address(address, &now) {
            Verdict::Allowed
        } else {
            Verdict::Unlisted
        }
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(super) fn key(&self, id: KeyId) -> Option<&StoredKey> {
        self.keys.get(&id)
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
        self.list(list).entries(after)
    }

    /// Whether the subject is there and in force.
    pub(super) fn has(&self, subject: Subject, now: Timestamp) -> bool {
        match subject {
            // An expired key can be revoked: until then it is listed.
            Subject::Key(id) => self.keys.contains_key(&id),
            Subject::Entry(list, who) => {
                self.list(list).get(&who).is_some_and(|entry| entry.is_in_force(|| now))
            }
        }
    }

    pub(super) fn sizes(&self, now: Timestamp) -> Sizes {
        let in_force = |key: &&StoredKey| key.expires_at.is_none_or(|until| now < until);
        let keys = self.keys.values().filter(in_force).count();
        Sizes { keys, allow: self.allow.len(), deny: self.deny.len() }
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
            Subject::Entry(list, who) => self.list_mut(*list).take_out(who),
        }
    }

    fn expired(&self, now: Timestamp) -> impl Iterator<Item = Subject> {
        let is_over = move |until: Option<Timestamp>| until.is_some_and(|until| until <= now);
        let keys = self.keys.iter().filter(move |(_, key)| is_over(key.keep_until()));
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
    fn len(&self) -> usize {
        self.networks.len().saturating_add(self.keys.len())
    }

    fn put(&mut self, who: Identifier, entry: Entry) {
        match who {
            Identifier::Network(network) => self.networks.insert(network, entry),
            Identifier::Key(key) => drop(self.keys.insert(key, entry)),
        }
    }

    fn take_out(&mut self, who: &Identifier) {
        match who {
            Identifier::Network(network) => self.networks.remove(network),
            Identifier::Key(key) => drop(self.keys.remove(key)),
        }
    }

    fn get(&self, who: &Identifier) -> Option<&Entry> {
        match who {
            Identifier::Network(network) => self.networks.get(network),
            Identifier::Key(key) => self.keys.get(key),
        }
    }

    fn has_address(&self, address: IpAddr, now: &impl Fn() -> Timestamp) -> bool {
        self.networks.contains(address, |entry| entry.is_in_force(now))
    }

    fn has_key(&self, key: Option<KeyId>, now: &impl Fn() -> Timestamp) -> bool {
        key.and_then(|key| self.keys.get(&key)).is_some_and(|entry| entry.is_in_force(now))
    }

    fn entries(&self, after: Option<Identifier>) -> impl Iterator<Item = (Identifier, &Entry)> {
        let (networks, keys) = match after {
            None => (Some(None), Bound::Unbounded),
            Some(Identifier::Network(network)) => (Some(Some(network)), Bound::Unbounded),
            Some(Identifier::Key(key)) => (None, Bound::Excluded(key)),
        };
        let networks = networks.into_iter().flat_map(|after| self.networks.after(after));
        let networks = networks.map(|(network, entry)| (Identifier::Network(*network), entry));
        let keys = self.keys.range((keys, Bound::Unbounded));
        networks.chain(keys.map(|(key, entry)| (Identifier::Key(*key), entry)))
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
