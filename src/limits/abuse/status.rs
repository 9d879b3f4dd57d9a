//! What an operator sees of abuse.
//!
//! Owns: [`AbuseStatus`] and how it is read off; at most `LISTED` offenders, however many there
//! are. Refuses nothing; it takes one lock after the other for a moment.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use super::Abuse;
use super::penalty::Pattern;
use crate::limits::retry_after_seconds;

const LISTED: usize = 20;

/// How often each pattern was found since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Flags {
    pub repeated_query: u64,
    pub sequential_ids: u64,
    pub page_scan: u64,
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
        let [repeated_query, sequential_ids, page_scan] =
            self.flagged.each_ref().map(|count| count.load(Ordering::Relaxed));
        let worst = self.penalties.worst(LISTED, now).into_iter();
        let offenders = worst.map(|(principal, penalty)| Offender {
            principal: principal.to_string(),
            pattern: penalty.pattern,
            seen: penalty.seen,
            flags: penalty.flags,
            throttled_for_seconds: penalty.left(now).map_or(0, retry_after_seconds),
            refused: penalty.refused,
        });
        AbuseStatus {
            mode: self.mode.as_str(),
            flagged: Flags { repeated_query, sequential_ids, page_scan },
            throttled_now,
            remembered,
            capacity,
            refused: self.refused.load(Ordering::Relaxed),
            bytes: self.queries.bytes() + self.sequences.bytes() + self.penalties.bytes(),
            offenders: offenders.collect(),
        }
    }
}
