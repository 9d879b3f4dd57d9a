//! Abuse: the same query again and again, ids in a row, page after page of a search.
//!
//! Owns: what each client asked for lately, as far as it could be a pattern, and who is throttled for
//! one. Refuses: a client that goes on in a scan, from the request on that shows it, for a time that
//! doubles with every further one; of a client that repeats a query only that query (`penalty.rs`). Counted under the principal: holders of keys behind
//! one address are judged each by themselves. Bounded: in a full table what was asked longest ago is
//! forgotten, so a flood of strangers throttles nobody.
//!
//! - What was seen before a throttle counts for nothing after it: who waits as told is served.
//! - Ids and pages count by the minute, as queries do: who reads on from one product to the next is
//!   slower.
//! - One request alone is no scan, whatever it lists: what continues it is.
//! - In shadow mode all is the same, but nobody is refused.

mod penalty;
mod sequence;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use self::penalty::Pattern;
use foldhash::quality::{FixedState, SeedableRandomState};
use serde::Serialize;
use utoipa::ToSchema;

use self::penalty::{Offender, Penalties, Penalty, Subject};
use self::sequence::{Minute, Sequence};
use super::client::Principal;
use crate::limits::{AbuseMode, Limits, retry_after_seconds};
use crate::resilience::sharded_map::{ShardedMap, secret_hasher};
use crate::resilience::tick::Tick;

/// Offenders that an operator is shown.
const LISTED: usize = 20;
/// Queries of clients that are counted at once.
const QUERIES: usize = 1 << 18;
/// Clients whose ids are followed at once, and searches whose pages are.
const SEQUENCES: usize = 1 << 16;
/// Clients whose penalties are remembered at once.
const PENALTIES: usize = 1 << 16;
/// Times that a client may ask the same in a minute: who reloads a page asks less often.
const REPEATS: u32 = 20;
/// Most ids or pages in a row in a minute: a person looks at fewer, the largest bulk request is one.
const IN_SEQUENCE: u32 = 20;
/// A key may stand for all visitors of a shop, so it may spend this share of its limit on one pattern.
const KEY_SHARE: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    pub principal: Principal,
    /// The limit a minute that its key was given for itself.
    pub own: Option<NonZeroU32>,
    /// Whether it is on the allow list: neither throttled nor watched.
    pub exempt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    principal: Principal,
    /// How often it was found; what was seen before counts no more.
    flags: u32,
    /// What it may do of anything at least; for keys.
    least: u32,
}

/// What becomes of a request before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbuseCheck {
    /// It goes on and is not watched.
    Unwatched,
    /// It goes on and is to be shown to [`Abuse::observe`].
    Watched(Watched),
    /// Its client is throttled; exactly so long, for this.
    Throttled(Duration, Pattern),
    /// It would be, but for shadow mode: it goes on and is not watched.
    Shadowed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// A hash of the search without its page number.
    pub of: u64,
    pub number: u32,
}

/// What kind of thing ids name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Named {
    #[default]
    Items,
    Groups,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen<'a> {
    /// A hash of the canonical request; `None` for what may be asked again and again.
    pub query: Option<u64>,
    pub page: Option<Page>,
    pub ids: &'a [u64],
    /// What these are ids of.
    pub named: Named,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flagged {
    pub principal: Principal,
    pub pattern: Pattern,
    /// How many requests, ids or pages that were.
    pub seen: u32,
    pub flags: u32,
    pub throttled_for: Duration,
    /// It is news: to be counted and logged.
    pub fresh: bool,
    /// Whether it is refused; not in shadow mode.
    pub refused: bool,
}

