//! What has been invalidated, and when: times that are held against entries when they are read.
//!
//! Owns: the rules in force, for all workers of the process. An invalidation walks through nothing:
//! it notes a time, and an entry stored at that time or before is not valid any more, in whatever
//! tier it is found. An entry remembers the verdict together with the [`Invalidations::version`] it
//! was reached at, so a hit costs one atomic load. Beyond its bounds the oldest rules become times for
//! everything, which invalidates more than was asked for and never less. Rules of other instances come
//! from the log of changes ([`log`]); until that was read, what was stored before the start is used
//! only when nothing newer can be had.

mod cutoffs;
pub mod log;
mod rule;
mod subjects;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub use rule::{LONGEST, Mode, NotASubject, Rule, SKEW, Subject};

use self::cutoffs::Cutoffs;
use self::subjects::Subjects;
use super::entry::Verdict;
use super::glob::Glob;
use super::tag::Tag;
use crate::clock::Timestamp;

/// How many subjects of each kind are kept apart.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub keys: usize,
    pub tags: usize,
    /// Patterns; each is held against every entry older than it.
    pub patterns: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { keys: 50_000, tags: 50_000, patterns: 256 }
    }
}

/// How much is kept, for status pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvalidationCounts {
    /// New rules since the process began, those read from elsewhere included.
    pub version: u64,
    /// Keys with rules of their own.
    pub keys: usize,
    /// Tags with rules.
    pub tags: usize,
    /// Patterns with rules.
    pub patterns: usize,
    /// Everything stored until then is invalid, softly at least (milliseconds since 1970).
    #[schema(value_type = Option<i64>)]
    pub everything_until: Option<Timestamp>,
    /// Subjects whose rules became rules for everything because there were too many.
    pub folded: u64,
}

/// The rules in force. Cheap to clone; all clones are the same table.
#[derive(Debug, Clone)]
pub struct Invalidations {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: RwLock<Table>,
    version: AtomicU64,
    /// The latest time that any rule ever had (milliseconds).
    newest: AtomicI64,
    /// Which rules there are about what was stored until then is not known yet (milliseconds).
    unknown_until: AtomicI64,
}

#[derive(Debug)]
struct Table {
    everything: Cutoffs,
    keys: Subjects<Arc<str>, ()>,
    tags: Subjects<Tag, ()>,
    patterns: Subjects<Arc<str>, Glob>,
    folded: u64,
}

impl Default for Invalidations {
    fn default() -> Self {
        Self::new(Bounds::default())
    }
}

impl Invalidations {
    /// No rules, and room for so many.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let table = Table {
            everything: Cutoffs::default(),
            keys: Subjects::new(bounds.keys),
            tags: Subjects::new(bounds.tags),
            patterns: Subjects::new(bounds.patterns),
            folded: 0,
        };
        let shared = Shared {
            table: RwLock::new(table),
            version: AtomicU64::new(0),
            newest: AtomicI64::new(i64::MIN),
            unknown_until: AtomicI64::new(i64::MIN),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Puts a rule in force; false when it says nothing new. It is in force when this returns.
    pub fn apply(&self, rule: &Rule) -> bool {
        let what = Prepared::of(&rule.subject);
        let mut table = self.write();
        let new = table.apply(what, rule.mode, rule.at);
        if new {
            self.shared.newest.fetch_max(rule.at.as_millis(), Ordering::Release);
            // Whoever sees this version finds the rule in the table.
            self.shared.version.fetch_add(1, Ordering::Release);
        }
        new
    }

    /// The rules about what was stored until `now` are in a log that is still to be read.
    pub(super) fn await_log(&self, now: Timestamp) {
        self.shared.unknown_until.store(now.as_millis(), Ordering::Release);
        self.shared.version.fetch_add(1, Ordering::Release);
    }

    /// The log was read: there are no rules but those that were applied.
    pub(super) fn all_known(&self) {
        if self.shared.unknown_until.swap(i64::MIN, Ordering::AcqRel) != i64::MIN {
            self.shared.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether the log was read.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.shared.unknown_until.load(Ordering::Acquire) == i64::MIN
    }

    /// Grows with every new rule. A verdict is good as long as this is the same.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.shared.version.load(Ordering::Acquire)
    }

    /// The time under which what is asked for `now` is stored so that no rule hits it that is in force
    /// already: `now`, unless a rule came from a clock that is ahead, or this one was set back.
    #[must_use]
    pub fn after_all(&self, now: Timestamp) -> Timestamp {
        let newest = Timestamp::from_millis(self.shared.newest.load(Ordering::Acquire));
        now.max(newest.plus(Duration::from_millis(1)))
    }

    /// What the rules say about what was stored then under `key`, with these tags. Ask for the
    /// version first: a verdict may know more than the version it is remembered with, never less.
    #[must_use]
    pub fn verdict(&self, key: &str, tags: &[Tag], stored_at: Timestamp) -> Verdict {
        let known = self.read().verdict(key, tags, stored_at);
        let until = self.shared.unknown_until.load(Ordering::Acquire);
        if until != i64::MIN && stored_at.as_millis() <= until {
            known.max(Verdict::Soft)
        } else {
            known
        }
    }

    /// Drops rules older than `time`, once nothing stored before it can be kept any more.
    pub fn forget_before(&self, time: Timestamp) {
        self.write().prune(|cutoffs| cutoffs.forget_before(time));
    }

    /// Every rule that still counts, oldest first. Applied elsewhere they say what this table says.
    #[must_use]
    pub fn rules(&self) -> Vec<Rule> {
        let mut rules = self.read().rules();
        rules.sort_unstable_by(|a, b| (a.at, a).cmp(&(b.at, b)));
        rules
    }

    /// How much is kept.
    #[must_use]
    pub fn counts(&self) -> InvalidationCounts {
        let version = self.version();
        let table = self.read();
        InvalidationCounts {
            version,
            keys: table.keys.len(),
            tags: table.tags.len(),
            patterns: table.patterns.len(),
            everything_until: table.everything.newest(),
            folded: table.folded,
        }
    }

    // Nothing panics while it holds the lock; were it to, the times noted so far would be right.
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.shared.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.shared.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subject ready to be noted: what takes time is done before the table is locked.
enum Prepared {
    Key(Arc<str>),
    Tag(Tag, Arc<str>),
    Pattern(Arc<str>, Glob),
    Everything,
}

impl Prepared {
    fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Key(key) => Self::Key(key.as_str().into()),
            Subject::Tag(tag) => Self::Tag(Tag::of(tag), tag.as_str().into()),
            Subject::Pattern(pattern) => Self::Pattern(pattern.as_str().into(), Glob::new(pattern)),
            Subject::Everything => Self::Everything,
        }
    }
}

