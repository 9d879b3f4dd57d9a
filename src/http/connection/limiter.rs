//! Limits how many connections there are, in all and from each client.
//!
//! The counts are those of all workers. The connections of trusted proxies count in all but not by
//! address, because they carry many clients. When all places are taken, the longest idle connections
//! of the most crowded network are closed for new ones; the last places are for this host. Places end with
//! the descriptors, too. Some are left to everything else, also to refusing a connection; when others take
//! them, idle connections make room although nobody comes. The log says so.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ipnet::IpNet;

use super::activity::Activity;
use super::descriptors::Descriptors;
use super::limits::ConnectionLimits;
use crate::clock;
use crate::http::log_sampler::LogSampler;
use crate::limits::{Network, is_trusted};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitExceeded {
    Process,
    Descriptors,
    Address,
}

impl LimitExceeded {
    pub const ALL: [Self; 3] = [Self::Process, Self::Descriptors, Self::Address];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Descriptors => "descriptors",
            Self::Address => "address",
        }
    }
}

/// Connections of clients are closed in such numbers to make room, of few fewer, the longest idle first.
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
    /// Whether the bound of an address holds.
    limits_clients: AtomicBool,
    origin: Instant,
    unread: Arc<AtomicUsize>,
    counts: Mutex<Counts>,
    /// Lines about descriptors that run out.
    lines: Mutex<LogSampler>,
}

#[derive(Debug, Default)]
struct Counts {
    open: HashMap<u64, Open>,
    next: u64,
    /// Those that were told to go and are still there.
    leaving: u32,
    /// Of all that are still there.
    descriptors: Descriptors,
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
    descriptor: u32,
    activity: Arc<Activity>,
}

