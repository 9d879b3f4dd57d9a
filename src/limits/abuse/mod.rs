//! Abuse: the same query again and again, ids in a row, page after page of a search.
//!
//! Owns: what each client asked lately, as far as it could be a pattern, and who is throttled for
//! one. Refuses: whoever goes on in a pattern, from the request on that shows it, for a time that
//! doubles with every further one (`penalty`). Who is judged is the principal: holders of keys
//! behind one address are judged each by himself, and one without a key does not touch them. A key
//! may stand for all visitors of a shop, so its bounds grow with its limit.
//!
//! | question | file |
//! |---|---|
//! | how often in a minute | `minute.rs` |
//! | do numbers follow one another, also with gaps, out of order, up and down | `run.rs` |
//! | are there such numbers among a client's products, and how fast | `trail.rs` |
//! | where is that kept, and what when it is full | `recent.rs` |
//! | how long is somebody throttled | `penalty.rs`, `penalties.rs` |
//! | who surely is not | `filter.rs` |
//! | by what is all that found | `hashed.rs` |
//! | what does an operator see | `status.rs` |
//!
//! Decided here:
//! - Exact small counts by (client, query) instead of a count-min sketch: a sketch counts too much
//!   when it is flooded, and would then throttle the honest; these tables count too little.
//! - What was seen before a throttle counts for nothing after it: who waits as told is served.
//! - Ids in a row count by the minute, as queries and pages do: who reads on from one product to the
//!   next is slower. Who goes on for ten times as many without ever resting a minute is a machine,
//!   however slow.
//! - One request alone is no scan, whatever it lists: what continues it is.
//! - In shadow mode all is the same, but nobody is refused.

mod filter;
mod hashed;
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

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use self::pattern::Pattern;
pub use self::status::{AbuseStatus, Flags, Offender};

use self::hashed::{Hashed, Keyed, keyed};
use self::minute::Minute;
use self::penalties::{Penalties, Sentence};
use self::recent::{Kept, Recent};
use self::run::{Run, Step};
use self::trail::{REST, Trail, Visit};
use super::principal::Principal;
use crate::config::{AbuseMode, AbuseSettings, Limits};
use crate::resilience::tick::Tick;

/// Queries of clients that are counted at once.
const QUERIES: usize = 1 << 18;
/// Searches of clients whose pages are followed at once.
const SEARCHES: usize = 1 << 16;
/// Clients whose products or categories are followed at once.
const TRAILS: usize = 1 << 16;
/// Clients whose penalties are remembered at once: half of what sixteen hash maps of 8,192 places can
/// hold, so that they never grow beyond that.
const PENALTIES: usize = 57_344;
/// So many times the bound of ids in a row, without a minute's rest, are too many at any pace.
const LASTING: u32 = 10;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// Whose request it is counted as.
    pub principal: Principal,
    /// The limit a minute that his key was given for itself.
    pub own: Option<NonZeroU32>,
    /// Whether he is on the allow list: neither throttled nor watched.
    pub exempt: bool,
}

/// A client that is watched, and since which throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    who: Hashed,
    flags: u32,
    /// What he may do of anything at least; for keys.
    least: u32,
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

/// What kind of thing ids name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Named {
    /// Products.
    #[default]
    Products,
    /// Categories.
    Categories,
}

/// What a request asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// A hash of the canonical request; `None` for what may be asked again and again.
    pub query: Option<u64>,
    /// The page it asked for, of a search.
    pub page: Option<Page>,
    /// What it asked for by id.
    pub ids: &'a [u64],
    /// What these are ids of.
    pub named: Named,
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
    fn turn(&mut self, number: u32, second: u32) -> u32 {
        let rested = second.saturating_sub(self.second) >= REST;
        let step = if rested { Step::Elsewhere } else { self.run.step(number.into()) };
        self.second = self.second.max(second);
        match step {
            Step::Known => 0,
            Step::Further => self.minute.add(second),
            Step::Elsewhere => {
                *self = Self { second: self.second, ..Self::default() };
                self.run.step(number.into());
                self.minute.add(second)
            }
        }
    }
}

/// Everything that is known about abuse; shared by all workers and older than any actor.
#[derive(Debug)]
pub struct Abuse {
    settings: AbuseSettings,
    /// The limit a minute of keys that have none of their own.
    per_key: Option<NonZeroU32>,
    origin: Instant,
    hasher: Keyed,
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
    pub fn new(limits: &Limits, origin: Instant) -> Self {
        Self::sized(limits, origin, 1)
    }

