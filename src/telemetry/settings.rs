//! The settings of the log.
//!
//! Owns: their declaration.

use std::path::PathBuf;

use slog::Level;

use super::rotation::probe;
use crate::config::kinds::{Choice, FILE_PATH, Optional};
use crate::config::{Mistakes, Section};
use crate::settings;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    Text,
}

const LEVELS: Choice<Level> = Choice(&[
    ("critical", Level::Critical),
    ("error", Level::Error),
    ("warning", Level::Warning),
    ("warn", Level::Warning),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
]);

/// `None`: text at a terminal, JSON elsewhere.
const FORMATS: Choice<Option<LogFormat>> =
    Choice(&[("json", Some(LogFormat::Json)), ("text", Some(LogFormat::Text)), ("auto", None)]);

settings! {
    #[derive(Eq)]
    pub struct LogSettings in "log" {
        level: Level = Level::Info, "LOG_LEVEL", "level", LEVELS,
            "how much is logged; trace in debug builds only", live();
        format: Option<LogFormat> = None, "LOG_FORMAT", "format", FORMATS,
            "one JSON object a line, or text for a person; auto is text at a terminal and json elsewhere";
        file: Option<PathBuf> = None, "LOG_FILE", "file", Optional(FILE_PATH),
            "log to this file instead of standard error; rotated at 10 MB, five kept";
    }
}

impl Section for LogSettings {
    fn probe(&self, mistakes: &mut Mistakes) {
        if let Some(path) = &self.file
            && let Err(error) = probe(path)
        {
            let expected = format!("a file that can be written to ({error})");
            mistakes.add("LOG_FILE", Some(path.display().to_string()), expected);
        }
    }
}
