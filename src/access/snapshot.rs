//! What is in force: keys and lists as every request reads them.
//!
//! Owns: the decision over one request: is it denied, allowed, or neither; and finding a key. A
//! snapshot never changes once it is published; a change makes another one, which shares all but the
//! changed part with it. What has expired does not count, also before it is taken out. Refuses
//! nothing; does no input and output.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;

use super::identifier::Identifier;
use super::keys::SecretDigest;
use super::prefixes::Prefixes;
use super::record::{Body, ListName, Record, Subject};
use super::sharded::Sharded;
use crate::clock::Timestamp;
use crate::limits::KeyId;

/// Until when something counts; `None` for ever.
type Until = Option<Timestamp>;

/// A key as requests meet it.
#[derive(Debug)]
pub struct KnownKey {
    pub(super) digest: SecretDigest,
    pub(super) per_minute: Option<NonZeroU32>,
    networks: Vec<IpNet>,
    expires_at: Until,
}

impl KnownKey {
    /// Whether it is good for a request from there.
    pub(super) fn is_known_from(&self, address: IpAddr, now: impl Fn() -> Timestamp) -> bool {
        let here = self.networks.is_empty()
            || self.networks.iter().any(|network| network.contains(&address));
        here && counts(self.expires_at, &now)
    }
}

/// What the lists say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Unlisted,
    /// Limits do not apply.
    Allowed,
    /// It is turned away, for its address or for its key.
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

/// One list.
#[derive(Debug, Clone, Default)]
struct List {
    networks: Prefixes<Until>,
    keys: Sharded<KeyId, Until>,
}

impl List {
    const fn len(&self) -> usize {
        self.networks.len() + self.keys.len()
    }

    fn put(&mut self, identifier: Identifier, until: Until) {
        match identifier {
            Identifier::Network(network) => self.networks.insert(network, until),
            Identifier::Key(key) => drop(self.keys.insert(key, until)),
        }
    }

    fn take_out(&mut self, identifier: &Identifier) {
        match identifier {
            Identifier::Network(network) => self.networks.remove(network),
            Identifier::Key(key) => drop(self.keys.remove(key)),
        }
    }

    fn has_address(&self, address: IpAddr, now: &impl Fn() -> Timestamp) -> bool {
        self.networks.longest(address, |until| counts(*until, now)).is_some()
    }

    fn has_key(&self, key: Option<KeyId>, now: &impl Fn() -> Timestamp) -> bool {
        key.and_then(|key| self.keys.get(&key)).is_some_and(|until| counts(*until, now))
    }
}

fn counts(until: Until, now: &impl Fn() -> Timestamp) -> bool {
    until.is_none_or(|until| now() < until)
}

/// Keys and lists in force.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    keys: Sharded<KeyId, Arc<KnownKey>>,
    allow: List,
    deny: List,
}

impl Snapshot {
    /// What the lists say of a request from `address` by the holder of `key`. The clock is read only
    /// if an entry that ends is met.
    #[must_use]
    pub fn judge(
        &self,
        address: IpAddr,
        key: Option<KeyId>,
        now: impl Fn() -> Timestamp,
    ) -> Verdict {
        if self.deny.len() > 0 {
            if self.deny.has_address(address, &now) {
                return Verdict::Denied(DeniedBy::Address);
            }
            if self.deny.has_key(key, &now) {
                return Verdict::Denied(DeniedBy::Key);
            }
        }
        let allowed = self.allow.len() > 0
            && (self.allow.has_key(key, &now) || self.allow.has_address(address, &now));
        if allowed { Verdict::Allowed } else { Verdict::Unlisted }
    }

    /// Whether there is any stored key.
    #[must_use]
    pub const fn has_keys(&self) -> bool {
        self.keys.len() > 0
    }

