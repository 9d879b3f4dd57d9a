//! Breakwater.

pub mod cache;
pub mod clock;
pub mod config;
pub mod database;
pub mod failure;
pub mod metrics;
pub mod simulator;
pub mod supervision;
pub mod upstream;