impl Table {
    fn apply(&mut self, what: Prepared, mode: Mode, at: Timestamp) -> bool {
        if self.everything.cover(mode, at) {
            return false;
        }
        let rule = (mode, at);
        let (new, overflow) = match what {
            Prepared::Key(key) => {
                let text = Arc::clone(&key);
                (self.keys.add(key, &text, (), rule), self.keys.overflow())
            }
            Prepared::Tag(tag, text) => (self.tags.add(tag, &text, (), rule), self.tags.overflow()),
            Prepared::Pattern(pattern, glob) => {
                let text = Arc::clone(&pattern);
                (self.patterns.add(pattern, &text, glob, rule), self.patterns.overflow())
            }
            Prepared::Everything => {
                let mut all = Cutoffs::default();
                all.raise(mode, at);
                (true, Some((all, 0)))
            }
        };
        if let Some((cutoffs, subjects)) = overflow {
            self.folded = self.folded.saturating_add(u64::try_from(subjects).unwrap_or(u64::MAX));
            self.everything.merge(cutoffs);
            let everything = self.everything;
            self.prune_subjects(|cutoffs| cutoffs.drop_said_by(everything));
        }
        new
    }

    fn verdict(&self, key: &str, tags: &[Tag], stored_at: Timestamp) -> Verdict {
        let mut verdict = self.everything.judge(stored_at);
        if verdict < Verdict::Hard && self.keys.may_hit(stored_at) {
            verdict = verdict.max(self.keys.judge(key, stored_at));
        }
        if verdict < Verdict::Hard && self.tags.may_hit(stored_at) {
            let tagged = tags.iter().map(|tag| self.tags.judge(tag, stored_at)).max();
            verdict = verdict.max(tagged.unwrap_or(Verdict::Valid));
        }
        if verdict < Verdict::Hard && self.patterns.may_hit(stored_at) {
            let matching = |glob: &Glob| glob.matches(key);
            verdict = verdict.max(self.patterns.judge_matching(stored_at, matching));
        }
        verdict
    }

    fn prune(&mut self, left: impl Fn(&mut Cutoffs) -> bool) {
        left(&mut self.everything);
        self.prune_subjects(left);
    }

    fn prune_subjects(&mut self, left: impl Fn(&mut Cutoffs) -> bool) {
        self.keys.prune(&left);
        self.tags.prune(&left);
        self.patterns.prune(&left);
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = |subject, mode, at| Rule { subject, mode, at };
        let everything = self.everything.each();
        let keys = self.keys.each();
        let tags = self.tags.each();
        let patterns = self.patterns.each();
        everything
            .map(|(mode, at)| rule(Subject::Everything, mode, at))
            .chain(keys.map(|(key, mode, at)| rule(Subject::Key(key.to_owned()), mode, at)))
            .chain(tags.map(|(tag, mode, at)| rule(Subject::Tag(tag.to_owned()), mode, at)))
            .chain(
                patterns.map(|(text, mode, at)| rule(Subject::Pattern(text.to_owned()), mode, at)),
            )
            .collect()
    }
}
