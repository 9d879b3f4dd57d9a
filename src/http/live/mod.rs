//! What the admin's page shows: curves, the sentence, and sections of which only the changed ones are sent.
//!
//! Owns: the second that everything is of, and the section that each client has not seen yet, without
//! knowing any client: a section carries the second in which it changed, and all get the same document
//! within a second, so that what changed later has a later second. The seconds begin at the
//! time of day of the start, so they rise over a restart as well. While nobody samples (the task was
//! begun anew) the document stays as it was. Fed by `app`, once a second.

pub mod summary;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;

use self::summary::{Facts, Summary, Watch};
use crate::clock::{self, Timestamp};
use crate::metrics::{Curves, Sample, Series};

/// Seconds of which the sentence tells errors.
const LATELY: usize = 10;

/// One for all workers.
#[derive(Debug)]
pub struct Live {
    began: Instant,
    wall: Timestamp,
    first: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    series: Series,
    watch: Watch,
    summary: Summary,
    /// The second for which the sections were made.
    made: Option<u64>,
    sections: BTreeMap<&'static str, (u64, Value)>,
}

/// What a client that has seen everything up to a second is to be told.
#[derive(Debug)]
pub struct News {
    pub seq: u64,
    pub summary: Summary,
    pub curves: Vec<Curves>,
    pub sections: Vec<(&'static str, Value)>,
}

impl Default for Live {
    /// Begins now.
    fn default() -> Self {
        Self::new(clock::monotonic(), clock::now())
    }
}

impl Live {
    fn new(now: Instant, wall: Timestamp) -> Self {
        let first = u64::try_from(wall.as_millis() / 1_000).unwrap_or_default();
        let state = State {
            series: Series::new(first, Sample::default()),
            watch: Watch::default(),
            summary: Watch::default().observe(&Facts::default(), wall),
            made: None,
            sections: BTreeMap::new(),
        };
        Self { began: now, wall, first, state: Mutex::new(state) }
    }

    /// The time of day of a moment. It does not depend on when it is asked for, as what is counted from
    /// now does: the same state must not look like another one a second later.
    pub fn time_of(&self, moment: Instant) -> Timestamp {
        let before = self.began.saturating_duration_since(moment);
        self.wall.minus(before).plus(moment.saturating_duration_since(self.began))
    }

    /// Takes in the counters, and what is wrong.
    pub fn sample(&self, sample: &Sample, facts: Facts, now: Instant, wall: Timestamp) {
        let second = self.first.saturating_add(now.saturating_duration_since(self.began).as_secs());
        let state = &mut *self.lock();
        state.series.take(second, sample);
        let facts = Facts { lately: state.series.lately(LATELY), ..facts };
        state.summary = state.watch.observe(&facts, wall);
    }

    /// What is new after the second `since`; all of it to who saw nothing of this process. `sections`
    /// are made at most once a second.
    pub fn since(&self, since: u64, sections: impl FnOnce() -> Vec<(&'static str, Value)>) -> News {
        let state = &mut *self.lock();
        let seq = state.series.second();
        if state.made != Some(seq) {
            state.made = Some(seq);
            for (name, value) in sections() {
                if state.sections.get(name).is_none_or(|(_, known)| *known != value) {
                    state.sections.insert(name, (seq, value));
                }
            }
        }
        // The second of the start may have been the last of the process before; a later one than now was of
        // another clock.
        let seen = since > self.first && since <= seq;
        let since = if seen { since } else { 0 };
        let changed = state.sections.iter().filter(|(_, (at, _))| since == 0 || *at > since);
        News {
            seq,
            summary: state.summary.clone(),
            curves: state.series.since(since),
            sections: changed.map(|(name, (_, value))| (*name, value.clone())).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic left half done is right again with the next sample.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    struct Rig {
        live: Live,
        start: Instant,
        wall: Timestamp,
    }

    impl Rig {
        fn new() -> Self {
            let (start, wall) = (clock::monotonic(), Timestamp::from_millis(1_796_000_000_000));
            Self { live: Live::new(start, wall), start, wall }
        }

        fn tick(&self, second: u64) {
            let passed = Duration::from_secs(second);
            let sample = Sample { requests: second * 7, ..Sample::default() };
            let (now, wall) = (self.start + passed, self.wall.plus(passed));
            self.live.sample(&sample, Facts::default(), now, wall);
        }

        fn ask(&self, since: u64, value: u64) -> (u64, Vec<&'static str>, usize) {
            let made = || vec![("changing", json!(value)), ("fixed", json!(1))];
            let news = self.live.since(since, made);
            let points = news.curves.first().map_or(0, |curves| curves.columns[0].1.len());
            (news.seq, news.sections.into_iter().map(|(name, _)| name).collect(), points)
        }
    }

    const START: u64 = 1_796_000_000;

    #[test]
    fn only_what_changed_is_sent_again() {
        let rig = Rig::new();
        rig.tick(1);
        assert_eq!(rig.ask(0, 1), (START + 1, vec!["changing", "fixed"], 1));
        assert_eq!(rig.ask(START + 1, 1), (START + 1, vec![], 0));
        rig.tick(2);
        rig.tick(3);
        assert_eq!(rig.ask(START + 1, 2), (START + 3, vec!["changing"], 2));
        assert_eq!(rig.ask(START + 3, 2), (START + 3, vec![], 0));
    }

    #[test]
    fn what_changes_within_a_second_is_told_in_the_next() {
        let rig = Rig::new();
        rig.tick(1);
        let (seq, ..) = rig.ask(0, 1);
        // Another client, in the same second.
        assert_eq!(rig.ask(seq, 2).1, Vec::<&str>::new());
        rig.tick(2);
        assert_eq!(rig.ask(seq, 2).1, ["changing"]);
    }

    #[test]
    fn who_saw_another_process_or_the_future_gets_everything() {
        let rig = Rig::new();
        rig.tick(1);
        rig.ask(0, 1);
        for since in [1, START - 100, START + 5, u64::MAX] {
            assert_eq!(rig.ask(since, 1).1.len(), 2, "{since}");
        }
        assert_eq!(rig.ask(START - 100, 1).2, 1);
    }
}
