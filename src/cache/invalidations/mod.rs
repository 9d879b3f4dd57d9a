//! What has been invalidated, and when: times that are held against entries when they are read.
//!
//! Owns: the rules in force, for all workers of the process. An invalidation walks through nothing:
//! it notes a time, and an entry stored at that time or before is not valid any more, in whatever
//! tier it is found. An entry remembers the verdict together with the [`Invalidations::version`] it
//! was reached at, so a hit costs one atomic load. Beyond its bounds the oldest rules become times for
//! everything, which invalidates more than was asked for and never less. Rules of other instances come
//! from the log of changes ([`log`]); until that was read, what was stored before the start is used
//! only when nothing newer can be had.

pub mod log;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use log::Cleared;
pub use rule::{LONGEST, Mode, NotASubject, Rule, SKEW, Subject};

use self::rule::Cutoffs;
use super::entry::Validity;
use super::key::{Tag, matches};
use crate::clock::Timestamp;

/// The share of the rules that is folded at once, so that it is seldom done.
const FOLDED_SHARE: usize = 16;

/// How many subjects are kept apart.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub named: usize,
    /// Each is held against every entry older than it.
    pub patterns: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { named: 100_000, patterns: 256 }
    }
}

#[derive(Debug, Clone)]
pub struct Invalidations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: RwLock<Table>,
    version: AtomicU64,
}

/// Subjects by their number, each with the times of its rules.
type Subjects = HashMap<Tag, (Subject, Cutoffs)>;

#[derive(Debug, Default)]
struct Table {
    bounds: Bounds,
    everything: Cutoffs,
    named: Subjects,
    patterns: Subjects,
    /// The latest time that any rule ever had. Most entries are newer and need no look-up.
    newest: Option<Timestamp>,
    /// Which rules there are about what was stored until then is not known yet.
    unknown_until: Option<Timestamp>,
}

impl Default for Invalidations {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl Invalidations {
    pub fn new(bounds: Bounds) -> Self {
        let table = RwLock::new(Table { bounds, ..Table::default() });
        Self(Arc::new(Shared { table, version: AtomicU64::new(0) }))
    }

    /// Puts a rule in force; false when it says nothing new. It is in force when this returns.
    pub fn apply(&self, rule: &Rule) -> bool {
        self.change(|table| table.apply(rule))
    }

    /// The rules about what was stored until `now` are in a log that is still to be read.
    pub fn await_log(&self, now: Timestamp) {
        self.change(|table| table.unknown_until.replace(now).is_none());
    }

    /// The log was read: there are no rules but those that were applied.
    pub(super) fn all_known(&self) {
        self.change(|table| table.unknown_until.take().is_some());
    }

    pub fn is_known(&self) -> bool {
        self.read().unknown_until.is_none()
    }

    /// Grows with every new rule. A verdict is good as long as this is the same.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// The time under which what is asked for `now` is stored so that no rule hits it that is in force
    /// already: `now`, unless a rule came from a clock that is ahead, or this one was set back.
    pub fn after_all(&self, now: Timestamp) -> Timestamp {
        self.read().newest.map_or(now, |newest| now.max(newest.plus(Duration::from_millis(1))))
    }

    /// What the rules say about what was stored then under `key`, with these tags. Ask for the
    /// version first: a verdict may know more than the version it is remembered with, never less.
    pub fn verdict(&self, key: &str, tags: &[Tag], stored_at: Timestamp) -> Validity {
        self.read().verdict(key, tags, stored_at)
    }

    /// Drops rules older than `time`, once nothing stored before it can be kept any more.
    pub fn forget_before(&self, time: Timestamp) {
        let mut table = self.write();
        table.everything.retain(|_, at| at >= time);
        table.retain(|_, at| at >= time);
    }

