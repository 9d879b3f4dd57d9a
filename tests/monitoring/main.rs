//! Alerts and dashboards: promtool's checks, and every expression against a real Prometheus.
//!
//! Owns: `monitoring/` and `docs/runbook.md` as things that are tested. Where Prometheus is not installed the
//! tests that need it say that they left it out, and pass.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "the whole crate is a test, and each tells one story from beginning to end"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other test binaries; each uses a part of it")]
mod support;

mod evaluation;
mod expressions;
mod faults;
mod prometheus;
mod rules;
