//! What the cache does when nobody asks: counting uses, making room, and loading before it is asked
//! for.
//!
//! Owns: one step of each, to be called again and again. Refuses: to keep time; whoever calls
//! decides how often. A store that is away leaves its step undone for the next call.

mod tidy;
mod warming;

pub use warming::{PAUSE, PlanFor, ROUND_EVERY, Round, Warmer, WarmerSettings};