/// Everything that is known about abuse; shared by all workers and older than any actor.
#[derive(Debug)]
pub struct Abuse {
    mode: AtomicU8,
    /// The limit a minute of keys that have none of their own; 0: none.
    per_key: AtomicU32,
    origin: Instant,
    /// Secret, so that nobody can choose queries that meet in one place.
    hasher: SeedableRandomState,
    queries: ShardedMap<u64, Minute<12>>,
    sequences: ShardedMap<u64, Sequence>,
    penalties: Penalties,
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
            mode: AtomicU8::new(limits.abuse_mode().number()),
            per_key: AtomicU32::new(limits.search_per_key_per_minute),
            origin,
            hasher: secret_hasher(),
            queries: ShardedMap::new(QUERIES / fraction),
            sequences: ShardedMap::new(SEQUENCES / fraction),
            penalties: Penalties::new(PENALTIES / fraction),
            refused: AtomicU64::new(0),
        }
    }

    /// These settings are in force from now on; what was seen stays.
    pub fn take_over(&self, limits: &Limits) {
        self.mode.store(limits.abuse_mode().number(), Ordering::Relaxed);
        self.per_key.store(limits.search_per_key_per_minute, Ordering::Relaxed);
    }

    fn mode(&self) -> AbuseMode {
        AbuseMode::numbered(self.mode.load(Ordering::Relaxed))
    }

    #[must_use]
    pub fn check(&self, asking: Asking, now: Instant) -> AbuseCheck {
        if asking.exempt || self.mode() == AbuseMode::Off {
            return AbuseCheck::Unwatched;
        }
        let Some(least) = self.least(&asking) else { return AbuseCheck::Unwatched };
        let (principal, now) = (asking.principal, self.tick(now));
        let penalty = self.penalties.meet(&Subject { principal, query: None }, now);
        let Some(wait) = penalty.left(now) else {
            return AbuseCheck::Watched(Watched { principal, flags: penalty.flags, least });
        };
        self.count_refused();
        if self.mode() == AbuseMode::Shadow {
            AbuseCheck::Shadowed
        } else {
            AbuseCheck::Throttled(wait, penalty.pattern)
        }
    }

    /// How long a request, or one for this query, has to wait that may come from `suspect`, though it
    /// is counted as another's: nobody gets out of a throttle by hiding its address.
    #[must_use]
    pub fn wait_of(
        &self,
        suspect: Principal,
        query: Option<u64>,
        now: Instant,
    ) -> Option<(Duration, Pattern)> {
        if self.mode() != AbuseMode::On {
            return None;
        }
        self.penalties.wait(&Subject { principal: suspect, query }, self.tick(now))
    }

    /// A request was refused because of those it may come from.
    pub fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what a client asked for; says so when that shows a pattern.
    #[must_use]
    pub fn observe(&self, watched: Watched, seen: &Seen<'_>, now: Instant) -> Option<Flagged> {
        let now = self.tick(now);
        let second = u32::try_from(now.as_nanos() / 1_000_000_000).unwrap_or(u32::MAX);
        let (principal, query) = (watched.principal, seen.query);
        let (penalty, fresh) =
            query.and_then(|query| self.repeated(&watched, query, now, second)).or_else(|| {
                let scan = self.in_sequence(&watched, seen, second);
                let (pattern, count) =
                    scan.or_else(|| self.scanned(&watched, seen.page?, second))?;
                Some(self.penalties.found(&Subject { principal, query: None }, pattern, count, now))
            })?;
        self.count_refused();
        Some(Flagged {
            principal,
            pattern: penalty.pattern,
            seen: penalty.seen,
            flags: penalty.flags,
            throttled_for: penalty.left(now).unwrap_or_default(),
            fresh,
            refused: self.mode() == AbuseMode::On,
        })
    }

    /// How many are throttled now; drops what is forgotten.
    #[must_use]
    pub fn throttled_now(&self, now: Instant) -> usize {
        self.penalties.throttled_now(self.tick(now))
    }

    fn tick(&self, now: Instant) -> Tick {
        Tick::between(self.origin, now)
    }

    /// What a client may do of anything at least: a share of its key's limit. `None` for a key
    /// without a limit: there is no bound.
    fn least(&self, asking: &Asking) -> Option<u32> {
        if !asking.principal.is_key() {
            return Some(0);
        }
        asking
            .own
            .or_else(|| NonZeroU32::new(self.per_key.load(Ordering::Relaxed)))
            .map(|limit| limit.get() / KEY_SHARE)
    }

    /// The penalty of a query that is, or was, asked too often, and whether it is a new one.
    fn repeated(
        &self,
        who: &Watched,
        query: u64,
        now: Tick,
        second: u32,
    ) -> Option<(Penalty, bool)> {
        let subject = Subject { principal: who.principal, query: Some(query) };
        let penalty = self.penalties.meet(&subject, now);
        if penalty.left(now).is_some() {
            return Some((penalty, false));
        }
        let pattern = Pattern::RepeatedQuery;
        let key = self.key(who, (pattern, query, penalty.flags));
        let count = self.queries.update(&key, |minute| minute.add(second));
        let is_pattern = count > REPEATS.max(who.least);
        is_pattern.then(|| self.penalties.found(&subject, pattern, count, now))
    }

    fn in_sequence(&self, who: &Watched, seen: &Seen<'_>, second: u32) -> Option<(Pattern, u32)> {
        let numbers = seen.ids.iter().copied();
        self.follow(who, Pattern::SequentialIds, seen.named, numbers, second)
    }

    /// The first page of a search is what everybody asks for: following begins with the next.
    fn scanned(&self, who: &Watched, page: Page, second: u32) -> Option<(Pattern, u32)> {
        let number = Some(u64::from(page.number)).filter(|number| *number > 1);
        self.follow(who, Pattern::PageScan, page.of, number.into_iter(), second)
    }

    /// Follows the numbers that a client asked for of one thing.
    fn follow(
        &self,
        who: &Watched,
        pattern: Pattern,
        of: impl Hash,
        numbers: impl ExactSizeIterator<Item = u64>,
        second: u32,
    ) -> Option<(Pattern, u32)> {
        let at_once = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        if at_once == 0 {
            return None;
        }
        let most = IN_SEQUENCE.max(who.least).max(at_once);
        let key = self.key(who, (pattern, of));
        let pace = self.sequences.update(&key, |sequence| {
            numbers.map(|number| sequence.visit(number, second)).max().unwrap_or_default()
        });
        (pace > most).then_some((pattern, pace))
    }

    /// Another one after every throttle, so that nothing from before it counts.
    fn key(&self, who: &Watched, what: impl Hash) -> u64 {
        self.hasher.hash_one((who.principal, who.flags, what))
    }
}

