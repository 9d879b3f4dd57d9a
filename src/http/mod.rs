//! Everything about HTTP: the surface, the envelope, the errors.
//!
//! Owns: how a request becomes a question to another room and an answer becomes bytes. Refuses:
//! whatever is malformed, over a limit or not allowed, in one error format. It decides nothing about
//! products, caching or limits; when those fail it says so with the failure's own code.

pub mod connection;
pub mod context;
pub mod door;
pub mod envelope;
pub mod error;
pub mod extract;
pub mod gauges;
pub mod handlers;
pub mod middleware;
pub mod openapi;
pub mod parts;
pub mod prepared;
pub mod routes;
pub mod server;
pub mod sparse;
pub mod state;
pub mod tag;
mod watch;
pub mod ways;

pub use envelope::Integration;
pub use error::{ApiError, ErrorCode};
