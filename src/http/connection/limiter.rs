//! Limits how many connections there are, in all and from each client.
//!
//! The counts are those of all workers. The connections of trusted proxies count in all but not by
//! address, because they carry many clients. There are no more entries than connections. A connection
//! is counted once, so one lock is enough.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::limits::{Network, is_trusted};

#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    pub most: u32,
    /// From one address, or IPv6 prefix; `None` for any number.
    pub per_address: Option<NonZeroU32>,
    pub trusted: Vec<IpNet>,
    /// Bits of an IPv6 address that make a client.
    pub ipv6_prefix: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    Process,
    Address,
}

impl LimitExceeded {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Address => "address",
        }
    }
}

#[derive(Debug)]
pub struct ConnectionLimiter {
    limits: ConnectionLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    by_client: HashMap<Network, u32>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    client: Option<Network>,
}

impl ConnectionLimiter {
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Counts a connection from `peer`.
    ///
    /// # Errors
    /// The limit that it exceeds.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionSlot, LimitExceeded> {
        let limits = &self.limits;
        let of_many = limits.per_address.is_none() || is_trusted(peer, &limits.trusted);
        let client = (!of_many).then(|| Network::of(peer, limits.ipv6_prefix));
        let mut counts = self.counts();
        if counts.all >= limits.most {
            return Err(LimitExceeded::Process);
        }
        if let (Some(client), Some(most)) = (client, limits.per_address) {
            let of_client = counts.by_client.entry(client).or_default();
            if *of_client >= most.get() {
                return Err(LimitExceeded::Address);
            }
            *of_client += 1;
        }
        counts.all += 1;
        drop(counts);
        Ok(ConnectionSlot { limiter: Arc::clone(self), client })
    }

    #[must_use]
    pub const fn most(&self) -> u32 {
        self.limits.most
    }

    /// How many connections there are.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing under this lock can panic.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.all = counts.all.saturating_sub(1);
        let Some(client) = self.client else { return };
        let left = counts.by_client.get(&client).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            counts.by_client.remove(&client);
        } else {
            counts.by_client.insert(client, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(most: u32, per_address: u32) -> Arc<ConnectionLimiter> {
        ConnectionLimiter::new(ConnectionLimits {
            most,
            per_address: NonZeroU32::new(per_address),
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            ipv6_prefix: 64,
        })
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_bound_and_gets_its_slots_back() {
        let limiter = limiter(100, 2);
        let first = limiter.admit(peer("203.0.113.7")).unwrap();
        let _second = limiter.admit(peer("::ffff:203.0.113.7")).unwrap();
        assert_eq!(limiter.admit(peer("203.0.113.7")).unwrap_err(), LimitExceeded::Address);
        let _other = limiter.admit(peer("203.0.113.8")).unwrap();
        drop(first);
        let _again = limiter.admit(peer("203.0.113.7")).unwrap();
        assert_eq!(limiter.open(), 3);
    }

    #[test]
    fn a_prefix_is_one_client_and_a_proxy_is_many() {
        let limiter = limiter(100, 1);
        let _one = limiter.admit(peer("2001:db8::1")).unwrap();
        assert_eq!(limiter.admit(peer("2001:db8::2")).unwrap_err(), LimitExceeded::Address);
        let proxied: Vec<_> = (0..50).map(|_| limiter.admit(peer("10.1.1.1")).unwrap()).collect();
        assert_eq!(limiter.open(), 51);
        drop(proxied);
        assert_eq!(limiter.open(), 1);
    }

    #[test]
    fn the_process_has_its_bound_and_nothing_is_left_behind() {
        let limiter = limiter(3, 0);
        let all: Vec<_> = (0..3).map(|_| limiter.admit(peer("203.0.113.7")).unwrap()).collect();
        assert_eq!(limiter.admit(peer("10.1.1.1")).unwrap_err(), LimitExceeded::Process);
        drop(all);
        assert!(limiter.open() == 0 && limiter.counts().by_client.is_empty());
    }
}
