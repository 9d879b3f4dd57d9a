//! Everything that is known of keys and lists, by the process, and what others are still to be told.
//!
//! Owns: the records, the stamps that are given out, the merge of what is heard, and for each store
//! the subjects it is owed. A change is in force before anybody is told of it: a store that is away
//! delays who hears of it, and nothing else. Refuses: live records beyond the bounds, with what the
//! bound is; and what is heard beyond twice the bounds. What is there already is never pushed out.
//! Plain state: whoever calls holds the lock, reads the clock and publishes the snapshot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};

use super::debts::{Debts, Place};
use super::identifier::Identifier;
use super::record::{Body, Entry, ListName, Record, StoredKey, Subject};
use super::snapshot::{Sizes, Snapshot};
use super::stamp::{Stamp, StampClock};
use crate::clock::Timestamp;
use crate::limits::KeyId;

/// Least time between two attempts to believe what was not believed.
const BELIEVE_EVERY: Duration = Duration::from_secs(60);

/// How much there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Stored keys.
    pub keys: usize,
    /// Entries of each list.
    pub entries: usize,
    /// Subjects that are remembered to be gone; the oldest are forgotten first.
    pub gone: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { keys: 10_000, entries: 100_000, gone: 100_000 }
    }
}

/// There is no room; holds how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full(pub usize);

/// What came of hearing records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Changed what is in force.
    pub new: usize,
    /// Were refused: of an impossible time, or beyond all bounds.
    pub refused: usize,
}

#[derive(Debug)]
pub(super) struct Book {
    /// In the order of their subjects: a page of a list is found without a look at the rest.
    records: BTreeMap<Subject, Record>,
    /// When records end or have ended.
    ends: BTreeSet<(Timestamp, Subject)>,
    /// What ends until then is out of force.
    ended: Timestamp,
    clock: StampClock,
    bounds: Bounds,
    debts: Debts,
    /// What Redis may still hold and nobody needs.
    forgotten: VecDeque<Record>,
    /// From when on more of what the stores hold may be believed.
    doubts: [Option<Timestamp>; 2],
}

impl Book {
    /// Empty; `by` is the instance's number in its stamps.
    pub(super) fn new(by: u32, bounds: Bounds, with_redis: bool) -> Self {
        Self {
            records: BTreeMap::new(),
            ends: BTreeSet::new(),
            ended: Timestamp::from_millis(i64::MIN),
            clock: StampClock::new(by),
            bounds,
            debts: Debts::new(with_redis),
            forgotten: VecDeque::new(),
            doubts: [None; 2],
        }
    }

    /// Changes a subject from here; the record.
    pub(super) fn change(
        &mut self,
        subject: Subject,
        body: Option<Body>,
        now: Timestamp,
        snapshot: &mut Snapshot,
    ) -> Result<Record, Full> {
        let is_new = !self.records.get(&subject).is_some_and(|record| record.is_alive(now));
        if body.is_some() && is_new && self.room(subject, snapshot.sizes(), 1) == 0 {
            return Err(Full(self.bound(subject)));
        }
        let known = self.records.get(&subject).map(|record| record.stamp);
        let record = Record { subject, stamp: self.clock.next(now, known), body };
        self.keep(record.clone(), now, snapshot);
        for place in Place::ALL {
            self.debts.owe(place, subject);
        }
        Ok(record)
    }

    /// Merges what a store holds. What it holds less than is owed to it, and to the other store what
    /// is new here.
    pub(super) fn hear(
        &mut self,
        records: Vec<Record>,
        from: Place,
        now: Timestamp,
        snapshot: &mut Snapshot,
    ) -> Heard {
        let mut heard = Heard::default();
        for record in records {
            let subject = record.subject;
            if record.is_forgettable(now) {
                if from == Place::Redis {
                    self.let_be_forgotten(record);
                }
                continue;
            }
            if !record.stamp.is_credible(now) {
                heard.refused += 1;
                self.doubt(from, record.stamp, now);
                continue;
            }
            self.clock.saw(record.stamp);
            match self.records.get(&subject) {
                Some(known) if known.supersedes(&record) => self.debts.owe(from, subject),
                Some(known) if !record.supersedes(known) => self.debts.settle(from, &subject),
                Some(_) | None => {
                    if record.is_alive(now) && self.room(subject, snapshot.sizes(), 2) == 0 {
                        heard.refused += 1;
                        continue;
                    }
                    self.keep(record, now, snapshot);
                    heard.new += 1;
                    for place in Place::ALL {
                        if place == from {
                            self.debts.settle(place, &subject);
                        } else {
                            self.debts.owe(place, subject);
                        }
                    }
                }
            }
        }
        heard
    }

