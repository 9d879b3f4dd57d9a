//! DNS cache: from host names to addresses, without ever being held up by a resolver.
//!
//! Owns: the last good answer for each host and the look-ups under way: at most one for each host,
//! on a thread of its own, shared by all calls that wait for it. Refuses: to wait longer than its
//! own time-out. When the resolver fails or hangs, the last good answer is used however old it is;
//! a host without one is a fault. A hung resolver holds one thread; no pool of threads and no end of
//! the process waits for it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock;

const FRESH: Duration = Duration::from_secs(60);

/// Asks the resolver for the addresses of a host; may block for as long as it likes.
pub type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

pub type Addresses = Arc<[IpAddr]>;

pub type DnsFault = Arc<str>;

type Answer = Result<Addresses, DnsFault>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
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
    under_way: Option<UnderWay>,
}

#[derive(Clone)]
struct UnderWay {
    since: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

impl DnsCache {
    /// Hosts as the machine's resolver knows them; no call waits for it longer than `timeout`.
    pub fn of_the_system(timeout: Duration) -> Self {
        Self::new(timeout, Arc::new(ask_system))
    }

    pub fn new(timeout: Duration, lookup: Lookup) -> Self {
        Self { lookup, timeout, hosts: Arc::default() }
    }

    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The addresses of `host`; an address (also `[::1]`) stands for itself.
    pub async fn resolve(&self, host: &str) -> Result<Resolved, DnsFault> {
        let fresh = |addresses| Ok(Resolved { addresses, stale: None });
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return fresh(Arc::new([address]));
        }
        let now = clock::monotonic();
        let (good, look_up) = self.with(host, |known| {
            let good = known.good.clone();
            let is_due = good.as_ref().is_none_or(|(_, at)| now >= *at + FRESH);
            (good, is_due.then(|| self.join(host, known, now)))
        });
        let good = good.map(|(addresses, _)| addresses);
        let answer = match (look_up, &good) {
            (None, Some(addresses)) => Ok(Arc::clone(addresses)),
            (Some(look_up), _) => self.wait(look_up, good.is_some(), now).await,
            (None, None) => Err("no look-up".into()),
        };
        match (answer, good) {
            (Ok(addresses), _) => fresh(addresses),
            (Err(fault), Some(addresses)) => Ok(Resolved { addresses, stale: Some(fault) }),
            (Err(fault), None) => Err(fault),
        }
    }

    /// The look-up of `host` that is under way, or a new one.
    fn join(&self, host: &str, known: &mut Host, now: Instant) -> Result<UnderWay, DnsFault> {
        if let Some(look_up) = &known.under_way {
            return Ok(look_up.clone());
        }
        let (sender, answer) = watch::channel(None);
        let begun = self.begin(host.to_owned(), sender);
        begun.map_err(|error| DnsFault::from(format!("no thread for a look-up: {error}")))?;
        Ok(known.under_way.insert(UnderWay { since: now, answer }).clone())
    }

    /// Where an old answer helps out, a look-up that hangs already is not waited for.
    async fn wait(
        &self,
        look_up: Result<UnderWay, DnsFault>,
        has_old: bool,
        now: Instant,
    ) -> Answer {
        let UnderWay { since, mut answer } = look_up?;
        let until = if has_old { since } else { now } + self.timeout;
        let late = || format!("no answer within {} ms", self.timeout.as_millis()).into();
        match tokio::time::timeout_at(until.into(), answer.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err(late())),
            Ok(Err(_)) => Err("the look-up was given up".into()),
            Err(_) => Err(late()),
        }
    }

    /// Asks the resolver on a thread of its own.
    fn begin(&self, host: String, sender: watch::Sender<Option<Answer>>) -> io::Result<()> {
        let cache = self.clone();
        let ask = move || {
            let asked = catch_unwind(AssertUnwindSafe(|| (cache.lookup)(&host)));
            let answer = read(asked.unwrap_or_else(|_| Err(io::Error::other("look-up died"))));
            cache.with(&host, |known| {
                known.under_way = None;
                if let Ok(addresses) = &answer {
                    known.good = Some((Arc::clone(addresses), clock::monotonic()));
                }
            });
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
