//! How often an address may be wrong about the admin's key.
//!
//! Owns: a token bucket of wrong keys for each address (IPv6 by prefix): ten at once, and one more
//! every six seconds. When it is empty no key from there is compared, also not the right one: a client
//! that guesses would only have to look for the answer that differs. A right key costs nothing.
//! Refuses: to remember more than a bounded number of addresses. Beyond it new addresses share a bucket
//! with the network around them (IPv4 by 24 bits, IPv6 by 48), and beyond as many networks one bucket
//! together. So a flood locks out an admin only from his own network, or from 10,000 networks at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

/// Wrong keys that may come at once, and in a minute.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Addresses remembered, and as many networks.
const REMEMBERED: usize = 10_000;
/// Bits by which addresses are counted together when there is no room for each.
const WIDE_IPV4: u8 = 24;
const WIDE_IPV6: u8 = 48;
/// Least time between two searches for full buckets: a flood must not keep the table busy.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// What came of a key that was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guessed {
    Right,
    Wrong,
    /// It was not compared; one more may come after this time.
    Locked(Duration),
}

/// The buckets of all addresses.
#[derive(Debug)]
pub struct Guesses {
    ipv6_prefix: u8,
    rule: BucketRule,
    origin: Instant,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    buckets: HashMap<IpNet, TokenBucket>,
    purged: Option<Instant>,
}

impl Guesses {
    #[must_use]
    pub fn new(ipv6_prefix: u8, origin: Instant) -> Self {
        let rule = BucketRule::per_minute(AT_ONCE, AT_ONCE);
        Self { ipv6_prefix, rule, origin, known: Mutex::default() }
    }

    /// Compares a key from an address, if one may come from there.
    pub fn guess(&self, from: IpAddr, now: Instant, is_right: impl FnOnce() -> bool) -> Guessed {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tick = Tick::between(self.origin, now);
        let is_full = |bucket: &TokenBucket| bucket.full_after(tick).is_zero();
        let network = known.counted_by(from, self.ipv6_prefix, now, is_full);
        let bucket = known.buckets.get(&network).copied().unwrap_or_default();
        match bucket.after(self.rule, tick, 1) {
            Err(wait) => Guessed::Locked(wait),
            // Under the lock: of many keys that come at once each finds what those before have left.
            Ok(_) if is_right() => Guessed::Right,
            Ok(left) => {
                known.buckets.insert(network, left);
                Guessed::Wrong
            }
        }
    }
}

impl Known {
    /// The network whose bucket counts for an address: its own, the one around it, or all.
    fn counted_by(
        &mut self,
        address: IpAddr,
        ipv6_prefix: u8,
        now: Instant,
        is_full: impl Fn(&TokenBucket) -> bool,
    ) -> IpNet {
        let address = address.to_canonical();
        let (own, wide) =
            if address.is_ipv4() { (32, WIDE_IPV4) } else { (ipv6_prefix.min(128), WIDE_IPV6) };
        let around =
            |bits| IpNet::new(address, bits).map_or(IpNet::from(address), |net| net.trunc());
        if self.buckets.len() >= REMEMBERED {
            let lately = |at: Instant| now.saturating_duration_since(at) < PURGE_EVERY;
            if !self.purged.is_some_and(lately) {
                self.purged = Some(now);
                self.buckets.retain(|_, bucket| !is_full(bucket));
            }
        }
        let fits = |network: &IpNet, most: usize| {
            self.buckets.len() < most || self.buckets.contains_key(network)
        };
        let (own, wide) = (around(own), around(wide));
        if fits(&own, REMEMBERED) {
            own
        } else if fits(&wide, 2 * REMEMBERED) {
            wide
        } else {
            IpNet::from(IpAddr::from(Ipv6Addr::UNSPECIFIED))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock;

    const EACH: Duration = Duration::from_secs(6);

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    fn new() -> (Guesses, Instant) {
        let now = clock::monotonic();
        (Guesses::new(64, now), now)
    }

    /// Whether a wrong key is compared.
    fn wrong(guesses: &Guesses, from: IpAddr, now: Instant) -> bool {
        guesses.guess(from, now, || false) == Guessed::Wrong
    }

    #[test]
    fn ten_wrong_ones_at_once_and_then_one_every_six_seconds() {
        let (guesses, now) = new();
        let count = |now| (0..20).filter(|_| wrong(&guesses, address(1), now)).count();
        assert_eq!(count(now), 10);
        assert_eq!(guesses.guess(address(1), now, || true), Guessed::Locked(EACH));
        assert!(wrong(&guesses, address(2), now), "others are not concerned");
        assert_eq!((count(now + EACH), count(now + 100 * EACH)), (1, 10));
    }

    #[test]
    fn a_right_one_costs_nothing_and_forgives_nothing() {
        let (guesses, now) = new();
        assert!((0..9).all(|_| wrong(&guesses, address(1), now)));
        assert!((0..100).all(|_| guesses.guess(address(1), now, || true) == Guessed::Right));
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
    fn a_flood_of_addresses_is_counted_by_networks_and_then_together() {
        let (guesses, now) = new();
        // From one network of IPv6.
        let flood = |number: u128| Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64).into();
        let compared = (0..20_000).filter(|number| wrong(&guesses, flood(*number), now)).count();
        assert_eq!(compared, REMEMBERED + 10);
        assert!(wrong(&guesses, flood(5), now), "who is known is counted alone");
        let admin = "2001:db8:1::7".parse().unwrap();
        assert!(wrong(&guesses, admin, now) && wrong(&guesses, address(7), now), "from elsewhere");
        assert_eq!((0..20).filter(|number| wrong(&guesses, address(*number), now)).count(), 9);
        // From as many networks of IPv4.
        (0..20_000).for_each(|number| {
            wrong(&guesses, address(number << 8), now);
        });
        let elsewhere = "192.0.2.7".parse().unwrap();
        assert!(!wrong(&guesses, elsewhere, now) && wrong(&guesses, admin, now));
        let known = guesses.known.lock().unwrap().buckets.len();
        assert_eq!(known, 2 * REMEMBERED + 1);
    }

    #[test]
    fn full_buckets_make_room_and_are_looked_for_once_a_second() {
        let (guesses, now) = new();
        let network = |number: u32| address(number << 8);
        let full = u32::try_from(REMEMBERED).unwrap();
        (0..full).for_each(|number| assert!(wrong(&guesses, network(number), now)));
        let known = || guesses.known.lock().unwrap().buckets.len();
        let in_time = now + EACH - PURGE_EVERY / 2;
        assert!(wrong(&guesses, network(full), in_time));
        assert!(wrong(&guesses, network(full + 1), now + EACH));
        assert_eq!(known(), REMEMBERED + 2, "it was looked for a moment ago");
        assert!(wrong(&guesses, network(full + 2), in_time + PURGE_EVERY));
        assert_eq!(known(), 3, "those that came last have still to be forgiven");
    }
}
