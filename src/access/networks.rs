//! Networks, and which of them an address belongs to.
//!
//! Owns: the search for the longest prefix: one look-up for each length that is there at all, the
//! longest first. So it depends on how many lengths there are (33 and 129 at most, a handful usually)
//! and not on how many networks. An IPv4 address in IPv6 is IPv4 before it comes here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use ipnet::IpNet;

/// A value for each of many networks.
#[derive(Debug, Clone)]
pub(super) struct Networks<V> {
    entries: BTreeMap<IpNet, V>,
    /// How many networks there are of each length.
    v4: BTreeMap<Reverse<u8>, usize>,
    v6: BTreeMap<Reverse<u8>, usize>,
}

impl<V> Default for Networks<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), v4: BTreeMap::new(), v6: BTreeMap::new() }
    }
}

impl<V> Networks<V> {
    pub(super) fn insert(&mut self, network: IpNet, value: V) {
        if self.entries.insert(network, value).is_none() {
            let count = self.lengths(&network).entry(Reverse(network.prefix_len())).or_default();
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, network: &IpNet) {
        if self.entries.remove(network).is_none() {
            return;
        }
        let length = Reverse(network.prefix_len());
        let lengths = self.lengths(network);
        if let Some(count) = lengths.get_mut(&length) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                lengths.remove(&length);
            }
        }
    }

    pub(super) fn get(&self, network: &IpNet) -> Option<&V> {
        self.entries.get(network)
    }

    /// Whether any network with the address has a value that counts.
    pub(super) fn contains(&self, address: IpAddr, counts: impl Fn(&V) -> bool) -> bool {
        let lengths = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        lengths.keys().any(|Reverse(length)| {
            let network = IpNet::new(address, *length).ok().map(|network| network.trunc());
            network.and_then(|network| self.entries.get(&network)).is_some_and(&counts)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// In their order, those after one.
    pub(super) fn after(&self, after: Option<IpNet>) -> impl Iterator<Item = (&IpNet, &V)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded))
    }

    const fn lengths(&mut self, network: &IpNet) -> &mut BTreeMap<Reverse<u8>, usize> {
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
        fn it_is_found_as_by_looking_at_all(
            steps in prop::collection::vec((network(), any::<bool>(), any::<bool>()), 0..60),
            asked in prop::collection::vec(address(), 1..20),
        ) {
            let mut networks = Networks::default();
            let mut model = BTreeMap::new();
            for (network, put, value) in steps {
                if put {
                    networks.insert(network, value);
                    model.insert(network, value);
                } else {
                    networks.remove(&network);
                    model.remove(&network);
                }
            }
            prop_assert_eq!(networks.after(None).collect::<Vec<_>>(), model.iter().collect::<Vec<_>>());
            let lengths = networks.v4.values().sum::<usize>() + networks.v6.values().sum::<usize>();
            prop_assert_eq!((networks.len(), lengths), (model.len(), model.len()));
            for address in asked {
                let naive = model.iter().any(|(network, value)| *value && network.contains(&address));
                prop_assert_eq!(networks.contains(address, |value| *value), naive);
            }
        }
    }
}
