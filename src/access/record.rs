//! What is known of one key or one entry of a list, and which of two versions counts.
//!
//! Owns: [`Record`], its written form (the same in Redis and on the way there) and the merge: of two
//! records of one subject the later counts, whoever hears of them and in whatever order. A record
//! without a body says that the subject is gone, and is kept for as long as somebody may still hold an
//! older version. Refuses: texts that are none, and never half of one.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::identifier::{Identifier, network, shown};
use super::keys::SecretDigest;
use super::stamp::Stamp;
use crate::clock::Timestamp;
use crate::limits::KeyId;

/// How long it is remembered that something is gone: an instance that was away for longer may bring
/// it back.
pub const GONE_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Networks a key may be used from, at most.
pub const MOST_NETWORKS: usize = 64;

/// Which list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListName {
    /// Beats the limits.
    Allow,
    /// Beats everything.
    Deny,
}

impl ListName {
    /// The word in stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A key.
    Key(KeyId),
    /// An entry of a list.
    Entry(ListName, Identifier),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Entry(list, identifier) => write!(f, "{}:{identifier}", list.as_str()),
        }
    }
}

impl FromStr for Subject {
    type Err = NotARecord;

    fn from_str(text: &str) -> Result<Self, NotARecord> {
        let (kind, name) = text.split_once(':').ok_or(NotARecord("a subject without a kind"))?;
        let entry = |list| {
            let identifier = name.parse().map_err(|_| NotARecord("an entry about nobody"))?;
            Ok(Self::Entry(list, identifier))
        };
        match kind {
            "key" => name
                .parse()
                .ok()
                .filter(|id| *id != KeyId::INTERNAL)
                .map(Self::Key)
                .ok_or(NotARecord("a key without an id")),
            "allow" => entry(ListName::Allow),
            "deny" => entry(ListName::Deny),
            _ => Err(NotARecord("a subject of an unknown kind")),
        }
    }
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// What its owner calls it.
    pub label: String,
    /// All that is kept of its secret.
    pub digest: SecretDigest,
    /// Requests a minute, in each class of routes, in place of the limits for keys.
    pub per_minute: Option<NonZeroU32>,
    /// Where it may be used from; anywhere when empty.
    pub networks: Vec<IpNet>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is known.
    pub expires_at: Option<Timestamp>,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Why it is there.
    pub reason: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// What a record says about its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A key; apart, so that the many entries of lists take no more room than they need.
    Key(Box<StoredKey>),
    /// An entry of a list.
    Entry(Entry),
}

impl Body {
    /// Until when it counts.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::Key(key) => key.expires_at,
            Self::Entry(entry) => entry.expires_at,
        }
    }
}

/// What is known of a subject since a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whom or what it is about.
    pub subject: Subject,
    /// When it was changed.
    pub stamp: Stamp,
    /// What it is since then; `None`: gone.
    pub body: Option<Body>,
}

impl Record {
    /// Whether this counts and not `other`, which is about the same subject.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        match self.stamp.cmp(&other.stamp) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            // Two instances that have drawn one number; they have to agree all the same.
            std::cmp::Ordering::Equal => self.value() > other.value(),
        }
    }

    /// Whether its subject is there.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        let expires_at = self.body.as_ref().map(Body::expires_at);
        expires_at.is_some_and(|until| until.is_none_or(|until| now < until))
    }

    /// Until when its subject is there, if that is known.
    pub(super) fn end(&self) -> Option<Timestamp> {
        self.body.as_ref().and_then(Body::expires_at)
    }

    /// Whether nobody needs it any more.
    #[must_use]
    pub fn is_forgettable(&self, now: Timestamp) -> bool {
        let until = self.body.as_ref().map_or(Some(self.stamp.at()), Body::expires_at);
        until.is_some_and(|until| now.since(until.max(self.stamp.at())) > GONE_FOR)
    }

    /// The written form of all but the subject: the stamp's digits, a blank, and the body as JSON, or
    /// `-` if it is gone. Of two texts the one that begins with the greater digits counts.
    #[must_use]
    pub fn value(&self) -> String {
        let body = self.body.as_ref().and_then(|body| match body {
            Body::Key(key) => serde_json::to_string(&KeyText::of(key)).ok(),
            Body::Entry(entry) => serde_json::to_string(&EntryText::of(entry)).ok(),
        });
        format!("{} {}", self.stamp, body.as_deref().unwrap_or("-"))
    }

    /// Reads what [`Record::value`] wrote.
    ///
    /// # Errors
    /// It is none, and why.
    pub fn read(subject: &str, value: &str) -> Result<Self, NotARecord> {
        let subject: Subject = subject.parse()?;
        let (stamp, body) = value.split_once(' ').ok_or(NotARecord("no body"))?;
        let stamp = stamp.parse().map_err(|_| NotARecord("no stamp"))?;
        let unreadable = |_| NotARecord("a body that cannot be read");
        let body = match (body, subject) {
            ("-", _) => None,
            (text, Subject::Key(_)) => {
                let text: KeyText = serde_json::from_str(text).map_err(unreadable)?;
                Some(Body::Key(Box::new(text.read()?)))
            }
            (text, Subject::Entry(..)) => {
                let text: EntryText = serde_json::from_str(text).map_err(unreadable)?;
                Some(Body::Entry(text.read()))
            }
        };
        Ok(Self { subject, stamp, body })
    }
}

