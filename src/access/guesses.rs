//! How often somebody may be wrong about the admin's key.
//!
//! Owns: a count of wrong keys for each address (IPv6 by prefix): ten at once, and one more every six
//! seconds (a GCRA, ITU-T I.371). Beyond that nothing from there is compared any more, also not the
//! right key: were it let through, whoever guesses would only have to look for the answer that
//! differs, and nothing would be bounded. A right key costs nothing. Refuses: to remember more than a
//! bounded number of addresses. Beyond it those who come new are counted by the network around them
//! (IPv4 by 24 bits, IPv6 by 48), and beyond as many networks all together. So an admin is locked out
//! by who guesses from his own address; by a flood that fills the table, if it comes from his own
//! network as well; and everywhere new only by one from 10,000 networks at a time. Plain decisions of
//! state and time.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Network;

/// Wrong keys that may come at once.
const AT_ONCE: u32 = 10;
/// After this time one more may come.
const EACH: Duration = Duration::from_secs(6);
/// Addresses remembered, and as many networks.
const REMEMBERED: usize = 10_000;
/// Bits by which addresses are counted together when there is no room for each.
const WIDE_IPV4: u8 = 24;
const WIDE_IPV6: u8 = 48;
/// Least time between two looks for who is forgiven: a flood is not to keep the table busy.
const PURGE_EVERY: Duration = Duration::from_secs(1);

/// When all that somebody was wrong will be forgiven.
type Forgiven = Instant;

/// The first of the addresses that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Wide(IpAddr);

impl Wide {
    fn around(network: Network) -> Self {
        match network {
            Network::V4(address) => {
                let mask = u32::MAX << (32 - u32::from(WIDE_IPV4));
                Self(Ipv4Addr::from_bits(address.to_bits() & mask).into())
            }
            Network::V6 { base, prefix: _ } => {
                let mask = u128::MAX << (128 - u32::from(WIDE_IPV6));
                Self(Ipv6Addr::from_bits(base.to_bits() & mask).into())
            }
        }
    }
}

/// Whose account somebody is counted in.
#[derive(Debug, Clone, Copy)]
enum Account {
    Own(Network),
    Around(Wide),
    Others,
}

#[derive(Debug, Default)]
struct Known {
    own: Accounts<Network>,
    around: Accounts<Wide>,
    /// Of all who found no room.
    others: Option<Forgiven>,
}

/// The counts of all addresses.
#[derive(Debug)]
pub struct Guesses {
    ipv6_prefix: u8,
    known: Mutex<Known>,
}

/// Leave to be wrong once; [`Guesses::was_right`] gives it back.
#[derive(Debug)]
#[must_use]
pub struct Guess(Account);

impl Guesses {
    /// Nobody was wrong yet.
    #[must_use]
    pub fn new(ipv6_prefix: u8) -> Self {
        Self { ipv6_prefix, known: Mutex::default() }
    }

    /// Leave to present a key from there; counted as wrong until it turns out to be right.
    ///
    /// # Errors
    /// Too many were wrong; the time after which one more may come.
    pub fn begin(&self, address: IpAddr, now: Instant) -> Result<Guess, Duration> {
        let network = Network::of(address, self.ipv6_prefix);
        let mut known = self.known();
        let account = known.account(network, now);
        let forgiven = known.forgiven(account, now);
        let all = EACH.saturating_mul(AT_ONCE);
        let next = (*forgiven).max(now) + EACH;
        if next > now + all {
            return Err(next.saturating_duration_since(now + all));
        }
        *forgiven = next;
        Ok(Guess(account))
    }

