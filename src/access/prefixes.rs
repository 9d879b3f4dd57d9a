//! Networks, and which of them an address belongs to.
//!
//! Owns: the search for the longest prefix: one look-up for each length that is there at all, from
//! the longest on, so it depends on how many lengths there are (33 and 129 at most, a handful
//! usually) and not on how many networks. IPv4 and IPv6 are apart; an IPv4 address in IPv6 is IPv4
//! before it comes here. Refuses nothing; has no neighbours.

use std::net::IpAddr;

use ipnet::IpNet;

use super::sharded::Sharded;

/// Something for each of many networks.
#[derive(Debug, Clone)]
pub(super) struct Prefixes<V> {
    entries: Sharded<IpNet, V>,
    v4: Lengths,
    v6: Lengths,
}

/// How many networks there are of each length, the longest first.
#[derive(Debug, Clone, Default)]
struct Lengths(Vec<(u8, usize)>);

impl Lengths {
    fn more(&mut self, length: u8) {
        match self.0.binary_search_by(|(known, _)| length.cmp(known)) {
            Ok(place) => {
                if let Some((_, count)) = self.0.get_mut(place) {
                    *count = count.saturating_add(1);
                }
            }
            Err(place) => self.0.insert(place, (length, 1)),
        }
    }

    fn fewer(&mut self, length: u8) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == length) {
            *count = count.saturating_sub(1);
        }
        self.0.retain(|(_, count)| *count > 0);
    }
}

impl<V> Default for Prefixes<V> {
    fn default() -> Self {
        Self { entries: Sharded::default(), v4: Lengths::default(), v6: Lengths::default() }
    }
}

impl<V: Clone> Prefixes<V> {
    /// Puts something at a network, in place of what was there.
    pub(super) fn insert(&mut self, network: IpNet, value: V) {
        if self.entries.insert(network, value).is_none() {
            self.lengths(&network).more(network.prefix_len());
        }
    }

    /// Takes out what is at a network.
    pub(super) fn remove(&mut self, network: &IpNet) {
        if self.entries.remove(network).is_some() {
            self.lengths(network).fewer(network.prefix_len());
        }
    }

    /// The longest network with the address of which `counts` says yes.
    pub(super) fn longest(
        &self,
        address: IpAddr,
        counts: impl Fn(&V) -> bool,
    ) -> Option<(IpNet, &V)> {
        let lengths = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        lengths.0.iter().find_map(|(length, _)| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            let value = self.entries.get(&network).filter(|value| counts(value))?;
            Some((network, value))
        })
    }

    /// Networks.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    fn lengths(&mut self, network: &IpNet) -> &mut Lengths {
        match network {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// Few bits, so that networks meet.
    fn address() -> impl Strategy<Value = IpAddr> {
        let v4 = (0..4_u32, 0..4_u32).prop_map(|(top, low)| Ipv4Addr::from_bits(top << 30 | low));
        let v6 =
            (0..4_u128, 0..4_u128).prop_map(|(top, low)| Ipv6Addr::from_bits(top << 126 | low));
        prop_oneof![v4.prop_map(IpAddr::V4), v6.prop_map(IpAddr::V6)]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), prop::sample::select(vec![0_u8, 1, 2, 8, 30, 31, 32, 126, 127, 128])).prop_map(
            |(address, length)| {
                let most = if address.is_ipv4() { 32 } else { 128 };
                IpNet::new(address, length.min(most)).unwrap().trunc()
            },
        )
    }

    proptest! {
        #[test]
        fn the_longest_is_found_as_by_looking_at_all(
            steps in prop::collection::vec((network(), any::<bool>(), any::<bool>()), 0..60),
            asked in prop::collection::vec(address(), 1..20),
        ) {
            let mut prefixes = Prefixes::default();
            let mut model = std::collections::HashMap::new();
            for (network, put, value) in steps {
                if put {
                    prefixes.insert(network, value);
                    model.insert(network, value);
                } else {
                    prefixes.remove(&network);
                    model.remove(&network);
                }
            }
            prop_assert_eq!(prefixes.len(), model.len());
            for address in asked {
                let naive = model
                    .iter()
                    .filter(|(network, value)| **value && network.contains(&address))
                    .map(|(network, _)| *network)
                    .max_by_key(IpNet::prefix_len);
                let found = prefixes.longest(address, |value| *value);
                prop_assert_eq!(found.map(|(network, _)| network), naive);
            }
        }
    }
}
