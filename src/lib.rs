//! Breakwater.

pub mod clock;
pub mod config;
pub mod database;
pub mod failure;
pub mod simulator;
pub mod supervision;
pub mod upstream;
