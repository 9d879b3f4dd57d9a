//! Promises and real input under load, against the release binary: `make acceptance`.
//!
//! Owns: the runs that put load on the machine, which plain `cargo test` leaves out, and the tables
//! they print. Each starts what it needs on free ports of the loopback address and ends it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the whole crate is a test; what it measures is printed"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other test binaries; each uses a part of it")]
mod support;

mod burst;
mod catalogue_end_to_end;
mod catalogue_file;
mod closed_loop;
mod cores;
mod figures;
mod fixture;
mod flood;
mod growth;
mod load;
mod open_loop;
mod outage;
mod p10_killed_in_outage;
mod p11_limits;
mod p12_abusers;
mod p12_forgery;
mod p13_bad_input;
mod p14_overload;
mod p14_phases;
mod p15_stopping_loses_nothing;
mod p16_shared_cache;
mod p17_open_routes_are_no_lever;
mod p18_places_are_kept;
mod p19_recovery_is_prompt;
mod p1_one_flight;
mod p2_one_failure;
mod p3_outage_costs_nothing;
mod p4_hanging_upstream;
mod p5_recovery;
mod p6_redis_may_die;
mod p6_ways_to_die;
mod p7_sql_at_the_start;
mod p7_sql_may_die;
mod p7_ways_to_die;
mod p8_states;
mod p8_truth_table;
mod p9_panics_stay_small;
mod p9_phases;
mod recovery_watch;
mod slow_clients;
mod start_and_memory;
mod stored;
mod survey;
mod traffic;
mod truth_table;
mod upstream_watch;

// Files shared with the examples name it so.
use support::http;
