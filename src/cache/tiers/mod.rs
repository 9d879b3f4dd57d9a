//! The three places answers are kept.
//!
//! Owns: the words for tiers and for their failures. Each tier has its own file, its own bounds and
//! (outside memory) its own breaker; a tier's failure is a miss to everyone else.

pub mod database;
pub mod memory;
pub mod redis;

use std::fmt;

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// This process's memory.
    Memory,
    /// Redis.
    Redis,
    /// The SQL database.
    Database,
    /// None of them: it was loaded.
    Upstream,
}

impl Tier {
    /// The name in answers and metrics; `none` for what was loaded.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Database => "database",
            Self::Upstream => "none",
        }
    }
}

/// Why a tier has no answer although it might hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierError {
    /// It was not asked: its breaker is open, or it is not known yet which of its entries are invalid.
    Avoided,
    /// It did not answer in time.
    TooLate,
    /// It failed.
    Failed(String),
    /// It is well and does not take this: no memory left, read-only, another type under the key.
    Refused(String),
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avoided => f.write_str("not asked"),
            Self::TooLate => f.write_str("no answer in time"),
            Self::Failed(cause) | Self::Refused(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for TierError {}
