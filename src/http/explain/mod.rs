//! What became of requests lately: every one that was refused, failed, stale, slow or asked the
//! upstream, and a sample of hits.
//!
//! Owns: rings of records, one for each outcome, so that a flood of one kind drives out no other; their
//! bounds in number and in bytes; and how far back each reaches. Adding one is a push under a lock that
//! is held for no longer; the steps of a record are told when somebody asks (`record`). Has no
//! neighbour that could be down, and is gone with the process.

mod record;
mod sentence;
pub mod spans;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use utoipa::ToSchema;

pub use self::record::{Limited, Outcome, Record, StepShown};
use crate::clock::Timestamp;
use crate::http::error::ErrorCode;

/// Records of one outcome at most.
pub const MOST: usize = 1_024;
/// Bytes of them at most, as far as they can be counted.
pub const MOST_BYTES: usize = 512 << 10;
/// One hit of so many is kept.
pub const SAMPLE: u32 = 64;

#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Record>,
    bytes: usize,
    /// Whether any was driven out.
    full: bool,
}

impl Ring {
    fn push(&mut self, record: Record) {
        self.bytes = self.bytes.saturating_add(record.bytes());
        self.records.push_back(record);
        while self.records.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.records.pop_front() else { return };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.full = true;
        }
    }
}

/// How far back the records of one outcome reach.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reach {
    pub outcome: Outcome,
    #[schema(minimum = 0)]
    pub kept: usize,
    #[schema(minimum = 0)]
    pub bytes: usize,
    /// Those before it are gone: RFC 3339.
    #[serde(serialize_with = "Timestamp::write_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
}

/// A request and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    #[schema(value_type = String)]
    pub request_id: Arc<str>,
    /// When it came, RFC 3339.
    #[serde(serialize_with = "Timestamp::write_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = String)]
    pub method: &'static str,
    /// Route template.
    #[schema(value_type = String)]
    pub route: &'static str,
    pub status: u16,
    /// The code of an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub code: Option<&'static str>,
    pub outcome: Outcome,
    pub duration_ms: f64,
    /// The same for a person.
    pub sentence: String,
    /// In the order of time; the last is what decided.
    pub steps: Vec<StepShown>,
}

impl Record {
    #[must_use]
    pub fn explain(self) -> Explained {
        let steps = self.steps();
        Explained {
            sentence: sentence::of(&self, &steps),
            at: self.at,
            method: self.method,
            route: self.route,
            status: self.status,
            code: self.code.map(ErrorCode::as_str),
            outcome: self.outcome,
            duration_ms: self.duration.as_secs_f64() * 1_000.0,
            request_id: self.request_id,
            steps,
        }
    }
}

/// The rings of all workers.
#[derive(Debug)]
pub struct Explain {
    rings: [Mutex<Ring>; Outcome::ALL.len()],
    started: Timestamp,
}

impl Explain {
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self { rings: Default::default(), started }
    }

    pub fn keep(&self, record: Record) {
        if let Some(mut ring) = self.ring(record.outcome) {
            ring.push(record);
        }
    }

    fn ring(&self, outcome: Outcome) -> Option<MutexGuard<'_, Ring>> {
        let at = Outcome::ALL.iter().position(|one| *one == outcome)?;
        // A ring is whole after every change but for its count of bytes, which is a bound.
        self.rings.get(at).map(|ring| ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last records that are `wanted`, newest first.
    pub fn last(
        &self,
        outcome: Option<Outcome>,
        limit: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        let outcomes = Outcome::ALL.into_iter().filter(|one| outcome.is_none_or(|of| of == *one));
        let mut found = Vec::new();
        for ring in outcomes.filter_map(|one| self.ring(one)) {
            let newest = ring.records.iter().rev().filter(|record| wanted(record));
            found.extend(newest.take(limit).cloned());
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.at));
        found.truncate(limit);
        found
    }

    pub fn reach(&self) -> Vec<Reach> {
        let of = |outcome| {
            let ring = self.ring(outcome)?;
            let oldest = ring.records.front().filter(|_| ring.full).map(|record| record.at);
            let since = oldest.unwrap_or(self.started);
            Some(Reach { outcome, kept: ring.records.len(), bytes: ring.bytes, since })
        };
        Outcome::ALL.into_iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::record::tests::record;
    use super::*;

    fn at(record: Record, millis: i64) -> Record {
        Record { at: Timestamp::from_millis(millis), ..record }
    }

    #[test]
    fn a_hundred_thousand_requests_leave_each_ring_at_its_bound() {
        let explain = Explain::new(Timestamp::default());
        for number in 0..100_000 {
            explain.keep(at(record(Outcome::Stale), number));
        }
        explain.keep(at(record(Outcome::Failed), 7));
        let reach = explain.reach();
        let of = |outcome| reach.iter().find(|one| one.outcome == outcome).unwrap();
        let stale = of(Outcome::Stale);
        assert_eq!((stale.kept, stale.since.as_millis()), (MOST, 100_000 - 1_024));
        assert!(stale.bytes <= MOST_BYTES);
        let failed = of(Outcome::Failed);
        assert_eq!((failed.kept, failed.since.as_millis()), (1, 0), "no other kind drives it out");
    }

    #[test]
    fn long_records_are_bounded_by_their_bytes() {
        let explain = Explain::new(Timestamp::default());
        for _ in 0..2_000 {
            let cause = Some("x".repeat(2_000).into());
            explain.keep(Record { cause, ..record(Outcome::Refused) });
        }
        let reach = explain.reach();
        let refused = reach.iter().find(|one| one.outcome == Outcome::Refused).unwrap();
        assert!(refused.bytes <= MOST_BYTES && refused.kept < MOST && refused.kept > 200);
    }

    #[test]
    fn the_last_come_first_of_all_outcomes_or_of_one() {
        let explain = Explain::new(Timestamp::default());
        for (outcome, millis) in [(Outcome::Hit, 1), (Outcome::Failed, 3), (Outcome::Hit, 2)] {
            explain.keep(at(record(outcome), millis));
        }
        let times = |outcome, limit| -> Vec<i64> {
            let found = explain.last(outcome, limit, |_| true);
            found.iter().map(|record| record.at.as_millis()).collect()
        };
        assert_eq!(times(None, 9), [3, 2, 1]);
        assert_eq!(times(None, 2), [3, 2]);
        assert_eq!(times(Some(Outcome::Hit), 9), [2, 1]);
    }
}
