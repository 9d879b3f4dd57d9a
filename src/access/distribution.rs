//! Staying of one mind with other instances, through a store that all of them share.
//!
//! Owns: the place up to which that store was read, and the order of a turn: first everything others
//! wrote is heard, then it is told what it is owed. It gives every record it takes a version; reading
//! on from the last version is cheap, however much there is. Each store has a name that it draws when
//! it is begun: under another name it is another one (it was flushed, replaced, or lost its memory),
//! is read from its beginning, and is told everything that is known here. Telling twice does no harm:
//! the store keeps the later of two records. Refuses: nothing; a store that fails is asked again the
//! next time, from the same place.

use std::fmt;
use std::future::Future;

use super::book::Place;
use super::record::Record;
use super::table::Access;
use crate::clock;

/// Records read at once.
const PAGE: usize = 500;
/// Records told at once, so that it ends in time on a slow wire.
const BATCH: usize = 100;

/// A page of what a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The store's name; empty if it was never begun or has lost something.
    pub name: String,
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

    /// At most `most` records written after a version of the store of this name; from the beginning
    /// if the store has another name.
    fn read(
        &self,
        name: &str,
        version: u64,
        most: usize,
    ) -> impl Future<Output = Result<Page, Self::Error>>;

    /// Puts records in, each unless a later one is there. A store without a name gets this one; the
    /// name it has.
    fn merge(
        &self,
        name: &str,
        records: &[(String, String)],
    ) -> impl Future<Output = Result<String, Self::Error>>;

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
    name: String,
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
        self.listen(access, store, &mut turn).await?;
        self.tell(access, store, &mut turn).await?;
        Ok(turn)
    }

    async fn listen<S: SharedRecords>(
        &mut self,
        access: &Access,
        store: &S,
        turn: &mut Turn,
    ) -> Result<(), S::Error> {
        loop {
            let page = store.read(&self.name, self.version, PAGE).await?;
            if page.name != self.name {
                turn.begun_anew |= !self.name.is_empty();
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
            (self.name, self.version) = (page.name, page.version);
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn tell<S: SharedRecords>(
        &mut self,
        access: &Access,
        store: &S,
        turn: &mut Turn,
    ) -> Result<(), S::Error> {
        loop {
            let forgotten = access.take_forgotten(BATCH);
            if forgotten.is_empty() {
                break;
            }
            // If that fails they stay there, and are come upon again after the next start.
            store.forget(&forgotten.iter().map(written).collect::<Vec<_>>()).await?;
        }
        loop {
            let owed = access.owed(Place::Redis, BATCH);
            if owed.is_empty() {
                return Ok(());
            }
            let texts: Vec<_> = owed.iter().map(written).collect();
            let name = format!("{:032x}", fastrand::u128(..));
            let name = store.merge(&name, &texts).await?;
            if self.name.is_empty() {
                // Were it lost before it is read again, nobody would notice.
                self.name = name;
            }
            access.told(Place::Redis, &owed);
            turn.told += owed.len();
        }
    }
}

fn written(record: &Record) -> (String, String) {
    (record.subject.to_string(), record.value())
}

#[cfg(test)]
#[path = "distribution_tests.rs"]
mod tests;
