//! The three places answers are kept.
//!
//! Owns: the words for tiers, and a row on its way to those behind memory. Each tier has its own file,
//! its own bounds and (outside memory) its own breaker; a tier's failure is a miss to everyone else.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::Entry;
use super::key::CacheKey;
use crate::clock::Timestamp;
use crate::steps::Stage;

pub mod database;
pub mod memory;
pub mod redis;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    Memory,
    Redis,
    Database,
    /// None of them: it was loaded.
    Upstream,
}

impl Tier {
    /// The name in answers and metrics; `none` for what was loaded.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Database => "database",
            Self::Upstream => "none",
        }
    }

    /// The stage of a request's way that asks it; `None` for what was loaded.
    pub const fn stage(self) -> Option<Stage> {
        match self {
            Self::Memory => Some(Stage::Memory),
            Self::Redis => Some(Stage::Redis),
            Self::Database => Some(Stage::Database),
            Self::Upstream => None,
        }
    }
}

/// An entry as the tiers behind memory store it.
#[derive(Debug, Clone)]
pub struct Row {
    pub key: CacheKey,
    pub kind: &'static str,
    pub entry: Bytes,
    pub stored_at: Timestamp,
    pub stale_until: Timestamp,
    /// What was asked (JSON), if the entry can be loaded again from it.
    pub question: Option<Arc<str>>,
}

impl Row {
    pub fn new(
        kind: &'static str,
        key: CacheKey,
        entry: &Entry,
        question: Option<Arc<str>>,
    ) -> Self {
        let (stored_at, stale_until) = (entry.times.stored_at, entry.times.stale_until);
        Self { entry: entry.encode(&key), key, kind, stored_at, stale_until, question }
    }
}