/// What is no record, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARecord(pub &'static str);

impl fmt::Display for NotARecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[derive(Serialize, Deserialize)]
struct KeyText {
    label: String,
    digest: String,
    per_minute: Option<NonZeroU32>,
    networks: Vec<String>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl KeyText {
    fn of(key: &StoredKey) -> Self {
        let networks = key.networks.iter().map(shown).collect();
        let StoredKey { label, digest, per_minute, created_at, expires_at, .. } = key.clone();
        Self { label, digest: digest.to_hex(), per_minute, networks, created_at, expires_at }
    }

    fn read(self) -> Result<StoredKey, NotARecord> {
        let Self { label, digest, per_minute, networks, created_at, expires_at } = self;
        let digest = SecretDigest::from_hex(&digest).ok_or(NotARecord("no digest"))?;
        let networks = read_networks(networks.iter().map(String::as_str))?;
        Ok(StoredKey { label, digest, per_minute, networks, created_at, expires_at })
    }
}

/// Networks as they were written. A key that lost one of them must not be usable from anywhere: one
/// that cannot be read spoils the record.
pub(super) fn read_networks<'a>(
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<IpNet>, NotARecord> {
    texts.map(|text| network(text).map_err(|_| NotARecord("a network that is none"))).collect()
}

#[derive(Serialize, Deserialize)]
struct EntryText {
    reason: String,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
}

impl EntryText {
    fn of(entry: &Entry) -> Self {
        let Entry { reason, created_at, expires_at } = entry.clone();
        Self { reason, created_at, expires_at }
    }

    fn read(self) -> Entry {
        let Self { reason, created_at, expires_at } = self;
        Entry { reason, created_at, expires_at }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(subject: Subject) -> impl Strategy<Value = Option<Body>> {
        let expiry = prop::option::of((0..4_i64).prop_map(Timestamp::from_millis));
        (any::<bool>(), 0..3_u32, expiry).prop_map(move |(there, number, expires_at)| {
            let created_at = Timestamp::from_millis(1);
            there.then(|| match subject {
                Subject::Key(_) => Body::Key(Box::new(StoredKey {
                    label: format!("no. {number}"),
                    digest: SecretDigest::of(&number.to_be_bytes()),
                    per_minute: NonZeroU32::new(number),
                    networks: vec![network("10.0.0.0/8").unwrap(); usize::from(number > 1)],
                    created_at,
                    expires_at,
                })),
                Subject::Entry(..) => {
                    Body::Entry(Entry { reason: format!("no. {number}"), created_at, expires_at })
                }
            })
        })
    }

    /// A record about one of a few subjects, at one of a few times.
    pub(in crate::access) fn record() -> impl Strategy<Value = Record> {
        let subjects = [
            "key:000000000001",
            "key:000000000002",
            "allow:10.0.0.0/8",
            "deny:10.0.0.0/8",
            "deny:10.1.1.1",
            "deny:2001:db8::/32",
            "allow:000000000001",
        ];
        let subject = prop::sample::select(subjects.to_vec());
        (subject, 0..5_i64, 0..2_u32, 0..2_u32).prop_flat_map(|(subject, at, count, by)| {
            let subject = subject.parse().unwrap();
            let stamp = Stamp::new(Timestamp::from_millis(at), count, by);
            body(subject).prop_map(move |body| Record { subject, stamp, body })
        })
    }

    #[test]
    fn what_is_no_record_is_told() {
        let stamp = Stamp::default();
        for (subject, value) in [
            ("", format!("{stamp} -")),
            ("key:internal", format!("{stamp} -")),
            ("key:1", format!("{stamp} -")),
            ("deny:nobody", format!("{stamp} -")),
            ("other:10.0.0.0/8", format!("{stamp} -")),
            ("deny:10.0.0.0/8", String::new()),
            ("deny:10.0.0.0/8", "- -".to_owned()),
            ("deny:10.0.0.0/8", stamp.to_string()),
            ("deny:10.0.0.0/8", format!("{stamp} ")),
            ("deny:10.0.0.0/8", format!("{stamp} {{}}")),
            ("key:000000000001", format!("{stamp} {{\"reason\":\"\",\"created_at\":1}}")),
            (
                "key:000000000001",
                format!(
                    "{stamp} {{\"label\":\"\",\"digest\":\"00\",\"networks\":[],\"created_at\":1}}"
                ),
            ),
        ] {
            assert!(Record::read(subject, &value).is_err(), "{subject} {value}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(record in record()) {
            let text = record.subject.to_string();
            prop_assert_eq!(Record::read(&text, &record.value()), Ok(record));
        }

        #[test]
        fn of_two_different_ones_exactly_one_counts(one in record(), other in record()) {
            if one.subject == other.subject {
                prop_assert_eq!(one.supersedes(&other) || other.supersedes(&one), one != other);
                prop_assert!(!(one.supersedes(&other) && other.supersedes(&one)));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(subject in ".{0,20}", value in ".{0,60}") {
            drop(Record::read(&subject, &value));
        }
    }
}
