//! What happens when things break: actors, tiers, the wire, the upstream.
//!
//! Owns: the faults and the rules that say whether the service held. Actors are started through the
//! supervisor as the application starts them; Redis, the database file, the simulator and the
//! gateway are real, and the wire between them is broken on request.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::cognitive_complexity,
    reason = "the whole crate is a test, and each tells one story from beginning to end"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other test binaries; each uses a part of it")]
mod support;

mod access_two_instances;
mod contract;
mod database_engines;
mod database_file;
mod database_plans;
mod database_refused;
mod fault_proxy_works;
mod front;
mod history;
mod limits_rig;
mod limits_script;
mod limits_sharing;
mod limits_two_instances;
mod migrations;
mod pace_instances;
mod pace_script;
mod pair;
mod postgres_replicas;
mod postgres_server;
mod quiet;
mod redis_burst;
mod redis_cluster;
mod redis_locks;
mod redis_outages;
mod redis_partition;
mod redis_pubsub;
mod redis_refusals;
mod redis_rig;
mod redis_sentinel;
mod redis_server;
mod redis_tls;
mod redis_wire;
mod redis_words;
mod restart;
mod three_instances;
mod trio;
mod two_instances;
mod upstream_accounts;
mod upstream_background;
mod upstream_bad_input;
mod upstream_blame;
mod upstream_care;
mod upstream_concurrency;
mod upstream_kinds;
mod upstream_legal_http;
mod upstream_recovery;
mod upstream_refusals;
mod upstream_rig;
mod upstream_script;
mod upstream_texts;
mod upstream_tls;
mod upstream_wire;
