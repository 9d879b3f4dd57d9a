//! The operator's page in a real browser, in front of the real binary and the simulator inside it.
//!
//! Owns: what an operator sees and does. Needs Debian's chromium and chromium-driver; where they are not
//! installed the tests say so and do nothing. Pictures of the first screen are kept in the folder that
//! cargo gives to tests (`target/tmp`).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the whole crate is a test"
)]

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "shared with other test binaries; each uses a part of it")]
mod support;

mod acting;
mod behind_proxy;
mod demo;
mod desk;
mod explaining;
mod looking;
mod session;
mod webdriver;
