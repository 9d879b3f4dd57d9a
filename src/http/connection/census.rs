//! How many connections there are, in all and from each client.
//!
//! Owns: the counts, for all workers of a process. Refuses: a connection beyond either bound; those
//! of trusted proxies count in all but not by address, they carry many clients. Bounded by itself:
//! there are no more entries than connections. Counted once a connection, so one lock is enough.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use crate::limits::{Network, is_trusted};

/// How many there may be.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// In all.
    pub most: u32,
    /// From one address, or IPv6 prefix; `None` for any number.
    pub per_address: Option<NonZeroU32>,
    /// Whose connections are those of many.
    pub trusted: Vec<IpNet>,
    /// Bits of an IPv6 address that make a client.
    pub ipv6_prefix: u8,
}

/// Which bound a connection is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// That of the process.
    Process,
    /// That of its address.
    Address,
}

impl Crowded {
    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Address => "address",
        }
    }
}

/// The connections of a process.
#[derive(Debug)]
pub struct Census {
    bounds: Bounds,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    by_client: HashMap<Network, u32>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Present {
    census: Arc<Census>,
    client: Option<Network>,
}

impl Census {
    /// Without any connection.
    #[must_use]
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, counts: Mutex::default() })
    }

    /// Counts a connection from `peer`.
    ///
    /// # Errors
    /// The bound that it is beyond.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<Present, Crowded> {
        let bounds = &self.bounds;
        let of_many = bounds.per_address.is_none() || is_trusted(peer, &bounds.trusted);
        let client = (!of_many).then(|| Network::of(peer, bounds.ipv6_prefix));
        let mut counts = self.counts();
        if counts.all >= bounds.most {
            return Err(Crowded::Process);
        }
        if let (Some(client), Some(most)) = (client, bounds.per_address) {
            let of_client = counts.by_client.entry(client).or_default();
            if *of_client >= most.get() {
                return Err(Crowded::Address);
            }
            *of_client += 1;
        }
        counts.all += 1;
        drop(counts);
        Ok(Present { census: Arc::clone(self), client })
    }

    /// How many there may be in all.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.bounds.most
    }

    /// Connections now.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.counts().all
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing under this lock can panic.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
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

    fn census(most: u32, per_address: u32) -> Arc<Census> {
        Census::new(Bounds {
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
    fn each_address_has_its_bound_and_gets_its_places_back() {
        let census = census(100, 2);
        let first = census.admit(peer("203.0.113.7")).unwrap();
        let _second = census.admit(peer("::ffff:203.0.113.7")).unwrap();
        assert_eq!(census.admit(peer("203.0.113.7")).unwrap_err(), Crowded::Address);
        let _other = census.admit(peer("203.0.113.8")).unwrap();
        drop(first);
        let _again = census.admit(peer("203.0.113.7")).unwrap();
        assert_eq!(census.len(), 3);
    }

    #[test]
    fn a_prefix_is_one_client_and_a_proxy_is_many() {
        let census = census(100, 1);
        let _one = census.admit(peer("2001:db8::1")).unwrap();
        assert_eq!(census.admit(peer("2001:db8::2")).unwrap_err(), Crowded::Address);
        let proxied: Vec<_> = (0..50).map(|_| census.admit(peer("10.1.1.1")).unwrap()).collect();
        assert_eq!(census.len(), 51);
        drop(proxied);
        assert_eq!(census.len(), 1);
    }

    #[test]
    fn the_process_has_its_bound_and_nothing_is_left_behind() {
        let census = census(3, 0);
        let all: Vec<_> = (0..3).map(|_| census.admit(peer("203.0.113.7")).unwrap()).collect();
        assert_eq!(census.admit(peer("10.1.1.1")).unwrap_err(), Crowded::Process);
        drop(all);
        assert!(census.is_empty() && census.counts().by_client.is_empty());
    }
}
