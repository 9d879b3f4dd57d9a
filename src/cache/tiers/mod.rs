//! The three places answers are kept.
//!
//! Owns: the words for tiers. Each tier has its own file, its own bounds and
//! (outside memory) its own breaker; a tier's failure is a miss to everyone else.

pub mod database;
pub mod memory;
pub mod redis;

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
    pub const fn label(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Database => "database",
            Self::Upstream => "none",
        }
    }
}
