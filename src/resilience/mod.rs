//! The pure machines behind every protection: token bucket, sliding window, circuit breaker.
//!
//! Owns: decisions as plain functions of state, time and event. No I/O, no actors, no clock of its
//! own; time and chance are arguments. Each machine exists once, here; rooms that need one hold its
//! state and feed it.

pub mod breaker;
pub mod tick;
pub mod token_bucket;
pub mod window;