    /// Whether something that was not believed may be now: the store is to be read anew. Told once.
    pub(super) fn may_believe_more(&mut self, place: Place, now: Timestamp) -> bool {
        self.doubt_of(place).take_if(|from| *from <= now).is_some()
    }

    /// Either the stamp is wrong, or our clock is and may be put right.
    fn doubt(&mut self, place: Place, stamp: Stamp, now: Timestamp) {
        let from = stamp.credible_from().max(now.plus(BELIEVE_EVERY));
        let doubt = self.doubt_of(place);
        *doubt = Some(doubt.map_or(from, |before| before.min(from)));
    }

    const fn doubt_of(&mut self, place: Place) -> &mut Option<Timestamp> {
        let [database, redis] = &mut self.doubts;
        match place {
            Place::Database => database,
            Place::Redis => redis,
        }
    }

    /// What a store is to be told next; it stays owed until [`Book::told`].
    pub(super) fn owed(&self, place: Place, most: usize) -> Vec<Record> {
        let subjects = self.debts.to(place).take(most);
        subjects.filter_map(|subject| self.records.get(subject).cloned()).collect()
    }

    /// A store was told these. What has changed since is still owed.
    pub(super) fn told(&mut self, place: Place, records: &[Record]) {
        for told in records {
            let subject = &told.subject;
            let changed = self.records.get(subject).is_some_and(|known| known.stamp != told.stamp);
            if !changed {
                self.debts.settle(place, subject);
            }
        }
    }

    /// A store lost what it held.
    pub(super) fn owe_all(&mut self, place: Place) {
        let all: Vec<Subject> = self.records.keys().copied().collect();
        for subject in all {
            self.debts.owe(place, subject);
        }
    }

    /// Whether a store is owed a subject.
    pub(super) fn owes(&self, place: Place, subject: &Subject) -> bool {
        self.debts.owes(place, subject)
    }

    /// Subjects owed to a store.
    pub(super) fn debt(&self, place: Place) -> usize {
        self.debts.number(place)
    }

    /// Whether something in force has ended, or something that had ended has not: the clock was put
    /// back.
    pub(super) fn ends_by(&self, now: Timestamp) -> bool {
        self.ending(now).next().is_some()
    }

    /// Takes out of force what has ended, and into it what has not.
    pub(super) fn end(&mut self, now: Timestamp, snapshot: &mut Snapshot) {
        for (_, subject) in self.ending(now) {
            if let Some(record) = self.records.get(subject) {
                snapshot.apply(record, now);
            }
        }
        self.ended = now;
    }

    /// What ends between the last look and this one, whichever is earlier.
    fn ending(&self, now: Timestamp) -> impl Iterator<Item = &(Timestamp, Subject)> {
        let (from, to) = (self.ended.min(now), self.ended.max(now));
        // What ends at a time is not in force then.
        let after = (from.plus(Duration::from_millis(1)), Subject::Key(KeyId::INTERNAL));
        self.ends.range(after..).take_while(move |(until, _)| *until <= to)
    }

