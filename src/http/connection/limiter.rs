//! Limits how many connections there are, in all and from each client.
//!
//! The counts are those of all workers. The connections of trusted proxies count in all but not by
//! address, because they carry many clients. When all places are taken, the longest idle connections
//! of the most crowded network are closed for new ones; the last places are for this host. The system is asked for as many descriptors as the
//! settings want. When it does not give them, fewer connections are admitted: they must leave
//! descriptors to everything else, also to refusing a connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Logger, info, warn};

use super::activity::Activity;
use crate::clock;
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

/// Connections of clients are closed in such numbers to make room, the longest idle first.
const ROOM: usize = 16;
/// So many that have to go may still be there.
const MOST_LEAVING: u32 = 64;
/// The last places are for this host: it asks whether we live.
const KEPT_FOR_THIS_HOST: u32 = 8;
/// Bits by which addresses are counted together when there is a crowd.
const AROUND_IPV4: u8 = 24;
const AROUND_IPV6: u8 = 48;

#[derive(Debug)]
pub struct ConnectionLimiter {
    limits: ConnectionLimits,
    origin: Instant,
    unread: Arc<AtomicUsize>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    open: HashMap<u64, Open>,
    next: u64,
    /// Those that were told to go and are still there.
    leaving: u32,
    by_client: HashMap<Network, u32>,
    around: HashMap<IpNet, usize>,
}

#[derive(Debug)]
struct Open {
    /// `None` for a proxy, and where clients are not limited.
    client: Option<Network>,
    /// `None` for a proxy: it is no crowd.
    around: Option<IpNet>,
    activity: Arc<Activity>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    activity: Arc<Activity>,
}

impl ConnectionLimiter {
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        let origin = clock::monotonic();
        Arc::new(Self { limits, origin, unread: Arc::default(), counts: Mutex::default() })
    }

    /// Counts a connection from `peer`; where all places are taken, idle ones make room.
    pub fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<ConnectionSlot, LimitExceeded> {
        let limits = &self.limits;
        let is_proxy = is_trusted(peer, &limits.trusted);
        let is_counted = limits.per_address.is_some() && !is_proxy;
        let client = is_counted.then(|| Network::of(peer, limits.ipv6_prefix));
        let mut counts = self.counts();
        let of_client = client.and_then(|client| counts.by_client.get(&client)).copied();
        if limits.per_address.is_some_and(|most| of_client.unwrap_or(0) >= most.get()) {
            return Err(LimitExceeded::Address);
        }
        let kept = if is_this_host(peer) { 0 } else { KEPT_FOR_THIS_HOST.min(limits.most / 2) };
        if counts.all() >= limits.most - kept && !counts.make_room() {
            return Err(LimitExceeded::Process);
        }
        let activity = Arc::new(Activity::new(self.origin, now, &self.unread));
        let around = (!is_proxy).then(|| around(peer));
        let number = counts.add(Open { client, around, activity: Arc::clone(&activity) });
        drop(counts);
        Ok(ConnectionSlot { limiter: Arc::clone(self), number, activity })
    }

    pub const fn most(&self) -> u32 {
        self.limits.most
    }

    /// How many connections there are.
    pub fn open(&self) -> u32 {
        self.counts().all()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing under this lock can panic.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn all(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    fn add(&mut self, open: Open) -> u64 {
        self.next = self.next.wrapping_add(1);
        if let Some(client) = open.client {
            *self.by_client.entry(client).or_default() += 1;
        }
        if let Some(around) = open.around {
            *self.around.entry(around).or_default() += 1;
        }
        self.open.insert(self.next, open);
        self.next
    }

    /// False if it was told to go before.
    fn remove(&mut self, number: u64) -> bool {
        let Some(open) = self.open.remove(&number) else { return false };
        if let Some(client) = open.client {
            let left = self.by_client.get(&client).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.by_client.remove(&client);
            } else {
                self.by_client.insert(client, left);
            }
        }
        if let Some(around) = open.around {
            let left = self.around.get(&around).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.around.remove(&around);
            } else {
                self.around.insert(around, left);
            }
        }
        true
    }

    /// Tells the longest idle of the most crowded network to go; false if none is idle.
    fn make_room(&mut self) -> bool {
        if self.leaving >= MOST_LEAVING {
            return false;
        }
        let crowd = |open: &Open| open.around.and_then(|net| self.around.get(&net).copied());
        let idle = self.open.iter().filter_map(|(number, open)| {
            let since = open.activity.idle_since()?;
            Some((crowd(open).unwrap_or(0), open.around, since, *number))
        });
        let idle: Vec<_> = idle.collect();
        let crowded = idle.iter().map(|(crowd, around, ..)| (*crowd, *around)).max();
        let Some((_, crowded)) = crowded else { return false };
        let mut longest: Vec<_> = idle
            .into_iter()
            .filter(|(_, around, ..)| *around == crowded)
            .map(|(_, _, since, number)| (since, number))
            .collect();
        longest.sort_unstable();
        for (_, number) in longest.into_iter().take(ROOM) {
            if let Some(open) = self.open.get(&number) {
                open.activity.dismiss();
                self.remove(number);
                self.leaving += 1;
            }
        }
        true
    }
}

