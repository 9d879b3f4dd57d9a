//! The rules about all subjects of one kind, up to a number.
//!
//! Owns: looking them up, and folding the oldest when there are too many: they are handed back as one
//! pair of cutoffs for everything, so nothing is forgotten.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::cutoffs::Cutoffs;
use super::rule::Mode;
use crate::cache::entry::Verdict;
use crate::clock::Timestamp;

/// The share of the rules that is folded at once, so that it is seldom done.
const FOLDED_SHARE: usize = 16;

/// Rules by what they are looked up with.
#[derive(Debug)]
pub(super) struct Subjects<K, M> {
    held: HashMap<K, Held<M>>,
    most: usize,
    /// No rule is newer; most entries are, and need no look-up.
    newest: Option<Timestamp>,
}

/// The rules of one subject.
#[derive(Debug)]
struct Held<M> {
    text: Arc<str>,
    matcher: M,
    cutoffs: Cutoffs,
}

impl<K: Eq + Hash, M> Subjects<K, M> {
    pub(super) fn new(most: usize) -> Self {
        Self { held: HashMap::new(), most, newest: None }
    }

    /// Adds a rule; false when it says nothing new.
    pub(super) fn add(
        &mut self,
        key: K,
        text: &Arc<str>,
        matcher: M,
        (mode, at): (Mode, Timestamp),
    ) -> bool {
        let held = self.held.entry(key).or_insert_with(|| Held {
            text: Arc::clone(text),
            matcher,
            cutoffs: Cutoffs::default(),
        });
        if held.cutoffs.cover(mode, at) {
            return false;
        }
        held.cutoffs.raise(mode, at);
        self.newest = self.newest.max(Some(at));
        true
    }

    /// Folds the oldest rules when there are too many: cutoffs that cover all of them, and of how many
    /// subjects they were.
    pub(super) fn overflow(&mut self) -> Option<(Cutoffs, usize)> {
        if self.held.len() <= self.most {
            return None;
        }
        let mut times: Vec<_> = self.held.values().map(|held| held.cutoffs.newest()).collect();
        let last = self.most / FOLDED_SHARE;
        let (_, until, _) = times.select_nth_unstable(last.min(self.most));
        let until = *until;
        let (mut folded, before) = (Cutoffs::default(), times.len());
        self.held.retain(|_, held| {
            let keep = held.cutoffs.newest() > until;
            if !keep {
                folded.merge(held.cutoffs);
            }
            keep
        });
        Some((folded, before.saturating_sub(self.held.len())))
    }

    /// Keeps the rules of which something is left.
    pub(super) fn prune(&mut self, left: impl Fn(&mut Cutoffs) -> bool) {
        self.held.retain(|_, held| left(&mut held.cutoffs));
        self.newest = self.held.values().filter_map(|held| held.cutoffs.newest()).max();
    }

    /// Whether any rule could hit what was stored then.
    pub(super) fn may_hit(&self, stored_at: Timestamp) -> bool {
        self.newest >= Some(stored_at)
    }

    /// What the rules of one subject say.
    pub(super) fn judge<Q: Eq + Hash + ?Sized>(&self, key: &Q, stored_at: Timestamp) -> Verdict
    where
        K: Borrow<Q>,
    {
        self.held.get(key).map_or(Verdict::Valid, |held| held.cutoffs.judge(stored_at))
    }

    /// What the rules of all subjects say that match; those that are older are not held against it.
    pub(super) fn judge_matching(
        &self,
        stored_at: Timestamp,
        matches: impl Fn(&M) -> bool,
    ) -> Verdict {
        let mut verdict = Verdict::Valid;
        for held in self.held.values() {
            let this = held.cutoffs.judge(stored_at);
            if this > verdict && matches(&held.matcher) {
                verdict = this;
            }
        }
        verdict
    }

    /// Subjects.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Every rule: the text of its subject, and what it says.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, Mode, Timestamp)> {
        self.held
            .values()
            .flat_map(|held| held.cutoffs.each().map(|(mode, at)| (&*held.text, mode, at)))
    }
}