    /// The key was right: it does not count.
    pub fn was_right(&self, guess: &Guess, now: Instant) {
        let mut known = self.known();
        let forgiven = known.forgiven(guess.0, now);
        *forgiven = forgiven.checked_sub(EACH).unwrap_or(*forgiven);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn account(&mut self, network: Network, now: Instant) -> Account {
        let around = Wide::around(network);
        if self.own.has_room(&network, now) {
            Account::Own(network)
        } else if self.around.has_room(&around, now) {
            Account::Around(around)
        } else {
            Account::Others
        }
    }

    fn forgiven(&mut self, account: Account, now: Instant) -> &mut Forgiven {
        match account {
            Account::Own(network) => self.own.all.entry(network).or_insert(now),
            Account::Around(wide) => self.around.all.entry(wide).or_insert(now),
            Account::Others => self.others.get_or_insert(now),
        }
    }
}

/// Accounts of one kind.
#[derive(Debug)]
struct Accounts<Of> {
    all: HashMap<Of, Forgiven>,
    purged: Option<Instant>,
}

impl<Of> Default for Accounts<Of> {
    fn default() -> Self {
        Self { all: HashMap::new(), purged: None }
    }
}

impl<Of: Eq + Hash> Accounts<Of> {
    /// Whether this one has an account or can be given one.
    fn has_room(&mut self, one: &Of, now: Instant) -> bool {
        if self.all.len() < REMEMBERED || self.all.contains_key(one) {
            return true;
        }
        let lately = |at: Instant| now.saturating_duration_since(at) < PURGE_EVERY;
        if !self.purged.is_some_and(lately) {
            self.purged = Some(now);
            self.all.retain(|_, forgiven| *forgiven > now);
        }
        self.all.len() < REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    fn wrong(guesses: &Guesses, number: u32, now: Instant) -> bool {
        guesses.begin(address(number), now).is_ok()
    }

    #[test]
    fn ten_wrong_ones_at_once_and_then_one_every_six_seconds() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        assert_eq!((0..20).filter(|_| wrong(&guesses, 1, now)).count(), 10);
        assert_eq!(guesses.begin(address(1), now).unwrap_err(), EACH);
        assert!(wrong(&guesses, 2, now), "others are not concerned");
        let later = now + EACH;
        assert_eq!((0..20).filter(|_| wrong(&guesses, 1, later)).count(), 1);
        let much_later = now + 100 * EACH;
        assert_eq!((0..20).filter(|_| wrong(&guesses, 1, much_later)).count(), 10);
    }

    #[test]
    fn a_right_one_costs_nothing_and_forgives_nothing() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        for _ in 0..9 {
            assert!(wrong(&guesses, 1, now));
        }
        for _ in 0..100 {
            let guess = guesses.begin(address(1), now).unwrap();
            guesses.was_right(&guess, now);
        }
        assert!(wrong(&guesses, 1, now));
        assert!(!wrong(&guesses, 1, now));
    }

    #[test]
    fn addresses_of_one_ipv6_prefix_are_one_and_ipv4_in_it_is_ipv4() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        let all = (0..20_u128).map(|low| std::net::Ipv6Addr::from_bits(0x2001 << 112 | low));
        assert_eq!(all.filter(|one| guesses.begin((*one).into(), now).is_ok()).count(), 10);
        let mapped = std::net::Ipv4Addr::from_bits(7).to_ipv6_mapped();
        for _ in 0..10 {
            assert!(guesses.begin(mapped.into(), now).is_ok());
        }
        assert!(!wrong(&guesses, 7, now));
    }

    #[test]
    fn a_flood_of_addresses_is_counted_by_networks_and_then_together() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        // From one network of IPv6.
        let flood = |number: u128| Ipv6Addr::from_bits(0x2001_0db8 << 96 | number << 64).into();
        let admitted =
            (0..20_000).filter(|number| guesses.begin(flood(*number), now).is_ok()).count();
        assert_eq!(admitted, REMEMBERED + 10);
        assert!(guesses.begin(flood(5), now).is_ok(), "who is known is counted alone");
        let admin = "2001:db8:1::7".parse().unwrap();
        assert!(guesses.begin(admin, now).is_ok() && wrong(&guesses, 7, now), "from elsewhere");
        assert_eq!((0..20).filter(|number| wrong(&guesses, *number, now)).count(), 9);
        // From as many networks of IPv4.
        (0..20_000).for_each(|number| drop(guesses.begin(address(number << 8), now)));
        let elsewhere = "192.0.2.7".parse().unwrap();
        assert!(guesses.begin(elsewhere, now).is_err() && guesses.begin(admin, now).is_ok());
        let known = guesses.known();
        assert_eq!((known.own.all.len(), known.around.all.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn who_is_forgiven_makes_room_and_is_looked_for_once_a_second() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        let network = |number: u32| number << 8;
        let full = u32::try_from(REMEMBERED).unwrap();
        (0..full).for_each(|number| assert!(wrong(&guesses, network(number), now)));
        let in_time = now + EACH - PURGE_EVERY / 2;
        assert!(wrong(&guesses, network(full), in_time));
        assert_eq!(guesses.known().around.all.len(), 1);
        let soon = now + EACH;
        assert!(wrong(&guesses, network(full + 1), soon));
        assert_eq!(guesses.known().own.all.len(), REMEMBERED, "it was looked for a moment ago");
        assert!(wrong(&guesses, network(full + 2), in_time + PURGE_EVERY));
        assert_eq!(guesses.known().own.all.len(), 1);
    }

    #[test]
    fn what_was_right_is_given_back_to_whom_it_was_counted() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        let full = u32::try_from(REMEMBERED).unwrap();
        (0..full).for_each(|number| assert!(wrong(&guesses, number << 8, now)));
        let admin = address(full << 8);
        for second in 0..100 {
            let now = now + Duration::from_millis(100) * second;
            let guess = guesses.begin(admin, now).unwrap();
            guesses.was_right(&guess, now);
        }
    }
}
