//! Breakwater.

pub mod clock;
pub mod config;
pub mod limits;
pub mod simulator;
pub mod supervision;
pub mod upstream;
