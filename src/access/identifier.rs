//! What can stand on a list: an address, a network, or a key's id.
//!
//! Owns: the one canonical form of each, so that nothing stands on a list twice under two names. An
//! IPv4 address or network written as IPv6 is that IPv4. Refuses: networks with bits beyond their
//! prefix (whoever writes `10.1.2.3/8` may have meant either), and whatever is none of the three,
//! with a sentence that says so.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::limits::KeyId;

/// Longest text that is looked at.
const LONGEST: usize = 64;
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
    if text.len() > LONGEST {
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
