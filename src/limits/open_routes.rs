//! A wide limit for what is never limited: health, metrics, preflights.
//!
//! Such a route answers whoever asks, so it must not become a lever. Owns: a bucket for each address,
//! far wider than any monitor needs, and one for each worker against all addresses together. The host
//! itself (127.0.0.1 and ::1) has no bucket of its own: it asks whether it lives. Decides without Redis
//! and says nothing in header fields. Bounded: the bucket used longest ago makes room.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::client::{ClientAddress, Principal};
use crate::resilience::sharded_map::ShardedMap;
use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};

/// Of one address: so many a second, and twice as many at once.
const OF_ADDRESS: BucketRule =
    BucketRule::per_second(NonZeroU32::new(100).unwrap(), NonZeroU32::new(200).unwrap());
/// The same of one worker.
const OF_WORKER: BucketRule =
    BucketRule::per_second(NonZeroU32::new(2_000).unwrap(), NonZeroU32::new(4_000).unwrap());
/// Addresses whose buckets are kept.
const KEPT: usize = 20_000;

/// Why a request is not answered at once, and when it would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooOften {
    Address(Duration),
    Worker(Duration),
}

impl TooOften {
    pub const EACH: [Self; 2] = [Self::Address(Duration::ZERO), Self::Worker(Duration::ZERO)];

    /// Whose bucket is empty, as a word.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::Worker(_) => "worker",
        }
    }
}

/// The buckets of the addresses, of all workers.
#[derive(Debug)]
pub struct OpenRoutes {
    ipv6_prefix: u8,
    origin: Instant,
    buckets: ShardedMap<Principal, TokenBucket>,
}

/// The bucket of a worker.
#[derive(Debug, Default)]
pub struct OpenOfWorker(TokenBucket);

impl OpenRoutes {
    #[must_use]
    pub fn new(ipv6_prefix: u8, origin: Instant) -> Self {
        Self { ipv6_prefix, origin, buckets: ShardedMap::new(KEPT) }
    }

    /// Admits a request of a client, by its own bucket and that of the worker it came to.
    ///
    /// # Errors
    /// Which of them is empty.
    pub fn admit(
        &self,
        worker: &mut OpenOfWorker,
        client: &ClientAddress,
        now: Instant,
    ) -> Result<(), TooOften> {
        let now = Tick::between(self.origin, now);
        if !(client.is_sure() && is_this_host(client.counted)) {
            let principal = client.principal(self.ipv6_prefix);
            self.buckets
                .update(&principal, |bucket| bucket.take(OF_ADDRESS, now, 1))
                .map_err(TooOften::Address)?;
        }
        worker.0.take(OF_WORKER, now, 1).map_err(TooOften::Worker)
    }
}

fn is_this_host(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn admitted(routes: &OpenRoutes, worker: &mut OpenOfWorker, from: &str, now: Instant) -> usize {
        let client = ClientAddress::sure(from.parse().unwrap());
        (0..10_000).filter(|_| routes.admit(worker, &client, now).is_ok()).count()
    }

    #[test]
    fn an_address_has_a_wide_bucket_and_the_host_none() {
        let now = clock::monotonic();
        let (routes, mut worker) = (OpenRoutes::new(64, now), OpenOfWorker::default());
        let second = Duration::from_secs(1);
        assert_eq!(admitted(&routes, &mut worker, "203.0.113.7", now), 200);
        assert_eq!(admitted(&routes, &mut worker, "203.0.113.7", now + second), 100);
        assert_eq!(admitted(&routes, &mut worker, "2001:db8::1", now + second), 200);
        assert_eq!(admitted(&routes, &mut worker, "2001:db8::2", now + second), 0, "one prefix");
        let mut other = OpenOfWorker::default();
        assert_eq!(admitted(&routes, &mut other, "203.0.113.7", now + second), 0, "any worker");
        assert_eq!(admitted(&routes, &mut other, "127.0.0.1", now + second), 4_000);
    }

    #[test]
    fn a_worker_has_a_cap_for_all_of_them() {
        let now = clock::monotonic();
        let (routes, mut worker) = (OpenRoutes::new(64, now), OpenOfWorker::default());
        let of_all: usize = (0..100)
            .map(|last| admitted(&routes, &mut worker, &format!("203.0.113.{last}"), now))
            .sum();
        assert_eq!(of_all, 4_000);
        let client = ClientAddress::sure("198.51.100.1".parse().unwrap());
        assert!(matches!(routes.admit(&mut worker, &client, now), Err(TooOften::Worker(_))));
    }
}
