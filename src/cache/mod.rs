//! Three tiers of answers, and one load at a time for a key that none of them has.
//!
//! ```text
//!  CacheClient ─Get─▶ CacheActor (one a worker) ─▶ get: memory         fresh or stale: answered here
//!      │                                            │ absent, or to be renewed
//!      │                                            ▼ one leader a key, all workers follow
//!      │                                          load: Redis ▶ SQL ▶ origin ▶ stored in all three
//!      └◀──────────── first usable answer ──────────┘
//! ```
//!
//! Owns: entries, their freshness, the tiers, single flight, and which keys are not loaded just now.
//! Knows no service: a plan brings the loader and the lifetimes. Failures are never stored. A tier
//! that is down is a miss in it, counted, and its breaker keeps it out of the way.

mod client;
mod codec;
mod entry;
mod failure_memo;
mod freshness;
mod get;
pub mod invalidations;
mod key;
mod load;
mod pending;
mod plan;
mod probe_budget;
pub mod settings;
mod survey;
mod tables;
#[cfg(test)]
mod tests;
pub mod tiers;
pub mod upkeep;

pub use client::{CacheActor, CacheClient};
pub use entry::{Entry, JSON, Representation, Times, Validity};
pub use freshness::Freshness;
pub use get::{Answer, Forward, Found, Get};
pub use invalidations::{Cleared, Invalidations, Mode, Rule, Subject};
pub use key::{CacheKey, Tag, digest, matches, sweeps};
pub use load::TASK as LOAD_TASK;
pub use plan::{Brought, Lifetimes, Loaded, Loader, Plan, Question};
pub use probe_budget::Hold;
pub use settings::{CacheSettings, LongestLife};
pub use survey::{Held, Missed, Survey};
pub use tables::CacheTables;
pub use tiers::Tier;
