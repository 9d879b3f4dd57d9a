//! Limits how many connections there are, in all and from each client.
//!
//! The counts are those of all workers. The connections of trusted proxies count in all but not by
//! address, because they carry many clients. The system is asked for as many descriptors as the
//! settings want. When it does not give them, fewer connections are admitted: they must leave
//! descriptors to everything else, also to refusing a connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, info, warn};

use crate::http::settings::HttpSettings;
use crate::limits::{Network, is_trusted};

/// Descriptors that are not connections of clients: upstream, Redis, database, log.
const OTHERS: u64 = 256;
/// Connections of clients in all; one more is refused. A busy instance has some thousand, and each costs
/// some kilobytes.
const MOST_CONNECTIONS: u32 = 20_000;
/// Those of a worker's loop.
const EACH_WORKER: u64 = 8;

#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    pub most: u32,
    /// From one address, or IPv6 prefix; `None` for any number.
    pub per_address: Option<NonZeroU32>,
    pub trusted: Vec<IpNet>,
    /// Bits of an IPv6 address that make a client.
    pub ipv6_prefix: u8,
}

impl ConnectionLimits {
    /// What the settings want, or what fits.
    pub fn from_settings(settings: &HttpSettings, log: &Logger) -> Self {
        let (server, limits) = (&settings.server, &settings.limits);
        let wanted = (MOST_CONNECTIONS, server.max_connections_per_address);
        let workers = u64::try_from(server.workers).unwrap_or(u64::MAX);
        let reserve = OTHERS.saturating_add(workers.saturating_mul(EACH_WORKER));
        let descriptors = raised_to(reserve.saturating_add(u64::from(wanted.0)), log);
        let fitting = descriptors.map_or(wanted, |there| fitting(wanted, there, reserve));
        if fitting != wanted {
            warn!(log, "fewer connections than wanted, there are too few descriptors (ulimit -n)";
            "descriptors" => descriptors, "max_connections" => fitting.0,
            "max_connections_per_address" => fitting.1);
        }
        Self {
            most: fitting.0,
            per_address: NonZeroU32::new(fitting.1).filter(|_| limits.enabled),
            trusted: limits.trusted_proxies.clone(),
            ipv6_prefix: limits.ipv6_prefix,
        }
    }
}

/// The descriptors there may be after asking for so many; `None` for any number.
fn raised_to(wanted: u64, log: &Logger) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let had = current.filter(|had| *had < wanted)?;
    let more = maximum.map_or(wanted, |most| most.min(wanted));
    if more > had && setrlimit(Resource::Nofile, Rlimit { current: Some(more), maximum }).is_ok() {
        info!(log, "more descriptors asked for"; "had" => had, "has" => more);
        return Some(more);
    }
    Some(had)
}

/// What fits of the connections wanted, in all and from each address (0: any); one address never takes
/// more than half of what was cut.
fn fitting(wanted: (u32, u32), descriptors: u64, reserve: u64) -> (u32, u32) {
    let room = descriptors.saturating_sub(reserve).max(descriptors / 2).max(1);
    let all = u32::try_from(room).unwrap_or(u32::MAX);
    if all >= wanted.0 {
        return wanted;
    }
    // 0 stays 0: any number.
    (all, wanted.1.min((all / 2).max(1)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    Process,
    Address,
}

impl LimitExceeded {
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
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, counts: Mutex::default() })
    }

    /// Counts a connection from `peer`.
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

    pub const fn most(&self) -> u32 {
        self.limits.most
    }

    /// How many connections there are.
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

    #[test]
    fn connections_leave_descriptors_to_everything_else() {
        let wanted = (20_000, 1_000);
        assert_eq!(fitting(wanted, 1_048_576, 288), wanted);
        assert_eq!(fitting(wanted, 20_288, 288), wanted);
        assert_eq!(fitting(wanted, 4_096, 288), (3_808, 1_000));
        assert_eq!(fitting(wanted, 1_024, 288), (736, 368));
        assert_eq!(fitting(wanted, 300, 288), (150, 75));
        assert_eq!(fitting(wanted, 1, 288), (1, 1));
        assert_eq!(fitting((20_000, 0), 1_024, 288), (736, 0));
        assert_eq!(fitting((100, 100), 1_024, 288), (100, 100));
    }
}
