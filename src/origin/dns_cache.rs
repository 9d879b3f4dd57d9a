//! DNS cache: from host names to addresses, without ever being held up by a resolver.
//!
//! Owns: the last good answer for each host and the look-ups under way: at most one for each host,
//! on a thread of its own, shared by all calls that wait for it. Refuses: to wait longer than its
//! own time-out. When the resolver fails or hangs, the last good answer is used however old it is;
//! a host without one is a fault. A hung resolver holds one thread; no pool of threads and no end of
//! the process waits for it.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

/// How long a good answer is used without asking again.
const FRESH: Duration = Duration::from_secs(60);
/// How long a resolver that has just failed is left alone where an old answer helps out.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// Asks the resolver for the addresses of a host; may block for as long as it likes.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Addresses of a host, in the resolver's order.
pub type Addresses = Arc<[IpAddr]>;

/// Why there is no address, in words.
pub type DnsFault = Arc<str>;

fn timeout_fault(after: Duration) -> DnsFault {
    format!("no answer within {} ms", after.as_millis()).into()
}

/// What a host's name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its addresses, at least one.
    pub addresses: Addresses,
    /// Why the answer is an old one, if it is.
    pub stale: Option<DnsFault>,
}

/// The cache. Older than any client that asks, so that a restart does not begin a second look-up
/// beside one that hangs.
#[derive(Clone)]
pub struct DnsCache {
    lookup: Lookup,
    timeout: Duration,
    hosts: Arc<Mutex<HashMap<String, Host>>>,
}

#[derive(Default)]
struct Host {
    good: Option<(Addresses, Instant)>,
    failed: Option<(DnsFault, Instant)>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    since: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

type Answer = Result<Addresses, DnsFault>;
type Sender = watch::Sender<Option<Answer>>;

/// What to do for a call that asks for a host.
#[derive(Debug)]
enum Step {
    Known(Resolved),
    Wait(watch::Receiver<Option<Answer>>),
}

fn known(addresses: &Addresses, stale: Option<DnsFault>) -> Step {
    Step::Known(Resolved { addresses: Arc::clone(addresses), stale })
}

impl Host {
    /// A fresh answer is used; an old one when the resolver has just failed, or hangs. `None` means
    /// that a look-up is due.
    fn step(&self, timeout: Duration, now: Instant) -> Option<Step> {
        if let Some((addresses, at)) = &self.good {
            let age = |at: Instant| now.saturating_duration_since(at);
            if age(*at) < FRESH {
                return Some(known(addresses, None));
            }
            let failed = self.failed.as_ref().filter(|(_, at)| age(*at) < LEFT_ALONE);
            let hangs = self.under_way.as_ref().is_some_and(|look| age(look.since) >= timeout);
            let fault = failed.map(|(fault, _)| fault.clone());
            if let Some(fault) = fault.or_else(|| hangs.then(|| timeout_fault(timeout))) {
                return Some(known(addresses, Some(fault)));
            }
        }
        self.under_way.as_ref().map(|look| Step::Wait(look.answer.clone()))
    }

    /// The resolver has answered, however late.
    fn learn(&mut self, answer: &Answer, now: Instant) {
        self.under_way = None;
        match answer {
            Ok(addresses) => {
                self.good = Some((Arc::clone(addresses), now));
                self.failed = None;
            }
            Err(fault) => self.failed = Some((fault.clone(), now)),
        }
    }

    /// The old answer, or the fault if there is none.
    fn or_stale(&self, fault: DnsFault) -> Result<Resolved, DnsFault> {
        match &self.good {
            Some((addresses, _)) => {
                Ok(Resolved { addresses: Arc::clone(addresses), stale: Some(fault) })
            }
            None => Err(fault),
        }
    }
}

impl DnsCache {
    /// Hosts as the machine's resolver knows them; no call waits for it longer than `timeout`.
    pub fn of_the_system(timeout: Duration) -> Self {
        Self::new(timeout, Arc::new(ask_system))
    }

    /// Hosts as `lookup` knows them.
    pub fn new(timeout: Duration, lookup: Lookup) -> Self {
        Self { lookup, timeout, hosts: Arc::default() }
    }

    /// Longest wait for the resolver.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The addresses of `host`; an address (also `[::1]`) stands for itself.
    pub async fn resolve(&self, host: &str) -> Result<Resolved, DnsFault> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Resolved { addresses: Arc::new([address]), stale: None });
        }
        let mut receiver = match self.step(host, clock::monotonic())? {
            Step::Known(resolved) => return Ok(resolved),
            Step::Wait(receiver) => receiver,
        };
        let answer = tokio::time::timeout(self.timeout, receiver.wait_for(Option::is_some)).await;
        let answer = match answer {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Err(timeout_fault(self.timeout))),
            Ok(Err(_)) => Err("the look-up was given up".into()),
            Err(_) => Err(timeout_fault(self.timeout)),
        };
        match answer {
            Ok(addresses) => Ok(Resolved { addresses, stale: None }),
            Err(fault) => self.with(host, |known| known.or_stale(fault)),
        }
    }

    /// The next step for `host`; a look-up that is due is begun with it.
    fn step(&self, host: &str, now: Instant) -> Result<Step, DnsFault> {
        self.with(host, |known| {
            if let Some(step) = known.step(self.timeout, now) {
                return Ok(step);
            }
            let (sender, receiver) = watch::channel(None);
            if let Err(error) = self.begin(host.to_owned(), sender) {
                let fault = format!("no thread for a look-up: {error}").into();
                return known.or_stale(fault).map(Step::Known);
            }
            known.under_way = Some(UnderWay { since: now, answer: receiver.clone() });
            Ok(Step::Wait(receiver))
        })
    }

    /// Asks the resolver on a thread of its own.
    fn begin(&self, host: String, sender: Sender) -> io::Result<()> {
        let cache = self.clone();
        let ask = move || {
            let asked = catch_unwind(AssertUnwindSafe(|| (cache.lookup)(&host)));
            let answer = read(asked.unwrap_or_else(|_| Err(io::Error::other("look-up died"))));
            cache.with(&host, |known| known.learn(&answer, clock::monotonic()));
            // The calls that waited may be gone.
            sender.send_replace(Some(answer));
        };
        std::thread::Builder::new().name("name-lookup".to_owned()).spawn(ask).map(drop)
    }

    fn with<T>(&self, host: &str, act: impl FnOnce(&mut Host) -> T) -> T {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get_mut(host) {
            return act(known);
        }
        act(hosts.entry(host.to_owned()).or_default())
    }
}

impl fmt::Debug for DnsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsCache").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn read(asked: io::Result<Vec<IpAddr>>) -> Answer {
    match asked {
        Ok(addresses) if addresses.is_empty() => Err("the name has no address".into()),
        Ok(addresses) => Ok(addresses.into()),
        Err(error) => Err(error.to_string().into()),
    }
}

fn ask_system(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    Ok(addresses)
}

#[cfg(test)]
#[path = "dns_cache_tests.rs"]
mod tests;
