//! Who is throttled for abuse, for how long, and what an operator sees of it.
//!
//! Owns: a penalty for each client that was found abusive: 30 seconds for the first time, twice as long
//! with every further one, an hour at most; an hour after the end of the last it is forgotten. A query
//! that is repeated has a penalty of its own, of 30 seconds each time: most repetitions are answered by
//! the cache, so they are no reason to refuse anything else. Refuses: to prolong a penalty that lasts, so
//! a wait that was given stays true. Bounded: the penalty of who was away longest makes room for new ones.

use std::cmp::Reverse;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::limits::client::Principal;
use crate::resilience::backoff::Backoff;
use crate::resilience::sharded_map::ShardedMap;
use crate::resilience::tick::Tick;

const LENGTHS: Backoff =
    Backoff { first: Duration::from_secs(30), longest: Duration::from_secs(3_600) };
/// Time after the end of a penalty until it is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// A pattern of abuse.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// The same query again and again.
    #[default]
    RepeatedQuery,
    /// Ids of products or categories one after the other.
    SequentialIds,
    /// Page after page of one search.
    PageScan,
}

impl Pattern {
    pub const ALL: [Self; 3] = [Self::RepeatedQuery, Self::SequentialIds, Self::PageScan];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RepeatedQuery => "repeated_query",
            Self::SequentialIds => "sequential_ids",
            Self::PageScan => "page_scan",
        }
    }

    /// The same for an operator who reads what became of a request.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::RepeatedQuery => "the same query too often (repeated_query)",
            Self::SequentialIds => "too many ids in a row (sequential_ids)",
            Self::PageScan => "too many pages of one search (page_scan)",
        }
    }

    /// For the client: what it did, and what to do instead.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::RepeatedQuery => {
                "The same query came too often within a minute (repeated_query), so this query is \
                 refused for now, and no other; keep its answer, or show a client key, which may ask \
                 more often."
            }
            Self::SequentialIds => {
                "Too many ids in a row were asked for within a minute (sequential_ids); wait, ask more \
                 slowly and only for what is shown, or show a client key, which may ask for more."
            }
            Self::PageScan => {
                "Too many pages of one search were asked for within a minute (page_scan); wait, turn \
                 them more slowly or narrow the search, or show a client key, which may ask for more."
            }
        }
    }
}

/// What a penalty refuses: everything that a client asks, or one query of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Subject {
    pub(super) principal: Principal,
    pub(super) query: Option<u64>,
}

/// What is known of a client that was found abusive; the default is one that never was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Penalty {
    /// How often it was found, not counting what is forgotten.
    pub(super) flags: u32,
    /// What gave it away the last time.
    pub(super) pattern: Pattern,
    /// How many requests, ids or pages that were.
    pub(super) seen: u32,
    /// Requests refused since the first time.
    pub(super) refused: u64,
    until: Tick,
}

impl Penalty {
    pub(super) fn left(&self, now: Tick) -> Option<Duration> {
        (now < self.until).then(|| self.until.since(now))
    }

    fn is_forgotten(&self, now: Tick) -> bool {
        now >= self.until.plus(FORGOTTEN_AFTER)
    }

    fn again(&mut self, pattern: Pattern, seen: u32, now: Tick) {
        if self.is_forgotten(now) {
            *self = Self::default();
        }
        self.flags = self.flags.saturating_add(1);
        (self.pattern, self.seen) = (pattern, seen);
        let times = if pattern == Pattern::RepeatedQuery { 1 } else { self.flags };
        self.until = now.plus(LENGTHS.wait(times));
    }
}

#[derive(Debug)]
pub(super) struct Penalties(ShardedMap<Subject, Penalty>);

impl Penalties {
    pub(super) fn new(capacity: usize) -> Self {
        Self(ShardedMap::new(capacity))
    }

    /// The penalty of a subject; if it lasts, this is counted as a refusal.
    pub(super) fn meet(&self, who: &Subject, now: Tick) -> Penalty {
        let met = self.0.find(who, |penalty| {
            if penalty.is_forgotten(now) {
                return Penalty::default();
            }
            let is_refused = penalty.left(now).is_some();
            penalty.refused = penalty.refused.saturating_add(u64::from(is_refused));
            *penalty
        });
        met.unwrap_or_default()
    }

    /// The time that a subject has to wait, and why. Counts nothing: it may be another who asks.
    pub(super) fn wait(&self, who: &Subject, now: Tick) -> Option<(Duration, Pattern)> {
        self.0.find(who, |penalty| Some((penalty.left(now)?, penalty.pattern))).flatten()
    }

