//! Logging: one root logger, what its lines look like and where they go.
//!
//! Owns: set-up of the log and the panic hook. Nothing that serves a request blocks on the log: lines
//! that come faster than they can be written, or meet a full disk, are dropped, counted and told of
//! ([`Losses`]).
//! Values are formatted only when the line's level is enabled; the record is handed to the writing
//! thread through a bounded channel.

mod drains;
mod log;
mod losses;
mod rotation;
mod settings;

#[cfg(test)]
mod tests;

pub use crate::config::redact;
pub use drains::LevelHandle;
pub use log::{Telemetry, install_panic_hook, panic_message, start};
pub use losses::Losses;
pub use settings::{LogFormat, LogSettings};
