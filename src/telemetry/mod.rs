//! Logging: one root logger, what its lines look like and where they go.
//!
//! Owns: set-up of the log, names of its fields, the panic hook. Refuses to wait: when lines come
//! faster than they can be written they are dropped and counted ([`Losses`]), and nothing that
//! serves a request ever blocks on the log. When the disk is full or the terminal gone, lines are
//! lost and counted, and that is all.
//!
//! # The request id on every line of a request
//! A logger is two words and costs nothing to pass on. The middleware makes one for its request,
//! everything below it logs through that one and need not know the id:
//!
//! ```
//! use breakwater::telemetry::{fields, for_request};
//! use slog::{Logger, info, o};
//!
//! let root = Logger::root(slog::Discard, o!());
//! let log = for_request(&root, "8c1f");
//! info!(log, "answered"; fields::STATUS => 200, fields::DURATION_MS => 0.41);
//! ```
//!
//! Values are formatted only when the line's level is enabled; the record is handed to the writing
//! thread through a bounded channel.

pub mod fields;
mod level;
mod lines;
mod log;
mod losses;
mod panics;
mod rotation;

#[cfg(test)]
mod tests;

pub use crate::config::redact;
pub use level::LevelHandle;
pub use log::{Telemetry, for_request, start};
pub use losses::Losses;
pub use panics::{install_panic_hook, panic_message};
