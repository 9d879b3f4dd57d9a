//! What an operator sees of abuse.
//!
//! Owns: [`AbuseStatus`] and how it is read off; at most `LISTED` offenders, however many there
//! are. Refuses nothing; what it takes is one lock after the other for a moment.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use super::{Abuse, Pattern};
use crate::resilience::tick::Tick;

/// Most offenders shown.
const LISTED: usize = 20;

/// How often each pattern was found since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Flags {
    /// The same query again and again.
    pub repeated_query: u64,
    /// Ids one after the other.
    pub sequential_ids: u64,
    /// Page after page of one search.
    pub page_scan: u64,
}

/// Somebody who was found abusive, and for whom that is not forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Offender {
    /// A key, an address or a prefix, as in the log.
    pub principal: String,
    /// What gave him away the last time.
    pub pattern: Pattern,
    /// How many requests, ids or pages that were.
    pub seen: u32,
    /// How often he was found.
    pub flags: u32,
    /// Seconds that he is still throttled; 0 when he is not.
    pub throttled_for_seconds: u64,
    /// Requests refused since he was first found; in shadow mode those that would have been.
    pub refused: u64,
}

/// Abuse as it is seen now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AbuseStatus {
    /// `on`, `shadow` or `off`.
    pub mode: &'static str,
    /// Found since the start, by pattern.
    pub flagged: Flags,
    /// Clients throttled now; in shadow mode those that would be.
    pub throttled_now: usize,
    /// Clients whose penalties are remembered.
    pub remembered: usize,
    /// How many can be.
    pub capacity: usize,
    /// Requests refused since the start; in shadow mode those that would have been.
    pub refused: u64,
    /// Requests that were not watched, or throttles not kept, because a table was full.
    pub turned_away: u64,
    /// Bytes that watching takes.
    pub bytes: usize,
    /// Bytes that it takes at most, beside those for keys that find room in a full table.
    pub most_bytes: usize,
    /// The worst of them, at most 20.
    pub offenders: Vec<Offender>,
}

impl Abuse {
    /// What is known about abuse.
    #[must_use]
    pub fn status(&self, now: Instant) -> AbuseStatus {
        let now = Tick::between(self.origin, now);
        let throttled_now = self.penalties.throttled_now(now);
        let (remembered, capacity) = self.penalties.size();
        let flagged = |pattern: Pattern| {
            self.flagged.get(pattern.index()).map_or(0, |count| count.load(Ordering::Relaxed))
        };
        let turned_away = [
            self.queries.turned_away(),
            self.pages.turned_away(),
            self.trails.turned_away(),
            self.penalties.unkept(),
        ];
        AbuseStatus {
            mode: self.settings.mode.as_str(),
            flagged: Flags {
                repeated_query: flagged(Pattern::RepeatedQuery),
                sequential_ids: flagged(Pattern::SequentialIds),
                page_scan: flagged(Pattern::PageScan),
            },
            throttled_now,
            remembered,
            capacity,
            refused: self.refused.load(Ordering::Relaxed),
            turned_away: turned_away.iter().sum(),
            bytes: self.queries.bytes()
                + self.pages.bytes()
                + self.trails.bytes()
                + self.penalties.bytes(),
            most_bytes: self.queries.most_bytes()
                + self.pages.most_bytes()
                + self.trails.most_bytes()
                + self.penalties.most_bytes(),
            offenders: self.offenders(now),
        }
    }

    fn offenders(&self, now: Tick) -> Vec<Offender> {
        let worst = self.penalties.worst(LISTED, now).into_iter();
        let offender = worst.map(|(principal, penalty)| Offender {
            principal: principal.to_string(),
            pattern: penalty.pattern,
            seen: penalty.seen,
            flags: penalty.flags,
            throttled_for_seconds: penalty
                .throttled_for(now)
                .map_or(0, crate::limits::headers::retry_after_seconds),
            refused: penalty.refused,
        });
        offender.collect()
    }
}
