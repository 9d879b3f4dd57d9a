//! Who is counted: a key, or the network a request came from.
//!
//! Owns: the compact names that limits are kept under. Refuses nothing: every address belongs to
//! a network. An IPv6 client owns a whole prefix and could change its address with every request,
//! so it is counted by that prefix; an IPv4 address, also one wrapped in IPv6, by itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An access key's name; says nothing about its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// The key from the settings (`INTERNAL_API_KEY`).
    pub const INTERNAL: Self = Self(0);

    /// A stored key's number; 48 bits of it count.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number & ((1 << 48) - 1))
    }
}

/// `internal`, or twelve hexadecimal digits.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::INTERNAL { f.write_str("internal") } else { write!(f, "{:012x}", self.0) }
    }
}

/// A text that is no key's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAKeyId;

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        if text == "internal" {
            return Ok(Self::INTERNAL);
        }
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 12 || !text.bytes().all(digit) {
            return Err(NotAKeyId);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| NotAKeyId)?;
        // Nought is the internal key's, and has a name.
        if number == 0 { Err(NotAKeyId) } else { Ok(Self(number)) }
    }
}

/// The addresses that share one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// All IPv6 addresses that begin alike.
    V6 {
        /// The first of them: all bits after the prefix are zero.
        base: Ipv6Addr,
        /// How many bits they share, at most 128.
        prefix: u8,
    },
}

impl Network {
    /// The network `address` is counted under; `ipv6_prefix` above 128 is 128.
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => {
                let prefix = ipv6_prefix.min(128);
                let host_bits = 128 - u32::from(prefix);
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Self::V6 { base: Ipv6Addr::from_bits(v6.to_bits() & mask), prefix }
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => write!(f, "{address}"),
            Self::V6 { base, prefix } => write!(f, "{base}/{prefix}"),
        }
    }
}

/// Who a request is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// The holder of a known key.
    Key(KeyId),
    /// Anybody at these addresses.
    Network(Network),
}

impl Principal {
    /// The principal of a request without a known key.
    #[must_use]
    pub fn of_address(address: IpAddr, ipv6_prefix: u8) -> Self {
        Self::Network(Network::of(address, ipv6_prefix))
    }

    /// Whether this is a key.
    #[must_use]
    pub const fn is_key(&self) -> bool {
        matches!(self, Self::Key(_))
    }

    /// A number that is the same for every request of a principal, on every instance and after
    /// every restart, and spread evenly over all of them: places it in percentage rollouts.
    #[must_use]
    pub fn stable_number(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        match self {
            Self::Key(KeyId(number)) => {
                sum.update(b"key");
                sum.update(&number.to_be_bytes());
            }
            Self::Network(Network::V4(address)) => sum.update(&address.octets()),
            Self::Network(Network::V6 { base, prefix }) => {
                sum.update(&base.octets());
                sum.update(&[*prefix]);
            }
        }
        sum.finalize()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Network(network) => write!(f, "{network}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(address: &str, prefix: u8) -> String {
        Principal::of_address(address.parse().unwrap(), prefix).to_string()
    }

    #[test]
    fn ipv6_is_cut_to_its_prefix_and_ipv4_is_not() {
        assert_eq!(of("2001:db8:1:2:3:4:5:6", 64), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2:3:4:5:6", 56), "2001:db8:1::/56");
        assert_eq!(of("2001:db8::1", 128), "2001:db8::1/128");
        assert_eq!(of("2001:db8::1", 0), "::/0");
        assert_eq!(of("2001:db8::1", 200), "2001:db8::1/128");
        assert_eq!(of("203.0.113.7", 1), "203.0.113.7");
        assert_eq!(of("::ffff:203.0.113.7", 64), "203.0.113.7");
    }

    #[test]
    fn names_are_fit_for_logs() {
        assert_eq!(Principal::Key(KeyId::INTERNAL).to_string(), "key:internal");
        assert_eq!(Principal::Key(KeyId::new(17)).to_string(), "key:000000000011");
    }

    #[test]
    fn a_keys_id_is_read_back_and_nothing_else_is_one() {
        for id in [KeyId::INTERNAL, KeyId::new(1), KeyId::new(u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in ["", "1", "000000000000", "0000000000G1", "0000000000A1", "+00000000001"] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text}");
        }
    }

    #[test]
    fn a_stable_number_never_changes() {
        let numbers = [Principal::Key(KeyId::new(17)), address([203, 0, 113, 7])];
        assert_eq!(numbers.map(|one| one.stable_number()), [420_231_896, 675_834_639]);
    }

    #[test]
    fn neighbours_are_spread_evenly_over_a_rollout() {
        let all = (0..10_000_u16).map(|n| address([10, 0, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
        let mut places = [0; 100];
        all.for_each(|one| places[usize::try_from(one.stable_number() % 100).unwrap()] += 1);
        assert!(places.iter().all(|count| (50..=150).contains(count)), "{places:?}");
    }

    fn address(octets: [u8; 4]) -> Principal {
        Principal::of_address(Ipv4Addr::from(octets).into(), 64)
    }

    #[test]
    fn a_principal_is_small() {
        assert!(size_of::<Principal>() <= 24);
    }

    proptest! {
        #[test]
        fn all_addresses_of_a_prefix_are_one(bits: u128, other: u128, prefix in 1..=128_u8) {
            let mask = u128::MAX << (128 - u32::from(prefix));
            let first = Ipv6Addr::from_bits(bits);
            let second = Ipv6Addr::from_bits((bits & mask) | (other & !mask));
            prop_assume!(first.to_ipv4_mapped().is_none() && second.to_ipv4_mapped().is_none());
            prop_assert_eq!(
                Network::of(IpAddr::V6(first), prefix),
                Network::of(IpAddr::V6(second), prefix)
            );
        }
    }
}
