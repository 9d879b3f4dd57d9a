//! Breakwater.

pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod database;
pub mod failure;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod products;
pub mod simulator;
pub mod supervision;
pub mod telemetry;
pub mod upstream;