impl ConnectionLimiter {
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        let origin = clock::monotonic();
        let lines = Mutex::new(LogSampler::one_a_minute());
        let (limits_clients, unread) = (AtomicBool::new(true), Arc::default());
        Arc::new(Self { limits, limits_clients, origin, unread, counts: Mutex::default(), lines })
    }

    /// Whether one address may have only so many from now on. Those that are there stay.
    pub fn limit_clients(&self, limits: bool) {
        self.limits_clients.store(limits, Ordering::Relaxed);
    }

    /// Counts a connection from `peer`, whose descriptor has this number; where all places are taken,
    /// idle ones make room.
    pub fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        descriptor: u32,
        now: Instant,
    ) -> Result<ConnectionSlot, LimitExceeded> {
        let limits = &self.limits;
        let is_proxy = is_trusted(peer, &limits.trusted);
        let is_counted = limits.per_address.is_some() && !is_proxy;
        let client = is_counted.then(|| Network::of(peer, limits.ipv6_prefix));
        let mut counts = self.counts();
        let of_client = client.and_then(|client| counts.by_client.get(&client)).copied();
        let is_full = |most: NonZeroU32| of_client.unwrap_or(0) >= most.get();
        if limits.per_address.is_some_and(is_full) && self.limits_clients.load(Ordering::Relaxed) {
            return Err(LimitExceeded::Address);
        }
        let kept = if is_this_host(peer) { 0 } else { KEPT_FOR_THIS_HOST };
        let full = if counts.all() >= limits.most - kept.min(limits.most / 2) {
            Some(LimitExceeded::Process)
        } else {
            let most = limits.first_spare() - kept.min(limits.spare());
            let in_use = counts.descriptors.in_use(descriptor);
            (in_use >= most).then_some(LimitExceeded::Descriptors)
        };
        if let Some(full) = full
            && !counts.make_room(now)
        {
            return Err(full);
        }
        let activity = Arc::new(Activity::new(self.origin, now, &self.unread));
        let around = (!is_proxy).then(|| around(peer));
        let number = counts.add(Open { client, around, activity: Arc::clone(&activity) });
        counts.descriptors.take(descriptor);
        drop(counts);
        Ok(ConnectionSlot { limiter: Arc::clone(self), number, descriptor, activity })
    }

    /// Idle connections make room when half of the spare descriptors are in use: at the end of all of them
    /// nobody can be accepted for whom there would be room. `free` is the lowest number that is free. Says
    /// whether so many are in use.
    pub fn keep_room(&self, free: u32, now: Instant) -> bool {
        let mut counts = self.counts();
        let most = self.limits.first_spare() + self.limits.spare() / 2;
        let short = counts.descriptors.in_use(free) > most;
        if short {
            counts.make_room(now);
        }
        short
    }

    /// How many descriptors are in use, if the log is to say that they run out, and how many lines were
    /// left out before.
    pub fn shortage(&self, free: u32, now: Instant) -> Option<(u32, u64)> {
        let in_use = self.counts().descriptors.in_use(free);
        if in_use < self.limits.first_spare() {
            return None;
        }
        let left_out = self.lines.lock().unwrap_or_else(PoisonError::into_inner).line(now);
        left_out.map(|left_out| (in_use, left_out))
    }

    pub const fn limits(&self) -> &ConnectionLimits {
        &self.limits
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
    fn make_room(&mut self, now: Instant) -> bool {
        if self.leaving >= MOST_LEAVING {
            return false;
        }
        let crowd = |open: &Open| open.around.and_then(|net| self.around.get(&net).copied());
        let idle = self.open.iter().filter_map(|(number, open)| {
            let since = open.activity.idle_since(now)?;
            Some((crowd(open).unwrap_or(0), open.around, since, *number))
        });
        let idle: Vec<_> = idle.collect();
        let crowded = idle.iter().map(|(crowd, around, ..)| (*crowd, *around)).max();
        let Some((_, crowded)) = crowded else { return false };
        let room = ROOM.min(self.open.len() / ROOM + 1);
        let mut longest: Vec<_> = idle
            .into_iter()
            .filter(|(_, around, ..)| *around == crowded)
            .map(|(_, _, since, number)| (since, number))
            .collect();
        longest.sort_unstable();
        for (_, number) in longest.into_iter().take(room) {
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
        counts.descriptors.give_back(self.descriptor);
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
            descriptors: 1_024,
            per_address: NonZeroU32::new(per_address),
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
            ipv6_prefix: 64,
        })
    }

    fn admit(
        limiter: &Arc<ConnectionLimiter>,
        peer: IpAddr,
    ) -> Result<ConnectionSlot, LimitExceeded> {
        let slot = limiter.admit(peer, 40, clock::monotonic())?;
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
        let idle = |address: String, second| limiter.admit(peer(&address), 40, at(second)).unwrap();
        let crowd: Vec<_> = (0..20).map(|n| idle(format!("2001:db8:1:{n}::1"), 20 - n)).collect();
        let others: Vec<_> = (0..10).map(|n| idle(format!("203.0.113.{n}"), 0)).collect();
        let proxy: Vec<_> = (0..10).map(|_| idle("10.1.1.1".to_owned(), 0)).collect();
        crowd[19].activity().busy();
        let is_gone = |slot: &ConnectionSlot| slot.activity().is_gone();
        let new = idle("198.51.100.1".to_owned(), 30);
        // Those that came last are idle longest; one of them is busy.
        assert!(!crowd[..16].iter().any(is_gone));
        assert!(crowd[16..19].iter().all(is_gone) && !is_gone(&crowd[19]));
        assert!(!others.iter().chain(&proxy).chain([&new]).any(is_gone));
        assert_eq!(limiter.open(), 38);
        drop(crowd);
        assert_eq!((limiter.open(), limiter.counts().leaving), (21, 0));
    }

    #[test]
    fn connections_leave_descriptors_to_everything_else() {
        let (limiter, now) = (limiter(20_000, 0), clock::monotonic());
        let admit = |from: &str, descriptor| limiter.admit(peer(from), descriptor, now);
        assert!(admit("203.0.113.7", 895 - 8).is_ok());
        assert_eq!(limiter.shortage(895, now), None);
        assert_eq!(admit("203.0.113.7", 888).unwrap_err(), LimitExceeded::Descriptors);
        let ours = admit("127.0.0.1", 895).unwrap();
        // It makes room as soon as it is idle; who came for it has a spare one.
        ours.activity().idle(now);
        let spare = admit("127.0.0.1", 896).unwrap();
        assert!(ours.activity().is_gone());
        drop(ours);
        assert_eq!(admit("127.0.0.1", 895).unwrap_err(), LimitExceeded::Descriptors);
        drop(spare);
        assert!(admit("127.0.0.1", 895).is_ok());
        let told = (0..3).map(|_| limiter.shortage(900, now)).collect::<Vec<_>>();
        assert_eq!(told, [Some((900, 0)), None, None]);
    }

    #[test]
    fn all_that_is_in_use_counts_and_idle_ones_make_room_although_nobody_comes() {
        let (limiter, now) = (limiter(20_000, 0), clock::monotonic());
        let admit = |descriptor, at| limiter.admit(peer("127.0.0.1"), descriptor, at);
        let mut idle: Vec<_> = (800..896).map(|number| admit(number, now).unwrap()).collect();
        // The lowest that is free is no more than that while higher ones are in use.
        drop(idle.remove(0));
        let _again = admit(800, now).unwrap();
        drop(idle.remove(0));
        let _busy = admit(801, now).unwrap();
        assert_eq!(admit(802, now).unwrap_err(), LimitExceeded::Descriptors);
        let (later, gone) =
            (now + std::time::Duration::from_secs(1), |idle: &[ConnectionSlot]| {
                idle.iter().filter(|slot| slot.activity().is_gone()).count()
            });
        assert!(!limiter.keep_room(896 + 64, later));
        assert_eq!(gone(&idle), 0, "half of the spare ones are free");
        assert!(limiter.keep_room(1_024, later));
        assert_eq!(gone(&idle), 7);
    }
}
