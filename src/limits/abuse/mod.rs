//! Abuse: the same query again and again, product ids in a row, page after page of a search.
//!
//! Owns: what each client asked lately, as far as it could be a pattern, and who is throttled for
//! one. Refuses: whoever goes on in a pattern, from the request on that shows it, for a time that
//! doubles with every further one (`penalty`). Who is judged is the principal: holders of keys
//! behind one address are judged each by himself, and one without a key does not touch them.
//!
//! | question | file |
//! |---|---|
//! | how often in a minute | `minute.rs` |
//! | do numbers follow one another, also with gaps, out of order, up and down | `run.rs` |
//! | are there such numbers among a client's products | `trail.rs` |
//! | where is that kept, and what when it is full | `recent.rs` |
//! | how long is somebody throttled | `penalty.rs`, `penalties.rs` |
//! | what does an operator see | `status.rs` |
//!
//! Decided here:
//! - Exact small counts by (client, query) instead of a count-min sketch: a sketch counts too much
//!   when it is flooded, and would then throttle the honest; these tables count too little.
//! - What was seen before a throttle counts for nothing after it: who waits as told is served.
//! - In shadow mode all is the same, but nobody is refused.

mod minute;
pub mod pattern;
mod penalties;
mod penalty;
mod recent;
mod run;
pub mod status;
#[cfg(test)]
mod tests;
mod trail;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use self::pattern::Pattern;
pub use self::status::{AbuseStatus, Flags, Offender};

use self::minute::Minute;
use self::penalties::{Penalties, Sentence};
use self::recent::{Kept, Recent};
use self::run::{Run, Step};
use self::trail::{REST, Trail};
use super::principal::Principal;
use super::tick::Tick;
use crate::config::{AbuseMode, AbuseSettings};

/// Queries of clients that are counted at once.
const QUERIES: usize = 1 << 18;
/// Searches of clients whose pages are followed at once.
const SEARCHES: usize = 1 << 16;
/// Clients whose products are followed at once.
const TRAILS: usize = 1 << 16;
/// Clients whose penalties are remembered at once.
const PENALTIES: usize = 1 << 16;

/// A client that is watched, and since which throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    principal: Principal,
    flags: u32,
}

/// How a request is met before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It goes on and is not watched.
    Unwatched,
    /// It goes on and is to be shown to [`Abuse::observe`].
    Watched(Watched),
    /// Its client is throttled; exactly so long.
    Throttled(Duration),
    /// He would be, but for shadow mode: it goes on and is not watched.
    Shadowed,
}

/// A page of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// A hash of the search without its page number.
    pub of: u64,
    /// The page number, from 1.
    pub number: u32,
}

/// What a request asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// A hash of the canonical request.
    pub query: u64,
    /// The page it asked for, of a search.
    pub page: Option<Page>,
    /// The products it asked for by id.
    pub products: &'a [u64],
}

/// Somebody was found abusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flagged {
    /// Who.
    pub principal: Principal,
    /// What gave him away.
    pub pattern: Pattern,
    /// How many requests, ids or pages that were.
    pub seen: u32,
    /// How often he was found so far.
    pub flags: u32,
    /// How long he is throttled.
    pub throttled_for: Duration,
    /// It is news: to be counted and logged.
    pub fresh: bool,
    /// Whether he is refused; not in shadow mode.
    pub refused: bool,
}

impl Kept for Minute {
    fn weight(&self) -> u32 {
        self.sum()
    }
}

impl Kept for Trail {
    fn weight(&self) -> u32 {
        self.longest()
    }
}

/// The pages that one client asked of one search.
#[derive(Debug, Clone, Copy, Default)]
struct Pages {
    run: Run,
    minute: Minute,
    second: u32,
}

impl Kept for Pages {
    fn weight(&self) -> u32 {
        u32::from(self.run.length())
    }
}

impl Pages {
    /// Takes the next page; returns how many of the run came in the last minute, 0 when it is no
    /// new one.
    fn turn(&mut self, number: u32, now: Tick, second: u32) -> u32 {
        let rested = second.saturating_sub(self.second) >= REST;
        let step = if rested { Step::Elsewhere } else { self.run.step(number.into()) };
        self.second = self.second.max(second);
        match step {
            Step::Known => 0,
            Step::Further => self.minute.add(now),
            Step::Elsewhere => {
                *self = Self { second: self.second, ..Self::default() };
                self.run.step(number.into());
                self.minute.add(now)
            }
        }
    }
}

