//! How often an address may be wrong about the admin's key.
//!
//! Owns: a token bucket of wrong keys for each address (IPv6 by prefix): ten at once, and one more
//! every six seconds. When it is empty no key from there is compared, also not the right one: a client
//! that guesses would only have to look for the answer that differs. A right key costs nothing. The
//! network around an address (IPv4 by 24 bits, IPv6 by 48) has a bucket of a hundred, so a client that
//! has many addresses gains little by changing them. Clients of whom only the proxy is known have
//! buckets of their own: they take nothing from that proxy's own host. Refuses: to keep more than a bounded number of
//! buckets; the one used longest ago makes room.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::resilience::sharded_map::ShardedMap;
use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

/// Wrong keys of an address that may come at once, and in a minute.
const OF_ADDRESS: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// The same of the network around it.
const OF_NETWORK: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// Addresses and networks whose buckets are kept.
const KEPT: usize = 20_000;
/// Bits by which addresses are counted together.
const WIDE_IPV4: u8 = 24;
const WIDE_IPV6: u8 = 48;

/// What came of a key that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guessed {
    Right,
    Wrong,
    /// It was not compared; one more may come after this time.
    Locked(Duration),
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guesser {
    pub address: IpAddr,
    /// False if the address is that of the proxy, and the client's is not known.
    pub is_sure: bool,
}

#[derive(Debug)]
pub struct Guesses {
    ipv6_prefix: u8,
    origin: Instant,
    buckets: ShardedMap<(bool, IpNet), TokenBucket>,
}

impl Guesses {
    pub fn new(ipv6_prefix: u8, origin: Instant) -> Self {
        Self { ipv6_prefix, origin, buckets: ShardedMap::new(KEPT) }
    }

    /// Compares a key from an address, if one may come from there.
    pub fn guess(&self, from: Guesser, now: Instant, is_right: impl FnOnce() -> bool) -> Guessed {
        let tick = Tick::between(self.origin, now);
        let (own, wide) = self.counted_by(from.address.to_canonical());
        let (own, wide) = ((from.is_sure, own), (from.is_sure, wide));
        let of_own = BucketRule::per_minute(OF_ADDRESS, OF_ADDRESS);
        let of_wide = BucketRule::per_minute(OF_NETWORK, OF_NETWORK);
        if let Err(wait) = self.buckets.update(&wide, |bucket| bucket.take(of_wide, tick, 1)) {
            return Guessed::Locked(wait);
        }
        // Under the lock: of many keys that come at once each finds what those before have left.
        let guessed = self.buckets.update(&own, |bucket| match bucket.after(of_own, tick, 1) {
            Err(wait) => Guessed::Locked(wait),
            Ok(_) if is_right() => Guessed::Right,
            Ok(left) => {
                *bucket = left;
                Guessed::Wrong
            }
        });
        if guessed != Guessed::Wrong {
            self.buckets.update(&wide, |bucket| bucket.give_back(of_wide, tick, 1));
        }
        guessed
    }

    /// The address or its prefix, and the network around it. They differ also where both are as long.
    fn counted_by(&self, address: IpAddr) -> (IpNet, IpNet) {
        let (own, wide) = match address {
            IpAddr::V4(_) => (32, WIDE_IPV4),
            IpAddr::V6(_) => (self.ipv6_prefix.clamp(WIDE_IPV6 + 1, 128), WIDE_IPV6),
        };
        let around =
            |bits| IpNet::new(address, bits).map_or(IpNet::from(address), |net| net.trunc());
        (around(own), around(wide))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::clock;

    const EACH: Duration = Duration::from_secs(6);

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn at(address: IpAddr) -> Guesser {
        Guesser { address, is_sure: true }
    }

    fn new() -> (Guesses, Instant) {
        let now = clock::monotonic();
        (Guesses::new(64, now), now)
    }

    /// Whether a wrong key is compared.
    fn wrong(guesses: &Guesses, from: IpAddr, now: Instant) -> bool {
        guesses.guess(at(from), now, || false) == Guessed::Wrong
    }

    #[test]
    fn ten_wrong_ones_at_once_and_then_one_every_six_seconds() {
        let (guesses, now) = new();
        let count = |now| (0..20).filter(|_| wrong(&guesses, address(1), now)).count();
        assert_eq!(count(now), 10);
        assert_eq!(guesses.guess(at(address(1)), now, || true), Guessed::Locked(EACH));
        assert!(wrong(&guesses, address(2), now), "others are not concerned");
        assert_eq!((count(now + EACH), count(now + 100 * EACH)), (1, 10));
    }

    #[test]
    fn a_right_one_costs_nothing_and_forgives_nothing() {
        let (guesses, now) = new();
        assert!((0..9).all(|_| wrong(&guesses, address(1), now)));
        assert!((0..100).all(|_| guesses.guess(at(address(1)), now, || true) == Guessed::Right));
        assert!(wrong(&guesses, address(1), now));
        assert!(!wrong(&guesses, address(1), now));
    }

    #[test]
    fn addresses_of_one_ipv6_prefix_are_one_and_ipv4_in_it_is_ipv4() {
        let (guesses, now) = new();
        let all = (0..20_u128).map(|low| Ipv6Addr::from_bits(0x2001 << 112 | low));
        assert_eq!(all.filter(|one| wrong(&guesses, (*one).into(), now)).count(), 10);
        let mapped = Ipv4Addr::from_bits(7).to_ipv6_mapped();
        assert!((0..10).all(|_| wrong(&guesses, mapped.into(), now)));
        assert!(!wrong(&guesses, address(7), now));
    }

    #[test]
    fn a_client_with_many_addresses_is_counted_by_its_network() {
        let (guesses, now) = new();
        let flood = |number: u128| Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64).into();
        let compared = (0..20_000).filter(|number| wrong(&guesses, flood(*number), now)).count();
        assert_eq!(compared, 100);
        let once_more = (0..20_000).filter(|number| wrong(&guesses, flood(*number), now + EACH));
        assert_eq!(once_more.count(), 10);
        let elsewhere = "2001:db8:1::7".parse().unwrap();
        assert!(wrong(&guesses, elsewhere, now) && wrong(&guesses, address(7), now));
    }

    #[test]
    fn right_keys_leave_the_network_its_guesses() {
        let (guesses, now) = new();
        assert!((0..500).all(|_| guesses.guess(at(address(1)), now, || true) == Guessed::Right));
        assert!((0..10).all(|last| wrong(&guesses, address(2 + last), now)));
    }

    #[test]
    fn clients_in_doubt_take_nothing_from_the_host_of_the_proxy() {
        let (guesses, now) = new();
        let behind = |number| Guesser { address: address(number), is_sure: false };
        let wrong = (0..20).filter(|_| guesses.guess(behind(1), now, || false) == Guessed::Wrong);
        assert_eq!(wrong.count(), 10);
        for proxy in 1..100 {
            let guessed = guesses.guess(behind(proxy), now, || false);
            assert_ne!(guessed, Guessed::Right);
        }
        for of_its_network in 1..100 {
            let guessed = guesses.guess(at(address(of_its_network)), now, || true);
            assert_eq!(guessed, Guessed::Right);
        }
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded() {
        let (guesses, now) = new();
        (0..50_000).for_each(|number| assert!(wrong(&guesses, address(number << 8), now)));
        assert!(guesses.buckets.len() <= KEPT);
    }
}
