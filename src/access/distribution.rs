//! Staying of one mind with other instances, through a store that all of them share.
//!
//! Owns: the place up to which that store was read, and the order of a turn: first everything others
//! wrote is heard, then it is told what it is owed, and others are heard again every few batches. It
//! gives every record it takes a version; reading on from the last version is cheap, however much
//! there is. Each batch of changes leaves a mark in it that nobody can draw twice: a store that does
//! not know the mark it showed last is not the one it was, whatever its version (it was flushed,
//! replaced, came back with older contents, or a replica that was behind took over). It is read from
//! its beginning then, and told everything that is known here. Telling twice does no harm: the store
//! keeps the later of two records. Refuses: nothing; a store that fails is asked again the next time,
//! from the same place.

use std::fmt;
use std::future::Future;

use super::debts::Place;
use super::record::Record;
use super::table::Access;
use crate::clock;

/// Records read at once.
const PAGE: usize = 500;
/// Records told at once, so that it ends in time on a slow wire.
const BATCH: usize = 100;
/// After so many batches others are heard again: who has much to tell is not to be deaf meanwhile.
const BATCHES: usize = 8;

/// A page of what a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The mark of the store's last change; empty if it was never begun or has lost something.
    pub mark: String,
    /// Whether the store knows the mark it was shown: it went on from there, and so does the page.
    /// Otherwise the page is from the beginning.
    pub goes_on: bool,
    /// The version up to which this reads.
    pub version: u64,
    /// Subjects and values, by version.
    pub records: Vec<(String, String)>,
    /// Whether there is more.
    pub more: bool,
}

/// A store that instances share.
pub trait SharedRecords {
    /// Why it failed.
    type Error: fmt::Display;

    /// At most `most` records written after a version of the store that showed this mark; from the
    /// beginning if it does not know the mark. Every store knows the empty one.
    fn read(
        &self,
        mark: &str,
        version: u64,
        most: usize,
    ) -> impl Future<Output = Result<Page, Self::Error>>;

    /// Puts records in, each unless a later one is there, and leaves a mark made of `chance` if
    /// anything changed. The mark of the store's last change, if it knew the one it was shown.
    fn merge(
        &self,
        mark: &str,
        chance: u128,
        records: &[(String, String)],
    ) -> impl Future<Output = Result<Option<String>, Self::Error>>;

    /// Takes out records, each unless it has changed.
    fn forget(&self, records: &[(String, String)])
    -> impl Future<Output = Result<(), Self::Error>>;
}

/// What a turn came upon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Records that changed what is in force.
    pub new: usize,
    /// What could not be read or was refused.
    pub dropped: usize,
    /// Records the store was told.
    pub told: usize,
    /// The store was another one than before, or a new one.
    pub begun_anew: bool,
}

/// A reader and writer of the shared store.
#[derive(Debug, Clone, Default)]
pub struct Exchange {
    /// What the store showed last; `None` if it was never read.
    mark: Option<String>,
    version: u64,
}

impl Exchange {
    /// Hears everything, then tells everything that is owed.
    ///
    /// # Errors
    /// The store failed; the next turn goes on from here.
    pub async fn turn<S: SharedRecords>(
        &mut self,
        access: &Access,
        store: &S,
    ) -> Result<Turn, S::Error> {
        let mut turn = Turn::default();
        if access.may_believe_more(Place::Redis, clock::now()) {
            self.version = 0;
        }
        loop {
            self.listen(access, store, &mut turn).await?;
            if self.tell(access, store, &mut turn).await? {
                return Ok(turn);
            }
        }
    }

    async fn listen<S: SharedRecords>(
        &mut self,
        access: &Access,
        store: &S,
        turn: &mut Turn,
    ) -> Result<(), S::Error> {
        loop {
            let page = store.read(self.mark(), self.version, PAGE).await?;
            if !page.goes_on || self.mark.is_none() {
                turn.begun_anew |= self.mark.is_some();
                access.owe_all(Place::Redis);
            }
            let mut records = Vec::with_capacity(page.records.len());
            for (subject, value) in &page.records {
                match Record::read(subject, value) {
                    Ok(record) => records.push(record),
                    Err(_) => turn.dropped += 1,
                }
            }
            let heard = access.hear(records, Place::Redis, clock::now());
            turn.new += heard.new;
            turn.dropped += heard.refused;
            (self.mark, self.version) = (Some(page.mark), page.version);
            if !page.more {
                access.was_read(Place::Redis);
                return Ok(());
            }
        }
    }

    /// Tells some of what is owed; whether that was all.
    async fn tell<S: SharedRecords>(
        &mut self,
        access: &Access,
        store: &S,
        turn: &mut Turn,
    ) -> Result<bool, S::Error> {
        for _ in 0..BATCHES {
            let forgotten = access.take_forgotten(BATCH);
            let owed = access.owed(Place::Redis, BATCH);
            if forgotten.is_empty() && owed.is_empty() {
                return Ok(true);
            }
            if !forgotten.is_empty() {
                // If that fails they stay there, and are come upon again after the next start.
                store.forget(&forgotten.iter().map(written).collect::<Vec<_>>()).await?;
            }
            if !owed.is_empty() {
                let texts: Vec<_> = owed.iter().map(written).collect();
                let mark = store.merge(self.mark(), fastrand::u128(..), &texts).await?;
                if mark.is_some() {
                    // What it loses from now on is noticed, also before it is read again. One that
                    // has lost something already is left to be found out by the next reading.
                    self.mark = mark;
                }
                access.told(Place::Redis, &owed);
                turn.told += owed.len();
            }
        }
        Ok(false)
    }

    fn mark(&self) -> &str {
        self.mark.as_deref().unwrap_or_default()
    }
}

fn written(record: &Record) -> (String, String) {
    (record.subject.to_string(), record.value())
}

#[cfg(test)]
#[path = "distribution_tests.rs"]
mod tests;
