//! The upstream of the simulation: a limit for each account, a capacity, and a day of troubles.
//!
//! Owns: who is answered what, after how long, and a list of the calls received. It is kind to
//! impatient clients: what it turns away costs it no capacity, and calls made during a ban do not
//! prolong it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use breakwater::clock::{self, Timestamp};
use breakwater::origin::transport::{Transport, TransportFault};
use breakwater::origin::{Answer, Request};

use crate::bodies::Said;
use crate::episodes::{Episode, Trouble};

/// Calls that an account may make in any second.
const LIMIT: usize = 10;
/// The same while it throttles more.
const LOW_LIMIT: usize = LIMIT / 10;
/// How long an account is banned that makes more.
const BAN: Duration = Duration::from_secs(1);
/// Calls a second that it can serve, of all accounts.
const CAPACITY: f64 = 15.0;
/// The same while it is weak.
const LOW_CAPACITY: f64 = CAPACITY / 5.0;
/// The median of the time that an answer takes, in seconds; a third as much again is common.
const LATENCY: f64 = 0.2;
/// The spread of its logarithm.
const SPREAD: f64 = 0.4;
/// How long it takes to be turned away at the door.
const AT_THE_DOOR: Duration = Duration::from_millis(20);
/// Longer than anybody waits.
const FOREVER: Duration = Duration::from_secs(3_600);

/// Midnight of the simulated day where the upstream is, eight hours ahead of UTC.
const MIDNIGHT: Timestamp = Timestamp::from_millis(20_514 * 86_400_000 - 8 * 3_600_000);

/// The upstream.
pub(crate) struct Upstream {
    began: Instant,
    episodes: Vec<Episode>,
    dice: RefCell<fastrand::Rng>,
    accounts: RefCell<BTreeMap<String, Account>>,
    capacity: RefCell<Capacity>,
    received: RefCell<Vec<Duration>>,
}

#[derive(Default)]
struct Account {
    /// The calls of the last second.
    recent: VecDeque<Duration>,
    banned_until: Duration,
}

struct Capacity {
    tokens: f64,
    counted_at: Duration,
}

impl Upstream {
    /// An upstream whose day begins now.
    pub(crate) fn new(episodes: &[Episode], seed: u64) -> Self {
        Self {
            began: clock::monotonic(),
            episodes: episodes.to_vec(),
            dice: RefCell::new(fastrand::Rng::with_seed(seed)),
            accounts: RefCell::default(),
            capacity: RefCell::new(Capacity { tokens: 0.0, counted_at: Duration::ZERO }),
            received: RefCell::default(),
        }
    }

    /// The time since midnight.
    pub(crate) fn time(&self) -> Duration {
        clock::monotonic() - self.began
    }

    /// When calls came in.
    pub(crate) fn received(&self) -> Vec<Duration> {
        self.received.borrow().clone()
    }

    /// What a call is answered, and after how long.
    fn receive(&self, request: &Request) -> (Duration, Said) {
        let now = self.time();
        self.received.borrow_mut().push(now);
        let key = app_key(&request.body);
        let trouble = self.trouble(now, key);
        match trouble {
            Some(Trouble::Outage) => return (AT_THE_DOOR, Said::Unavailable),
            Some(Trouble::Hang) => return (FOREVER, Said::Unavailable),
            Some(Trouble::WrongKey) => return (AT_THE_DOOR, Said::UnknownKey),
            None | Some(Trouble::Throttles | Trouble::Weak | Trouble::Slow | Trouble::Flaky) => {}
        }
        let limit = if trouble == Some(Trouble::Throttles) { LOW_LIMIT } else { LIMIT };
        if let Some(left) =
            self.accounts.borrow_mut().entry(key.to_owned()).or_default().ban(limit, now)
        {
            return (AT_THE_DOOR, Said::Wait(left.as_secs_f64().ceil() as u64));
        }
        self.serve(trouble, now)
    }

    fn serve(&self, trouble: Option<Trouble>, now: Duration) -> (Duration, Said) {
        let took = self.latency();
        let capacity = if trouble == Some(Trouble::Weak) { LOW_CAPACITY } else { CAPACITY };
        if !self.capacity.borrow_mut().take(capacity, now) {
            return (took, Said::Unavailable);
        }
        let mut dice = self.dice.borrow_mut();
        let answer = if dice.f64() < 0.03 { Said::NoProducts } else { Said::Products };
        match trouble {
            Some(Trouble::Slow) => (took * 10, answer),
            Some(Trouble::Flaky) if dice.f64() < 0.3 => {
                let faults = [Said::Unavailable, Said::WebPage, Said::Cut, Said::ServiceTimeout];
                (took, faults[dice.usize(..faults.len())])
            }
            _ => (took, answer),
        }
    }

    fn trouble(&self, at: Duration, key: &str) -> Option<Trouble> {
        let is_of = |episode: &&Episode| episode.account.is_none_or(|account| account == key);
        let mut now = self.episodes.iter().filter(|episode| episode.is_at(at)).filter(is_of);
        now.next().map(|episode| episode.trouble)
    }

    /// Log-normal, by the transform of Box and Muller.
    fn latency(&self) -> Duration {
        let mut dice = self.dice.borrow_mut();
        let (radius, angle) = ((-2.0 * (1.0 - dice.f64()).ln()).sqrt(), dice.f64() * TAU);
        Duration::from_secs_f64(LATENCY * (SPREAD * radius * angle.cos()).exp())
    }
}

impl Account {
    /// Counts a call; how long the account is banned, if it is.
    fn ban(&mut self, limit: usize, now: Duration) -> Option<Duration> {
        while self.recent.front().is_some_and(|at| now - *at >= BAN) {
            self.recent.pop_front();
        }
        if self.banned_until <= now {
            self.recent.push_back(now);
            if self.recent.len() > limit {
                self.banned_until = now + BAN;
            }
        }
        self.banned_until.checked_sub(now).filter(|left| !left.is_zero())
    }
}

impl Capacity {
    fn take(&mut self, per_second: f64, now: Duration) -> bool {
        let passed = (now - self.counted_at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(per_second);
        self.counted_at = now;
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }
}

fn app_key(body: &[u8]) -> &str {
    std::str::from_utf8(body)
        .unwrap()
        .split('&')
        .find_map(|pair| pair.strip_prefix("app_key="))
        .unwrap()
}

/// The way to the upstream of one question.
pub(crate) struct Line<'a> {
    upstream: &'a Upstream,
    calls: Cell<u32>,
}

impl<'a> Line<'a> {
    /// A line that was not used yet.
    pub(crate) const fn to(upstream: &'a Upstream) -> Self {
        Self { upstream, calls: Cell::new(0) }
    }

    /// Calls made with it.
    pub(crate) const fn calls(&self) -> u32 {
        self.calls.get()
    }
}

impl Transport for Line<'_> {
    async fn send(&self, request: Request, within: Duration) -> Result<Answer, TransportFault> {
        self.calls.set(self.calls.get() + 1);
        let (took, said) = self.upstream.receive(&request);
        tokio::time::sleep(took.min(within)).await;
        if took >= within { Err(TransportFault::Timeout) } else { Ok(said.on_the_wire()) }
    }

    fn wall(&self) -> Timestamp {
        MIDNIGHT.plus(self.upstream.time())
    }

    fn chance(&self) -> f64 {
        self.upstream.dice.borrow_mut().f64()
    }
}
