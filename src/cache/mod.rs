//! Three tiers of answers, and one flight for what none of them has.
//!
//! ```text
//!  CacheClient ─Lookup─▶ CacheActor (one per worker) ─▶ memory            fresh or stale: answered here
//!      │ absent or stale: Fly ─▶ flights (one per key, all workers)
//!      │                            └─▶ Redis ─▶ SQL ─▶ loader ─▶ stored in all three
//!      └◀──────────── first usable answer ───────────┘
//! ```
//!
//! Owns: entries, their freshness, the tiers and single flight. Refuses: to store failures. Does not
//! know what it stores or where it comes from: a miss runs the loader it is given. A tier that is
//! down is a miss in it, counted, and kept out of the way by a breaker; an actor that is down is
//! bypassed by its client, which does the same on the shared tables.

mod actor;
mod arrears;
mod clearing;
mod client;
mod entry;
mod flight;
mod flights;
mod freshness;
mod glob;
pub mod invalidations;
mod key;
mod plan;
mod setbacks;
mod tables;
mod tag;
#[cfg(test)]
mod tests;
mod throttle;
pub mod tiers;

pub use actor::{CacheActor, Lookup};
pub use arrears::{Arrears, Missed};
pub use clearing::Cleared;
pub use client::{Answer, CacheClient, Forward};
pub use entry::{Entry, Malformed, Times, Verdict};
pub use freshness::Freshness;
pub use glob::sweeps;
pub use invalidations::{Invalidations, Mode, Rule, Subject};
pub use key::CacheKey;
pub use plan::{Lifetimes, Loaded, Loader, Plan, Question, Urgency};
pub use tables::{CacheTables, Rules};
pub use tag::{NotATag, Tag, check as check_tag};
pub use tiers::Tier;
