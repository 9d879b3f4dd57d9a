//! What the tiers hold of something, for an operator: nothing is loaded, kept or counted as a use.
//!
//! Owns: the look through all tiers, its bounds, and which of several copies counts. Only what could
//! still be answered with is found. One look costs a bounded part of each tier; if that was not all,
//! or a tier did not answer, the survey says so and why.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use serde::Serialize;
use utoipa::ToSchema;

use super::codec::BEGINNING;
use super::entry::Entry;
use super::freshness::Freshness;
use super::invalidations::Subject;
use super::key::{CacheKey, Tag, literal_beginning, matches};
use super::tables::CacheTables;
use super::tiers::Tier;
use super::tiers::redis::RedisTier;
use crate::clock;
use crate::failure::StoreError;

/// Entries of memory that one look passes.
const IN_MEMORY: usize = 100_000;
/// Entries of Redis whose beginnings one look reads: 5 MB.
const IN_REDIS: usize = 2_000;
/// Keys of memory whose copies are looked for in the other tiers in any case.
const KNOWN: usize = 1_000;
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// A tier that did not do its part, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Missed {
    #[schema(value_type = String)]
    pub tier: &'static str,
    pub reason: String,
}

/// What is held under one key.
#[derive(Debug, Clone)]
pub struct Held {
    /// The newest copy; without a body unless memory holds it.
    pub entry: Arc<Entry>,
    pub freshness: Freshness,
    /// Bytes that it takes there.
    pub bytes: u64,
    pub tiers: Vec<Tier>,
}

#[derive(Debug, Default)]
pub struct Survey {
    pub found: BTreeMap<CacheKey, Held>,
    /// Whether every tier that answered was looked through to its end.
    pub complete: bool,
    pub missed: Vec<Missed>,
}

impl Survey {
    /// How many entries a tier holds of what was found.
    pub fn count(&self, tier: Tier) -> usize {
        self.found.values().filter(|held| held.tiers.contains(&tier)).count()
    }
}

/// Some stored entries, each with its size, and whether these are all.
type Part = (Vec<(CacheKey, Arc<Entry>, u64)>, bool);

impl Subject {
    fn hits(&self, key: &str, tags: &[Tag]) -> bool {
        match self {
            Self::Key(wanted) => wanted == key,
            Self::Tag(_) => tags.contains(&self.number()),
            Self::Pattern(pattern) => matches(pattern, key),
            Self::Everything => true,
        }
    }

    /// A glob that matches every key it can hit, and what all of these begin with.
    fn range(&self) -> (String, String) {
        match self {
            Self::Key(key) => {
                let literal = |sign| if "*?[".contains(sign) { '?' } else { sign };
                (key.chars().map(literal).collect(), key.clone())
            }
            Self::Pattern(pattern) => (pattern.clone(), literal_beginning(pattern).to_owned()),
            Self::Tag(_) | Self::Everything => ("*".to_owned(), String::new()),
        }
    }
}

impl CacheTables {
    /// What is held of what all of `subjects` hit.
    pub async fn survey(&self, subjects: &[Subject]) -> Survey {
        let mut survey = Survey { complete: true, ..Survey::default() };
        let (entries, all) = self.in_memory(subjects);
        survey.complete &= all;
        self.add(&mut survey.found, Tier::Memory, entries, subjects);
        // However large the other tiers are, what they hold of these is known.
        let known: Vec<CacheKey> = survey.found.keys().take(KNOWN).cloned().collect();
        let ranges = subjects.iter().map(Subject::range);
        let narrowest = ranges.max_by_key(|(glob, prefix)| (prefix.len(), glob.len()));
        let (glob, prefix) = narrowest.unwrap_or_else(|| Subject::Everything.range());
        let names = known.iter().map(ToString::to_string).collect();
        let redis = self.in_redis(known, key_of(subjects), &glob);
        let (redis, database) = join(redis, self.in_database(names, &glob, prefix)).await;
        for (tier, part) in [(Tier::Redis, redis), (Tier::Database, database)] {
            match part {
                Ok((entries, all)) => {
                    survey.complete &= all;
                    self.add(&mut survey.found, tier, entries, subjects);
                }
                Err(error) => survey.missed.push(self.missed(tier, &error)),
            }
        }
        survey
    }

