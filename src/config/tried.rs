//! Something that settings name, tried once: `check-config --connect`.
//!
//! Owns: its line: what, `ok` or `failed`, the setting, what it said, and what to do. No neighbours.

use std::fmt;

use super::redact;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub what: String,
    /// The variable that names it.
    pub setting: &'static str,
    /// What it said, or why it failed.
    pub outcome: Result<String, String>,
    /// What to do when it failed.
    pub remedy: &'static str,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, setting, outcome, remedy } = self;
        match outcome {
            Ok(said) => write!(f, "{what}: ok ({setting}): {}", redact(said)),
            Err(why) => {
                write!(f, "{what}: failed ({setting}): {}; what to do: {remedy}", redact(why))
            }
        }
    }
}