    /// Every rule that still counts, oldest first. Applied elsewhere they say what this table says.
    pub fn rules(&self) -> Vec<Rule> {
        let table = self.read();
        let everything = (Subject::Everything, table.everything);
        let subjects = table.named.values().chain(table.patterns.values()).chain([&everything]);
        let mut rules: Vec<Rule> = subjects
            .flat_map(|(subject, cutoffs)| {
                cutoffs.each().map(|(mode, at)| Rule { subject: subject.clone(), mode, at })
            })
            .collect();
        rules.sort_unstable_by(|a, b| (a.at, a).cmp(&(b.at, b)));
        rules
    }

    /// Whoever sees the version after a change finds the change in the table.
    fn change(&self, change: impl FnOnce(&mut Table) -> bool) -> bool {
        let mut table = self.write();
        let changed = change(&mut table);
        self.0.version.fetch_add(u64::from(changed), Ordering::Release);
        changed
    }

    // Nothing panics while it holds the lock; were it to, the times noted so far would be right.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn apply(&mut self, rule: &Rule) -> bool {
        let Rule { ref subject, mode, at } = *rule;
        if self.everything.covers(mode, at) {
            return false;
        }
        let (subjects, most) = match subject {
            Subject::Key(_) | Subject::Tag(_) => (&mut self.named, self.bounds.named),
            Subject::Pattern(_) => (&mut self.patterns, self.bounds.patterns),
            Subject::Everything => {
                self.newest = self.newest.max(Some(at));
                self.everything.add(mode, at);
                self.drop_needless();
                return true;
            }
        };
        let noted = subjects.entry(subject.number());
        let (_, cutoffs) = noted.or_insert_with(|| (subject.clone(), Cutoffs::default()));
        if !cutoffs.add(mode, at) {
            return false;
        }
        self.newest = self.newest.max(Some(at));
        if subjects.len() > most {
            for (mode, at) in take_oldest(subjects) {
                self.everything.add(mode, at);
            }
            self.drop_needless();
        }
        true
    }

    fn verdict(&self, key: &str, tags: &[Tag], stored_at: Timestamp) -> Validity {
        let mut verdict = self.everything.judge(stored_at);
        if self.unknown_until >= Some(stored_at) {
            verdict = verdict.max(Validity::Soft);
        }
        if verdict == Validity::Hard || self.newest < Some(stored_at) {
            return verdict;
        }
        let numbers = tags.iter().copied().chain([Subject::Key(key.to_owned()).number()]);
        for (_, cutoffs) in numbers.filter_map(|number| self.named.get(&number)) {
            verdict = verdict.max(cutoffs.judge(stored_at));
        }
        for (subject, cutoffs) in self.patterns.values() {
            let judged = cutoffs.judge(stored_at);
            if judged > verdict
                && let Subject::Pattern(pattern) = subject
                && matches(pattern, key)
            {
                verdict = judged;
            }
        }
        verdict
    }

    /// Drops rules that those for everything say already.
    fn drop_needless(&mut self) {
        let everything = self.everything;
        self.retain(|mode, at| !everything.covers(mode, at));
    }

    fn retain(&mut self, keep: impl Fn(Mode, Timestamp) -> bool) {
        self.named.retain(|_, (_, cutoffs)| cutoffs.retain(&keep));
        self.patterns.retain(|_, (_, cutoffs)| cutoffs.retain(&keep));
    }
}

/// Takes the subjects out whose rules are the oldest, and says what their rules were.
fn take_oldest(subjects: &mut Subjects) -> Vec<(Mode, Timestamp)> {
    let mut times: Vec<_> = subjects.values().map(|(_, cutoffs)| cutoffs.newest()).collect();
    let place = times.len().saturating_sub(1) / FOLDED_SHARE;
    let (_, until, _) = times.select_nth_unstable(place);
    let oldest = subjects.extract_if(|_, (_, cutoffs)| cutoffs.newest() <= *until);
    oldest.flat_map(|(_, (_, cutoffs))| cutoffs.each()).collect()
}
