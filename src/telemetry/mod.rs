//! Logging: one root logger, what its lines look like and where they go.
//!
//! Owns: set-up of the log and the panic hook. Nothing that serves a request blocks on the log: lines
//! that come faster than they can be written, or meet a full disk, are dropped and counted
//! ([`Losses`]).
//!
//! # The request id on every line of a request
//! A logger is two words and costs nothing to pass on. The middleware makes one for its request,
//! everything below it logs through that one and need not know the id:
//!
//! ```
//! use breakwater::telemetry::for_request;
//! use slog::{Logger, info, o};
//!
//! let root = Logger::root(slog::Discard, o!());
//! let log = for_request(&root, "8c1f");
//! info!(log, "answered"; "status" => 200, "duration_ms" => 0.41);
//! ```
//!
//! Values are formatted only when the line's level is enabled; the record is handed to the writing
//! thread through a bounded channel.

mod drains;
mod log;
mod rotation;
mod settings;

#[cfg(test)]
mod tests;

pub use crate::config::redact;
pub use drains::{LevelHandle, Losses};
pub use log::{Telemetry, for_request, install_panic_hook, panic_message, start};
pub use settings::{LogFormat, LogSettings};
