//! How often somebody may be wrong about the admin's key.
//!
//! Owns: a count of wrong keys for each address (IPv6 by prefix): ten at once, and one more every six
//! seconds (a GCRA, ITU-T I.371). Beyond that nothing from there is compared any more, also not the
//! right key: were it let through, whoever guesses would only have to look for the answer that
//! differs, and nothing would be bounded. The admin is not locked out: from any other address the
//! door is as before. A right key costs nothing. Refuses: to remember more than a bounded number of
//! addresses; beyond it strangers share one account. Plain decisions of state and time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::Network;

/// Wrong keys that may come at once.
const AT_ONCE: u32 = 10;
/// After this time one more may come.
const EACH: Duration = Duration::from_secs(6);
/// Addresses remembered.
const ADDRESSES: usize = 10_000;

/// When all that somebody was wrong will be forgiven.
type Forgiven = Instant;

#[derive(Debug, Default)]
struct Known {
    addresses: HashMap<Network, Forgiven>,
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
pub struct Guess(Network);

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
        let forgiven = known.account(network, now);
        let all = EACH.saturating_mul(AT_ONCE);
        let next = (*forgiven).max(now) + EACH;
        if next > now + all {
            return Err(next.saturating_duration_since(now + all));
        }
        *forgiven = next;
        Ok(Guess(network))
    }

    /// The key was right: it does not count.
    pub fn was_right(&self, guess: &Guess, now: Instant) {
        let mut known = self.known();
        let forgiven = known.account(guess.0, now);
        *forgiven = forgiven.checked_sub(EACH).unwrap_or(*forgiven);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn account(&mut self, network: Network, now: Instant) -> &mut Forgiven {
        if self.addresses.len() >= ADDRESSES && !self.addresses.contains_key(&network) {
            self.addresses.retain(|_, forgiven| *forgiven > now);
            if self.addresses.len() >= ADDRESSES {
                return self.others.get_or_insert(now);
            }
        }
        self.addresses.entry(network).or_insert(now)
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
    fn a_flood_of_addresses_is_one_account_beyond_the_bound() {
        let (guesses, now) = (Guesses::new(64), clock::monotonic());
        let admitted = (0..20_000).filter(|number| wrong(&guesses, *number, now)).count();
        assert_eq!(admitted, ADDRESSES + 10);
        assert!(guesses.known().addresses.len() <= ADDRESSES);
        assert!(wrong(&guesses, 5, now), "who is known is counted alone");
    }
}