impl ConnectionSlot {
    pub(super) const fn activity(&self) -> &Arc<Activity> {
        &self.activity
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        if !counts.remove(self.number) {
            counts.leaving = counts.leaving.saturating_sub(1);
        }
    }
}

/// The network around an address.
fn around(peer: IpAddr) -> IpNet {
    let peer = peer.to_canonical();
    let bits = if peer.is_ipv4() { AROUND_IPV4 } else { AROUND_IPV6 };
    IpNet::new(peer, bits).map_or(IpNet::from(peer), |net| net.trunc())
}

fn is_this_host(peer: IpAddr) -> bool {
    let peer = peer.to_canonical();
    peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST
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

    fn admit(
        limiter: &Arc<ConnectionLimiter>,
        peer: IpAddr,
    ) -> Result<ConnectionSlot, LimitExceeded> {
        let slot = limiter.admit(peer, clock::monotonic())?;
        slot.activity().busy();
        Ok(slot)
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_bound_and_gets_its_slots_back() {
        let limiter = limiter(100, 2);
        let first = admit(&limiter, peer("203.0.113.7")).unwrap();
        let _second = admit(&limiter, peer("::ffff:203.0.113.7")).unwrap();
        assert_eq!(admit(&limiter, peer("203.0.113.7")).unwrap_err(), LimitExceeded::Address);
        let _other = admit(&limiter, peer("203.0.113.8")).unwrap();
        drop(first);
        let _again = admit(&limiter, peer("203.0.113.7")).unwrap();
        assert_eq!(limiter.open(), 3);
    }

    #[test]
    fn a_prefix_is_one_client_and_a_proxy_is_many() {
        let limiter = limiter(100, 1);
        let _one = admit(&limiter, peer("2001:db8::1")).unwrap();
        assert_eq!(admit(&limiter, peer("2001:db8::2")).unwrap_err(), LimitExceeded::Address);
        let proxied: Vec<_> = (0..50).map(|_| admit(&limiter, peer("10.1.1.1")).unwrap()).collect();
        assert_eq!(limiter.open(), 51);
        drop(proxied);
        assert_eq!(limiter.open(), 1);
    }

    #[test]
    fn the_process_has_its_bound_and_nothing_is_left_behind() {
        let limiter = limiter(16, 0);
        let all: Vec<_> = (0..8).map(|_| admit(&limiter, peer("203.0.113.7")).unwrap()).collect();
        assert_eq!(admit(&limiter, peer("10.1.1.1")).unwrap_err(), LimitExceeded::Process);
        let ours: Vec<_> = (0..8).map(|_| admit(&limiter, peer("127.0.0.1")).unwrap()).collect();
        assert_eq!(admit(&limiter, peer("::1")).unwrap_err(), LimitExceeded::Process);
        drop((all, ours));
        let counts = limiter.counts();
        assert!(counts.open.is_empty() && counts.around.is_empty() && counts.leaving == 0);
    }

    #[test]
    fn the_longest_idle_of_the_most_crowded_network_makes_room() {
        let limiter = limiter(48, 0);
        let now = clock::monotonic();
        let at = |second| now + std::time::Duration::from_secs(second);
        let idle = |address: String, second| limiter.admit(peer(&address), at(second)).unwrap();
        let crowd: Vec<_> = (0..20).map(|n| idle(format!("2001:db8:1:{n}::1"), 20 - n)).collect();
        let others: Vec<_> = (0..10).map(|n| idle(format!("203.0.113.{n}"), 0)).collect();
        let proxy: Vec<_> = (0..10).map(|_| idle("10.1.1.1".to_owned(), 0)).collect();
        crowd[19].activity().busy();
        let is_gone = |slot: &ConnectionSlot| slot.activity().is_gone();
        let new = idle("198.51.100.1".to_owned(), 30);
        // Those that came last are idle longest; one of them is busy.
        assert_eq!(crowd.iter().map(is_gone).collect::<Vec<_>>()[..3], [false; 3]);
        assert!(crowd[3..19].iter().all(is_gone) && !is_gone(&crowd[19]));
        assert!(!others.iter().chain(&proxy).chain([&new]).any(is_gone));
        assert_eq!(limiter.open(), 25);
        drop(crowd);
        assert_eq!((limiter.open(), limiter.counts().leaving), (21, 0));
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
