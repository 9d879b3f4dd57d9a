//! The service as its users meet it: the real application, the real simulator, real sockets.
//!
//! Owns: the contract seen from outside, run by plain `cargo test`. Most tests start gateway and
//! simulator inside the test process, each on a port and with a database file of its own; where the
//! behaviour of the process is the point, the binary itself is started.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the whole crate is a test"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other test binaries; each uses a part of it")]
mod support;

mod abuse;
mod access;
mod access_lists;
mod accounts;
mod admin_check;
mod admin_page;
mod audit;
mod bad_input;
mod caching;
mod catalogue_lines;
mod collector;
mod compression;
mod connections;
mod cors;
mod demo;
mod details;
mod documents;
mod endpoints;
mod envelope;
mod errors_of_clients;
mod errors_of_upstream;
mod explain;
mod feature_flags;
mod gate;
mod headers;
mod health;
mod invalidation;
mod keys;
mod last_resort;
mod links;
mod live;
mod log_lines;
mod misconfigured;
mod observability;
mod open_routes;
mod pipelining;
mod pressure;
mod process_commands;
mod process_stop;
mod reload;
mod reload_accounts;
mod second_service;
mod secrets;
mod session;
mod shedding;
mod single_flight;
mod smart_search;
mod snapshot;
mod stale;
mod storing;
mod test_app;
mod tracing;
mod unknown_names;
mod warming;
