//! What is stored of a client's key and of an entry of a list.
//!
//! Owns: their JSON form in the log of changes, and the subject each change is about. Refuses: texts
//! that are neither; a key whose networks cannot be read must not be usable from anywhere.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::identifier::{Identifier, network, shown};
use super::secret::SecretDigest;
use crate::clock::Timestamp;
use crate::limits::KeyId;

/// Networks a key may be used from, at most.
pub const MOST_NETWORKS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListName {
    /// Beats the limits.
    Allow,
    /// Beats everything.
    Deny,
}

impl ListName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a change is about: `key:ID`, `allow:IDENTIFIER` or `deny:IDENTIFIER` in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Key(KeyId),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotASubject;

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let (kind, name) = text.split_once(':').ok_or(NotASubject)?;
        let entry = |list| Ok(Self::Entry(list, name.parse().map_err(|_| NotASubject)?));
        match kind {
            "key" => {
                let id = name.parse().ok().filter(|id| *id != KeyId::INTERNAL);
                id.map(Self::Key).ok_or(NotASubject)
            }
            "allow" => entry(ListName::Allow),
            "deny" => entry(ListName::Deny),
            _ => Err(NotASubject),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKey {
    /// What its owner calls it.
    pub label: String,
    /// All that is kept of its secret.
    pub digest: SecretDigest,
    /// Requests a minute, in each class of routes, in place of the limits for keys.
    pub per_minute: Option<NonZeroU32>,
    /// Where it may be used from; anywhere when empty.
    #[serde(serialize_with = "write_networks", deserialize_with = "read_networks")]
    pub networks: Vec<IpNet>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub reason: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
}

impl Entry {
    pub(super) fn is_in_force(&self, now: impl Fn() -> Timestamp) -> bool {
        self.expires_at.is_none_or(|until| now() < until)
    }
}

fn write_networks<S: Serializer>(networks: &[IpNet], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(networks.iter().map(shown))
}

fn read_networks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let read = texts.iter().map(|text| network(text));
    read.collect::<Result<_, _>>().map_err(|_| serde::de::Error::custom("a network that is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_written_and_read_and_nothing_else_is_one() {
        for text in ["key:0123456789ab", "allow:10.0.0.0/8", "deny:2001:db8::1", "deny:internal"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in
            ["", "key", "key:", "key:internal", "deny:", "deny:x", "other:10.0.0.1", "10.0.0.1"]
        {
            assert_eq!(text.parse::<Subject>(), Err(NotASubject), "{text}");
        }
    }

    #[test]
    fn the_form_in_the_log_stays_as_it_is() {
        let key = r#"{"label":"a","digest":"DIGEST","per_minute":7,"networks":["10.0.0.0/8","::1"],"created_at":1,"expires_at":null}"#;
        let key = key.replace("DIGEST", &"0f".repeat(32));
        let read: StoredKey = serde_json::from_str(&key).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), key);
        for (right, wrong) in [("0f", "0g"), ("10.0.0.0/8", "10.0.0.1/8"), ("7", "0")] {
            assert!(serde_json::from_str::<StoredKey>(&key.replace(right, wrong)).is_err());
        }
        let entry = r#"{"reason":"r","created_at":1,"expires_at":2}"#;
        let read: Entry = serde_json::from_str(entry).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), entry);
    }
}
