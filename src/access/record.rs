//! What is stored of a client's key and of an entry of a list, and whom an entry is about.
//!
//! Owns: their JSON form in the log of changes, and the subject each change is about; the one canonical
//! form of an address, a network and a key's id, so that nothing stands on a list twice under two names.
//! An IPv4 address or network written as IPv6 is that IPv4. Refuses: networks with bits beyond their
//! prefix (`10.1.2.3/8` may mean either), and texts that are none of the three, with a sentence that
//! says so; a key whose networks cannot be read must not be usable from anywhere.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::keys::SecretDigest;
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

/// Longest text that is looked at.
const LONGEST_TEXT: usize = 64;
/// Bits before an IPv4 address in IPv6.
const MAPPED_BITS: u8 = 96;

/// Who an entry of a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identifier {
    /// The addresses of a network; of a single address if the prefix has all bits.
    Network(IpNet),
    /// The holder of a key.
    Key(KeyId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnIdentifier {
    pub problem: &'static str,
    pub allowed: String,
}

/// An address or network in its canonical form.
///
/// # Errors
/// It is neither, or the network has bits beyond its prefix.
pub fn network(text: &str) -> Result<IpNet, NotAnIdentifier> {
    let refused = |problem| NotAnIdentifier {
        problem,
        allowed: "an address such as 203.0.113.7 or 2001:db8::1, or a network such as \
                  10.0.0.0/8 or 2001:db8::/32"
            .to_owned(),
    };
    if text.len() > LONGEST_TEXT {
        return Err(refused("is too long"));
    }
    if !text.contains('/') {
        let address: IpAddr = text.parse().map_err(|_| refused("is no address"))?;
        return Ok(IpNet::from(address.to_canonical()));
    }
    let network: IpNet = text.parse().map_err(|_| refused("is no network"))?;
    if network.trunc() != network {
        let allowed = format!("{}, or an address without a prefix", canonical(network.trunc()));
        return Err(NotAnIdentifier { problem: "has bits beyond its prefix", allowed });
    }
    Ok(canonical(network))
}

/// IPv4 in IPv6 is IPv4.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped();
    let length = v6.prefix_len().checked_sub(MAPPED_BITS);
    mapped
        .zip(length)
        .and_then(|(v4, length)| Ipv4Net::new(v4, length).ok())
        .map_or(network, IpNet::V4)
}

/// A network as people write it: without the prefix if it is one address.
pub fn shown(network: &IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

impl FromStr for Identifier {
    type Err = NotAnIdentifier;

    fn from_str(text: &str) -> Result<Self, NotAnIdentifier> {
        if let Ok(key) = text.parse::<KeyId>() {
            return Ok(Self::Key(key));
        }
        network(text).map(Self::Network).map_err(|mut refused| {
            if !text.contains(['/', '.', ':']) {
                refused.problem = "is neither an address, nor a network, nor the id of a key";
            }
            refused.allowed.push_str(", or the id of a key as GET /admin/keys lists it");
            refused
        })
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => f.write_str(&shown(network)),
            Self::Key(key) => write!(f, "{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

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

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Identifier>()
            .map(|identifier| identifier.to_string())
            .map_err(|refused| format!("{}; {}", refused.problem, refused.allowed))
    }

    #[test]
    fn everything_has_one_form() {
        for (text, form) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/32", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/0", "::/0"),
            ("internal", "internal"),
            ("0123456789ab", "0123456789ab"),
        ] {
            assert_eq!(read(text), Ok(form.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_allowed() {
        for text in [
            "",
            " ",
            "x",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0/8",
            "010.0.0.1",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "/8",
            "2001:db8::1/32",
            "fe80::1%eth0",
            "1.2.3.4:80",
            "example.com",
            "0123456789AB",
            "0123456789a",
            "10.0.0.0/8/8",
            "*",
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.contains("the id of a key"), "{text}: {refused}");
        }
        assert!(read(&"1".repeat(100)).is_err());
        assert!(read("10.1.2.3/8").unwrap_err().contains("bits beyond its prefix; 10.0.0.0/8"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic_and_back(text in ".{0,24}") {
            if let Ok(identifier) = text.parse::<Identifier>() {
                prop_assert_eq!(identifier.to_string().parse(), Ok(identifier));
            }
        }

        #[test]
        fn any_network_is_read_back(bits: u128, length in 0..=128_u8) {
            let network = IpNet::new(IpAddr::V6(Ipv6Addr::from_bits(bits)), length).unwrap().trunc();
            let read: Identifier = network.to_string().parse().unwrap();
            prop_assert_eq!(read.to_string().parse(), Ok(read));
        }
    }
}