    /// A stored key.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&KnownKey> {
        self.keys.get(&id).map(|key| &**key)
    }

    /// How much is in force, by kind; what has expired may count for a moment.
    #[must_use]
    pub const fn sizes(&self) -> Sizes {
        Sizes { keys: self.keys.len(), allow: self.allow.len(), deny: self.deny.len() }
    }

    /// Puts a record in force, in place of what was known of its subject.
    pub(super) fn apply(&mut self, record: &Record, now: Timestamp) {
        let body = record.body.as_ref().filter(|_| record.is_alive(now));
        match (record.subject, body) {
            (Subject::Key(id), Some(Body::Key(key))) => {
                let known = KnownKey {
                    digest: key.digest,
                    per_minute: key.per_minute,
                    networks: key.networks.clone(),
                    expires_at: key.expires_at,
                };
                self.keys.insert(id, Arc::new(known));
            }
            (Subject::Key(id), Some(Body::Entry(_)) | None) => drop(self.keys.remove(&id)),
            (Subject::Entry(list, identifier), Some(body)) => {
                self.list(list).put(identifier, body.expires_at());
            }
            (Subject::Entry(list, identifier), None) => self.list(list).take_out(&identifier),
        }
    }

    const fn list(&mut self, list: ListName) -> &mut List {
        match list {
            ListName::Allow => &mut self.allow,
            ListName::Deny => &mut self.deny,
        }
    }
}

/// How much is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Stored keys.
    pub keys: usize,
    /// Entries of the allow list.
    pub allow: usize,
    /// Entries of the deny list.
    pub deny: usize,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::access::record::tests::record;

    const NOW: Timestamp = Timestamp::from_millis(1);

    /// What the rules of the lists say, by looking at every record.
    fn naive(records: &BTreeMap<Subject, Record>, address: IpAddr, key: Option<KeyId>) -> Verdict {
        let on = |list: ListName, matches: &dyn Fn(&Identifier) -> bool| {
            records.values().any(|record| {
                record.is_alive(NOW)
                    && matches!(&record.subject, Subject::Entry(on, who) if *on == list && matches(who))
            })
        };
        let here = |who: &Identifier| matches!(who, Identifier::Network(network) if network.contains(&address));
        let holder = |who: &Identifier| key.is_some_and(|key| *who == Identifier::Key(key));
        if on(ListName::Deny, &here) {
            Verdict::Denied(DeniedBy::Address)
        } else if on(ListName::Deny, &holder) {
            Verdict::Denied(DeniedBy::Key)
        } else if on(ListName::Allow, &here) || on(ListName::Allow, &holder) {
            Verdict::Allowed
        } else {
            Verdict::Unlisted
        }
    }

    #[test]
    fn a_hundred_thousand_entries_are_a_few_look_ups() {
        let mut snapshot = Snapshot::default();
        let entry =
            crate::access::Entry { reason: String::new(), created_at: NOW, expires_at: None };
        for number in 0..100_000_u32 {
            let address = Ipv4Addr::from_bits(number << 8 | 7);
            let length = if number % 2 == 0 { 32 } else { 24 };
            let network = IpNet::new(address.into(), length).unwrap().trunc();
            let subject = Subject::Entry(ListName::Deny, Identifier::Network(network));
            let body = Some(Body::Entry(entry.clone()));
            snapshot.apply(
                &Record { subject, stamp: super::super::stamp::Stamp::default(), body },
                NOW,
            );
        }
        assert_eq!(snapshot.sizes().deny, 100_000);
        let before = snapshot.clone();
        for number in 0..100_000_u32 {
            let at = |low: u32| IpAddr::from(Ipv4Addr::from_bits(number << 8 | low));
            let denied = |address| snapshot.judge(address, None, || NOW) != Verdict::Unlisted;
            assert!(denied(at(7)), "{number}");
            assert_eq!(denied(at(8)), number % 2 == 1, "{number}");
        }
        assert_eq!(before.sizes(), snapshot.sizes());
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_the_rules(
            records in prop::collection::vec(record(), 0..30),
            asked in prop::collection::vec((any::<u32>(), any::<bool>(), 0..3_u64), 1..20),
        ) {
            let mut snapshot = Snapshot::default();
            let mut model = BTreeMap::new();
            for record in records {
                snapshot.apply(&record, NOW);
                model.insert(record.subject, record);
            }
            for (bits, v6, key) in asked {
                let address = if v6 {
                    IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(bits)))
                } else if bits % 2 == 0 {
                    IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1))
                } else {
                    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | bits >> 7))
                };
                let key = (key > 0).then(|| KeyId::new(key));
                prop_assert_eq!(snapshot.judge(address, key, || NOW), naive(&model, address, key));
            }
        }
    }
}