    /// Why a tier did not answer, as far as it is known.
    pub(super) fn missed(&self, tier: Tier, error: &StoreError) -> Missed {
        let known = match (tier, &self.redis) {
            (Tier::Redis, Some(redis)) => redis.client.trouble(),
            (Tier::Database, _) => self.database.absence(),
            (Tier::Memory | Tier::Redis | Tier::Upstream, _) => None,
        };
        let reason = if *error == StoreError::Avoided {
            known.unwrap_or_else(|| "is not asked until it answers again".to_owned())
        } else {
            error.to_string()
        };
        Missed { tier: tier.label(), reason }
    }

    fn add(
        &self,
        found: &mut BTreeMap<CacheKey, Held>,
        tier: Tier,
        entries: Vec<(CacheKey, Arc<Entry>, u64)>,
        subjects: &[Subject],
    ) {
        let now = clock::now();
        for (key, entry, bytes) in entries {
            let freshness = self.judge(&key, &entry, now);
            let hit = subjects.iter().all(|subject| subject.hits(key.as_str(), &entry.tags));
            if freshness == Freshness::Dead || !hit {
                continue;
            }
            let held = Held { entry, freshness, bytes, tiers: vec![tier] };
            match found.entry(key) {
                Place::Vacant(place) => drop(place.insert(held)),
                Place::Occupied(mut place) => {
                    let before = place.get_mut();
                    before.tiers.push(tier);
                    if before.entry.times.stored_at < held.entry.times.stored_at {
                        *before = Held { tiers: std::mem::take(&mut before.tiers), ..held };
                    }
                }
            }
        }
    }

    fn in_memory(&self, subjects: &[Subject]) -> Part {
        let (entries, all) = match key_of(subjects) {
            Some(key) => {
                let held = self.memory.peek(&key).map(|entry| (key, entry));
                (held.into_iter().collect(), true)
            }
            None => self.memory.held(IN_MEMORY),
        };
        let sized = entries.into_iter().map(|(key, entry)| {
            let bytes = u64::try_from(entry.representation.size()).unwrap_or(u64::MAX);
            (key, entry, bytes)
        });
        (sized.collect(), all)
    }

    async fn in_redis(
        &self,
        known: Vec<CacheKey>,
        only: Option<CacheKey>,
        glob: &str,
    ) -> Result<Part, StoreError> {
        let Some(redis) = &self.redis else { return Ok((Vec::new(), true)) };
        let look = look(redis, known, only, glob);
        tokio::time::timeout(REDIS_TIMEOUT, look).await.unwrap_or(Err(StoreError::TooLate))
    }

    async fn in_database(
        &self,
        known: Vec<String>,
        glob: &str,
        prefix: String,
    ) -> Result<Part, StoreError> {
        let glob = glob.to_owned();
        let is_wanted = move |key: &str| matches(&glob, key);
        let (found, all) = self.database.beginnings(known, prefix, BEGINNING, is_wanted).await?;
        Ok((found.into_iter().filter_map(bodiless).collect(), all))
    }
}

/// The only key that all of `subjects` can hit, if one of them is a key.
fn key_of(subjects: &[Subject]) -> Option<CacheKey> {
    subjects.iter().find_map(|subject| match subject {
        Subject::Key(key) => Some(CacheKey::new(key.as_str())),
        Subject::Tag(_) | Subject::Pattern(_) | Subject::Everything => None,
    })
}

async fn look(
    redis: &RedisTier,
    known: Vec<CacheKey>,
    only: Option<CacheKey>,
    glob: &str,
) -> Result<Part, StoreError> {
    let (mut keys, mut all) = match only {
        Some(key) => (vec![key], true),
        None => {
            let (others, all) = redis.keys(glob).await?;
            let asked: HashSet<CacheKey> = known.iter().cloned().collect();
            let others = others.into_iter().filter(|key| !asked.contains(key));
            (known.into_iter().chain(others).collect(), all)
        }
    };
    all &= keys.len() <= IN_REDIS;
    keys.truncate(IN_REDIS);
    let found = redis.beginnings(&keys, BEGINNING).await?;
    let found = keys.into_iter().zip(found).map(|(key, (bytes, size))| (key, bytes, size));
    Ok((found.filter_map(bodiless).collect(), all))
}

/// What is no entry, or the entry of another key, is not there.
fn bodiless((key, bytes, size): (CacheKey, Bytes, u64)) -> Option<(CacheKey, Arc<Entry>, u64)> {
    let entry = Entry::decode_beginning(bytes, &key).ok()?;
    Some((key, Arc::new(entry), size))
}