/// Everything that is known about abuse; shared by all workers and older than any actor.
#[derive(Debug)]
pub struct Abuse {
    settings: AbuseSettings,
    origin: Instant,
    hasher: RandomState,
    queries: Recent<Minute>,
    pages: Recent<Pages>,
    trails: Recent<Trail>,
    penalties: Penalties,
    flagged: [AtomicU64; Pattern::ALL.len()],
    refused: AtomicU64,
}

impl Abuse {
    /// Nobody is suspect yet; `origin` is the instant that its time counts from.
    #[must_use]
    pub fn new(settings: AbuseSettings, origin: Instant) -> Self {
        Self::sized(settings, origin, 1)
    }

    /// The same with a fraction of the room.
    fn sized(settings: AbuseSettings, origin: Instant, fraction: usize) -> Self {
        Self {
            settings,
            origin,
            hasher: RandomState::new(),
            queries: Recent::with_room_for(QUERIES / fraction),
            pages: Recent::with_room_for(SEARCHES / fraction),
            trails: Recent::with_room_for(TRAILS / fraction),
            penalties: Penalties::with_room_for(PENALTIES / fraction),
            flagged: Default::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a request of `principal` may go on. Who is `exempt` (on the allow list) is neither
    /// throttled nor watched.
    #[must_use]
    pub fn gate(&self, principal: Principal, exempt: bool, now: Instant) -> Gate {
        if exempt || self.settings.mode == AbuseMode::Off {
            return Gate::Unwatched;
        }
        let standing = self.penalties.standing(principal, Tick::between(self.origin, now));
        let Some(wait) = standing.throttled_for else {
            return Gate::Watched(Watched { principal, flags: standing.flags });
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.settings.mode == AbuseMode::Shadow { Gate::Shadowed } else { Gate::Throttled(wait) }
    }

    /// Takes what a client asked for; says so when that shows a pattern.
    #[must_use]
    pub fn observe(&self, who: Watched, seen: &Seen<'_>, now: Instant) -> Option<Flagged> {
        let now = Tick::between(self.origin, now);
        let second = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        let (pattern, count) = self
            .repeated(who, seen.query, now, second)
            .or_else(|| self.in_sequence(who, seen.products, second))
            .or_else(|| self.scanned(who, seen.page?, now, second))?;
        let Sentence { flags, throttled_for, fresh } =
            self.penalties.sentence(who.principal, pattern, count, now);
        if fresh && let Some(flagged) = self.flagged.get(pattern.index()) {
            flagged.fetch_add(1, Ordering::Relaxed);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let refused = self.settings.mode == AbuseMode::On;
        let principal = who.principal;
        Some(Flagged { principal, pattern, seen: count, flags, throttled_for, fresh, refused })
    }

    /// How many are throttled now; drops what is forgotten.
    #[must_use]
    pub fn throttled_now(&self, now: Instant) -> usize {
        self.penalties.throttled_now(Tick::between(self.origin, now))
    }

    fn repeated(&self, who: Watched, query: u64, now: Tick, second: u32) -> Option<(Pattern, u32)> {
        let most = bound(self.settings.repeats_per_minute)?;
        let key = self.key(who, Pattern::RepeatedQuery, query);
        let count = self.queries.change(key, second, |minute| minute.add(now))?;
        (count > most).then_some((Pattern::RepeatedQuery, count))
    }

    fn in_sequence(&self, who: Watched, ids: &[u64], second: u32) -> Option<(Pattern, u32)> {
        let most = bound(self.settings.sequence)?;
        if ids.is_empty() {
            return None;
        }
        let key = self.key(who, Pattern::SequentialIds, 0);
        let longest = self.trails.change(key, second, |trail| {
            ids.iter().map(|id| trail.visit(*id, second)).max().unwrap_or_default()
        })?;
        (longest > most).then_some((Pattern::SequentialIds, longest))
    }

    /// The first page of a search is what everybody asks for: following begins with the next.
    fn scanned(&self, who: Watched, page: Page, now: Tick, second: u32) -> Option<(Pattern, u32)> {
        let most = bound(self.settings.pages)?;
        if page.number <= 1 {
            return None;
        }
        let key = self.key(who, Pattern::PageScan, page.of);
        let count = self.pages.change(key, second, |pages| pages.turn(page.number, now, second))?;
        (count > most).then_some((Pattern::PageScan, count))
    }

    /// Secret, so that nobody can choose queries that meet in one place; another one after every
    /// throttle, so that nothing from before it counts.
    fn key(&self, who: Watched, pattern: Pattern, what: u64) -> u64 {
        self.hasher.hash_one((who.principal, who.flags, pattern, what))
    }
}

/// 0 means that the pattern is not looked for.
const fn bound(most: u32) -> Option<u32> {
    match most {
        0 => None,
        most => Some(most),
    }
}
