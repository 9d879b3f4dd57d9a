//! A day in virtual time: an upstream that throttles, fails, hangs, weakens and recovers, asked by
//! Breakwater's client and by two that simply ask again.
//!
//! Owns: what has to be true of that day. All clients get the same questions at the same moments
//! and the same upstream. Chance is seeded but for the jitter of a breaker's open time, which is
//! drawn inside its package: what depends on it is held to bounds. Caches are not part of it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the whole crate is a test, and prints a table"
)]

mod ask_again;
mod bodies;
mod breakwater_client;
mod daily_budget;
mod day;
mod demand;
mod episodes;
mod one_account;
mod record;
mod table;
mod two_accounts;
mod upstream;