    /// A client was found abusive. Gives the penalty, and whether it is a new one: who is throttled
    /// already is so for no longer than that.
    pub(super) fn found(
        &self,
        who: &Subject,
        pattern: Pattern,
        seen: u32,
        now: Tick,
    ) -> (Penalty, bool) {
        self.0.update(who, |penalty| {
            let fresh = penalty.left(now).is_none();
            if fresh {
                penalty.again(pattern, seen, now);
            }
            (*penalty, fresh)
        })
    }

    /// Drops what is forgotten; returns how many are throttled now.
    pub(super) fn throttled_now(&self, now: Tick) -> usize {
        self.0.retain(|_, penalty| !penalty.is_forgotten(now));
        let mut throttled = 0;
        self.0.each(|_, penalty| throttled += usize::from(penalty.left(now).is_some()));
        throttled
    }

    /// At most `most` of those that count, the worst first.
    pub(super) fn worst(&self, most: usize, now: Tick) -> Vec<(Subject, Penalty)> {
        let mut all = Vec::new();
        self.0.each(|who, penalty| {
            if !penalty.is_forgotten(now) {
                all.push((*who, *penalty));
            }
        });
        all.sort_unstable_by_key(|(who, penalty)| {
            (Reverse((penalty.left(now).is_some(), penalty.flags, penalty.refused)), *who)
        });
        all.truncate(most);
        all
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.0.len(), self.0.capacity())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// A client that was found abusive, and for which that is not forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Offender {
    /// A key, an address or a prefix, as in the log.
    pub principal: String,
    /// What gave it away the last time.
    pub pattern: Pattern,
    /// How many requests, ids or pages that were.
    pub seen: u32,
    /// How often it was found.
    pub flags: u32,
    /// Seconds that it is still throttled; 0 when it is not.
    pub throttled_for_seconds: u64,
    /// Requests refused since it was first found; in shadow mode those that would have been.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Subject {
        let address = std::net::Ipv4Addr::from_bits(number).into();
        Subject { principal: Principal::of_address(address, 64), query: None }
    }

    fn found(penalties: &Penalties, number: u32, now: Tick) -> (u32, u64, bool) {
        let (penalty, fresh) = penalties.found(&client(number), Pattern::SequentialIds, 21, now);
        (penalty.flags, penalty.left(now).unwrap().as_secs(), fresh)
    }

    #[test]
    fn who_waits_is_served_and_who_hammers_waits_no_longer() {
        let (penalties, start) = (Penalties::new(1_000), Tick::ORIGIN);
        assert_eq!(found(&penalties, 1, start), (1, 30, true));
        let soon = start.plus(Duration::from_secs(10));
        assert_eq!(found(&penalties, 1, soon), (1, 20, false));
        for _ in 0..100 {
            let met = penalties.meet(&client(1), soon);
            assert_eq!((met.flags, met.left(soon)), (1, Some(Duration::from_secs(20))));
        }
        let end = start.plus(LENGTHS.first);
        assert_eq!(penalties.meet(&client(1), end).left(end), None);
        assert_eq!(penalties.meet(&client(2), soon), Penalty::default());
        let of_a_query = Subject { query: Some(1), ..client(1) };
        let waits = [(client(1), soon), (of_a_query, soon), (client(1), end)]
            .map(|(who, now)| penalties.wait(&who, now));
        let wait = Some((Duration::from_secs(20), Pattern::SequentialIds));
        assert_eq!(waits, [wait, None, None]);
        assert_eq!(penalties.worst(5, soon)[0].1.refused, 100);
        assert_eq!((penalties.throttled_now(soon), penalties.throttled_now(end)), (1, 0));
        assert_eq!(found(&penalties, 1, end), (2, 60, true), "twice as long");
    }

    #[test]
    fn an_hour_after_its_end_it_is_forgotten() {
        let penalties = Penalties::new(1_000);
        let end = Tick::ORIGIN.plus(LENGTHS.first).plus(FORGOTTEN_AFTER);
        (0..3).for_each(|number| assert!(found(&penalties, number, Tick::ORIGIN).2));
        assert_eq!(penalties.meet(&client(0), end), Penalty::default());
        assert_eq!(found(&penalties, 1, end), (1, 30, true));
        assert_eq!((penalties.throttled_now(end), penalties.size().0), (1, 1));
    }

    #[test]
    fn a_flood_of_offenders_is_bounded() {
        let penalties = Penalties::new(160);
        (0..10_000).for_each(|number| assert!(found(&penalties, number, Tick::ORIGIN).2));
        let (kept, most) = penalties.size();
        assert!(kept <= most && most <= 160, "{kept} of {most}");
        assert_eq!(penalties.worst(20, Tick::ORIGIN).len(), 20);
        assert_eq!(found(&penalties, 9_999, Tick::ORIGIN), (1, 30, false), "the last is kept");
    }
}