    /// Forgets what nobody needs to know any more, and of what is gone the oldest beyond the bound;
    /// how much that was.
    pub(super) fn forget(&mut self, now: Timestamp) -> usize {
        let mut gone: Vec<_> =
            self.records.values().filter(|record| !record.is_alive(now)).collect();
        gone.sort_unstable_by_key(|record| record.stamp);
        let beyond = gone.len().saturating_sub(self.bounds.gone);
        let forgotten: Vec<Record> = gone
            .iter()
            .enumerate()
            .filter(|(place, record)| *place < beyond || record.is_forgettable(now))
            .map(|(_, record)| (*record).clone())
            .collect();
        let many = forgotten.len();
        for record in forgotten {
            self.records.remove(&record.subject);
            if let Some(until) = record.end() {
                self.ends.remove(&(until, record.subject));
            }
            Place::ALL.into_iter().for_each(|place| self.debts.settle(place, &record.subject));
            self.let_be_forgotten(record);
        }
        many
    }

    /// What is to be taken out of Redis.
    pub(super) fn take_forgotten(&mut self, most: usize) -> Vec<Record> {
        let many = self.forgotten.len().min(most);
        self.forgotten.drain(..many).collect()
    }

    fn let_be_forgotten(&mut self, record: Record) {
        if self.debts.has_redis() && self.forgotten.len() < self.bounds.gone {
            self.forgotten.push_back(record);
        }
    }

    /// What is known of a subject.
    pub(super) fn get(&self, subject: &Subject) -> Option<&Record> {
        self.records.get(subject)
    }

    /// Every record, keys first.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The stored keys in the order of their ids, those after one; also those that have expired.
    pub(super) fn keys(&self, after: Option<KeyId>) -> impl Iterator<Item = (KeyId, &StoredKey)> {
        let from = after.map_or(Bound::Unbounded, |id| Bound::Excluded(Subject::Key(id)));
        self.records
            .range((from, Bound::Unbounded))
            // Keys come first.
            .map_while(|(subject, record)| match *subject {
                Subject::Key(id) => Some((id, record)),
                Subject::Entry(..) => None,
            })
            .filter_map(|(id, record)| match &record.body {
                Some(Body::Key(key)) => Some((id, &**key)),
                Some(Body::Entry(_)) | None => None,
            })
    }

    /// The live entries of a list in their order, those after one.
    pub(super) fn entries(
        &self,
        list: ListName,
        after: Option<Identifier>,
        now: Timestamp,
    ) -> impl Iterator<Item = (Identifier, &Entry)> {
        // The least of all.
        let first = Identifier::Network(IpNet::V4(Ipv4Net::default()));
        let from = Subject::Entry(list, after.unwrap_or(first));
        self.records
            .range(from..)
            .map_while(move |(subject, record)| match *subject {
                Subject::Entry(on, identifier) if on == list => Some((identifier, record)),
                Subject::Entry(..) | Subject::Key(_) => None,
            })
            .filter(move |(identifier, record)| Some(*identifier) > after && record.is_alive(now))
            .filter_map(|(identifier, record)| match &record.body {
                Some(Body::Entry(entry)) => Some((identifier, entry)),
                Some(Body::Key(_)) | None => None,
            })
    }

    fn keep(&mut self, record: Record, now: Timestamp, snapshot: &mut Snapshot) {
        if now < self.ended {
            self.end(now, snapshot);
        }
        snapshot.apply(&record, now);
        let subject = record.subject;
        let end = record.end();
        let before = self.records.insert(subject, record);
        if let Some(until) = before.as_ref().and_then(Record::end) {
            self.ends.remove(&(until, subject));
        }
        if let Some(until) = end {
            self.ends.insert((until, subject));
        }
    }

    /// Room left for subjects of this kind, were the bounds so many times what they are.
    fn room(&self, subject: Subject, sizes: Sizes, times: usize) -> usize {
        let taken = match subject {
            Subject::Key(_) => sizes.keys,
            Subject::Entry(ListName::Allow, _) => sizes.allow,
            Subject::Entry(ListName::Deny, _) => sizes.deny,
        };
        self.bound(subject).saturating_mul(times).saturating_sub(taken)
    }

    const fn bound(&self, subject: Subject) -> usize {
        match subject {
            Subject::Key(_) => self.bounds.keys,
            Subject::Entry(..) => self.bounds.entries,
        }
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
