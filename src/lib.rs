//! Breakwater.

pub mod clock;
pub mod config;
pub mod products;
pub mod simulator;
pub mod supervision;
pub mod upstream;