/// What a request asks for as a number: the same for all that mean the same. It means nothing
/// outside this process, and is hashed again with a secret.
#[must_use]
pub fn fingerprint(what: &impl Hash) -> u64 {
    FixedState::default().hash_one(what)
}

/// Abuse as it is seen now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AbuseStatus {
    /// `on`, `shadow` or `off`.
    pub mode: &'static str,
    /// Clients and repeated queries throttled now; in shadow mode those that would be.
    pub throttled_now: usize,
    /// Clients and repeated queries whose penalties are remembered.
    pub remembered: usize,
    /// How many can be.
    pub capacity: usize,
    /// Requests refused since the start; in shadow mode those that would have been.
    pub refused: u64,
    /// Bytes that watching takes.
    pub bytes: usize,
    /// The worst of them, at most 20.
    pub offenders: Vec<Offender>,
}

impl Abuse {
    #[must_use]
    pub fn status(&self, now: Instant) -> AbuseStatus {
        let now = self.tick(now);
        let throttled_now = self.penalties.throttled_now(now);
        let (remembered, capacity) = self.penalties.size();
        let worst = self.penalties.worst(LISTED, now).into_iter();
        let offenders = worst.map(|(subject, penalty)| Offender {
            principal: subject.principal.to_string(),
            pattern: penalty.pattern,
            seen: penalty.seen,
            flags: penalty.flags,
            throttled_for_seconds: penalty.left(now).map_or(0, retry_after_seconds),
            refused: penalty.refused,
        });
        AbuseStatus {
            mode: self.mode().as_str(),
            throttled_now,
            remembered,
            capacity,
            refused: self.refused.load(Ordering::Relaxed),
            bytes: self.queries.bytes() + self.sequences.bytes() + self.penalties.bytes(),
            offenders: offenders.collect(),
        }
    }
}
