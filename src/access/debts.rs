//! What each store is still to be told.
//!
//! Owns: the subjects that are owed to each store, each once however often it changed. Refuses
//! nothing: where a store is not there, nothing is owed to it. There are no more of them than
//! records.

use std::collections::BTreeSet;

use super::record::Subject;

/// A store beside memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The SQL database.
    Database,
    /// Redis.
    Redis,
}

impl Place {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Database, Self::Redis];

    /// The word in answers and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Redis => "redis",
        }
    }
}

/// What is owed to each store.
#[derive(Debug)]
pub(super) struct Debts {
    database: BTreeSet<Subject>,
    /// None where there is no Redis.
    redis: Option<BTreeSet<Subject>>,
}

impl Debts {
    /// None.
    pub(super) fn new(with_redis: bool) -> Self {
        Self { database: BTreeSet::new(), redis: with_redis.then(BTreeSet::new) }
    }

    /// Whether there is a Redis.
    pub(super) const fn has_redis(&self) -> bool {
        self.redis.is_some()
    }

    /// What is owed to a store.
    pub(super) fn to(&self, place: Place) -> impl Iterator<Item = &Subject> {
        self.of(place).into_iter().flatten()
    }

    /// Whether a store is owed a subject.
    pub(super) fn owes(&self, place: Place, subject: &Subject) -> bool {
        self.of(place).is_some_and(|owed| owed.contains(subject))
    }

    /// Subjects owed to a store.
    pub(super) fn number(&self, place: Place) -> usize {
        self.of(place).map_or(0, BTreeSet::len)
    }

    /// A store is owed a subject from now on.
    pub(super) fn owe(&mut self, place: Place, subject: Subject) {
        if let Some(owed) = self.of_mut(place) {
            owed.insert(subject);
        }
    }

    /// A store knows a subject as it is.
    pub(super) fn settle(&mut self, place: Place, subject: &Subject) {
        if let Some(owed) = self.of_mut(place) {
            owed.remove(subject);
        }
    }

    const fn of(&self, place: Place) -> Option<&BTreeSet<Subject>> {
        match place {
            Place::Database => Some(&self.database),
            Place::Redis => self.redis.as_ref(),
        }
    }

    const fn of_mut(&mut self, place: Place) -> Option<&mut BTreeSet<Subject>> {
        match place {
            Place::Database => Some(&mut self.database),
            Place::Redis => self.redis.as_mut(),
        }
    }
}