    /// The same with a fraction of the room.
    fn sized(limits: &Limits, origin: Instant, fraction: usize) -> Self {
        Self {
            settings: limits.abuse,
            per_key: NonZeroU32::new(limits.search_per_key_per_minute),
            origin,
            hasher: keyed(),
            queries: Recent::with_room_for(QUERIES / fraction),
            pages: Recent::with_room_for(SEARCHES / fraction),
            trails: Recent::with_room_for(TRAILS / fraction),
            penalties: Penalties::with_room_for(PENALTIES / fraction),
            flagged: Default::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a request may go on.
    #[must_use]
    pub fn gate(&self, asking: Asking, now: Instant) -> Gate {
        if asking.exempt || self.settings.mode == AbuseMode::Off {
            return Gate::Unwatched;
        }
        let Some(least) = self.least(&asking) else { return Gate::Unwatched };
        let who = Hashed::of(asking.principal, &self.hasher);
        let standing = self.penalties.standing(&who, Tick::between(self.origin, now));
        let Some(wait) = standing.throttled_for else {
            return Gate::Watched(Watched { who, flags: standing.flags, least });
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        if self.settings.mode == AbuseMode::Shadow { Gate::Shadowed } else { Gate::Throttled(wait) }
    }

    /// How long a request has to wait that may come from `suspect`, though it is counted as another's:
    /// nobody gets out of a throttle by hiding where he is.
    #[must_use]
    pub fn wait_of(&self, suspect: Principal, now: Instant) -> Option<Duration> {
        if self.settings.mode != AbuseMode::On {
            return None;
        }
        let who = Hashed::of(suspect, &self.hasher);
        self.penalties.wait(&who, Tick::between(self.origin, now))
    }

    /// A request was refused because of those it may come from.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what a client asked for; says so when that shows a pattern.
    #[must_use]
    pub fn observe(&self, watched: Watched, seen: &Seen<'_>, now: Instant) -> Option<Flagged> {
        let now = Tick::between(self.origin, now);
        let second = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        let (pattern, count) = self
            .repeated(&watched, seen.query, second)
            .or_else(|| self.in_sequence(&watched, seen, second))
            .or_else(|| self.scanned(&watched, seen.page?, second))?;
        let Sentence { flags, throttled_for, fresh } =
            self.penalties.sentence(&watched.who, pattern, count, now);
        if fresh && let Some(flagged) = self.flagged.get(pattern.index()) {
            flagged.fetch_add(1, Ordering::Relaxed);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        let refused = self.settings.mode == AbuseMode::On;
        let principal = watched.who.principal;
        Some(Flagged { principal, pattern, seen: count, flags, throttled_for, fresh, refused })
    }

    /// How many are throttled now; drops what is forgotten.
    #[must_use]
    pub fn throttled_now(&self, now: Instant) -> usize {
        self.penalties.throttled_now(Tick::between(self.origin, now))
    }

    /// What a client may do of anything at least: a share of his key's limit. `None` for whom there
    /// is no bound: a key without a limit, or any where keys are not watched.
    fn least(&self, asking: &Asking) -> Option<u32> {
        if !asking.principal.is_key() {
            return Some(0);
        }
        let percent = u64::from(self.settings.key_percent);
        let limit = asking.own.or(self.per_key).filter(|_| percent > 0)?;
        Some(u32::try_from(u64::from(limit.get()) * percent / 100).unwrap_or(u32::MAX))
    }

    fn repeated(&self, who: &Watched, query: Option<u64>, second: u32) -> Option<(Pattern, u32)> {
        let most = bound(self.settings.repeats_per_minute, who)?;
        let key = self.key(who, Pattern::RepeatedQuery, query?);
        let count = self.queries.change(key, second, |minute| minute.add(second))?;
        (count > most).then_some((Pattern::RepeatedQuery, count))
    }

    fn in_sequence(&self, who: &Watched, seen: &Seen<'_>, second: u32) -> Option<(Pattern, u32)> {
        let most = bound(self.settings.sequence, who)?;
        if seen.ids.is_empty() {
            return None;
        }
        let of = match seen.named {
            Named::Products => 0,
            Named::Categories => 1,
        };
        let key = self.key(who, Pattern::SequentialIds, of);
        let Visit { pace, length } = self.trails.change(key, second, |trail| {
            let visits = seen.ids.iter().map(|id| trail.visit(*id, second));
            visits.reduce(Visit::or).unwrap_or_default()
        })?;
        let most = most.max(u32::try_from(seen.ids.len()).unwrap_or(u32::MAX));
        let lasting = most.saturating_mul(LASTING);
        let count = if pace > most { pace } else { length };
        (pace > most || length > lasting).then_some((Pattern::SequentialIds, count))
    }

    /// The first page of a search is what everybody asks for: following begins with the next.
    fn scanned(&self, who: &Watched, page: Page, second: u32) -> Option<(Pattern, u32)> {
        let most = bound(self.settings.pages, who)?;
        if page.number <= 1 {
            return None;
        }
        let key = self.key(who, Pattern::PageScan, page.of);
        let count = self.pages.change(key, second, |pages| pages.turn(page.number, second))?;
        (count > most).then_some((Pattern::PageScan, count))
    }

    /// Secret, so that nobody can choose queries that meet in one place; another one after every
    /// throttle, so that nothing from before it counts.
    fn key(&self, who: &Watched, pattern: Pattern, what: u64) -> u64 {
        self.hasher.hash_one((who.who.hash, who.flags, pattern, what))
    }
}

/// 0 means that the pattern is not looked for.
const fn bound(set: u32, who: &Watched) -> Option<u32> {
    match set {
        0 => None,
        set if set < who.least => Some(who.least),
        set => Some(set),
    }
}
