//! Breakwater.

pub mod clock;
pub mod config;
pub mod metrics;
pub mod simulator;
pub mod supervision;
pub mod upstream;
