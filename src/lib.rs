//! Breakwater.

pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod simulator;
pub mod supervision;
pub mod telemetry;
pub mod upstream;
