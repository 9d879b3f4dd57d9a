//! What became of the lines of a catalogue, for the log and for whoever wrote the file.
//!
//! Owns: counting and describing what was skipped, and why a file cannot be served at all. Refuses:
//! to grow with the file; only the first skipped lines are described one by one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::line::BadLine;

/// How many skipped lines are described one by one.
const DESCRIBED: usize = 20;

/// What became of the lines of a catalogue.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// Where the lines came from: a path, or `built-in`.
    pub source: String,
    /// Products that are served.
    pub products: usize,
    /// Categories made of their paths.
    pub categories: usize,
    /// Lines skipped, by reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// The first twenty skipped lines.
    pub first_skipped: Vec<SkippedLine>,
}

impl LoadReport {
    /// How many lines were skipped for any reason.
    #[must_use]
    pub fn skipped_lines(&self) -> usize {
        self.skipped.values().sum()
    }

    /// Notes a line that is no product.
    pub(super) fn skip(&mut self, number: usize, bad: BadLine) {
        *self.skipped.entry(bad.reason).or_default() += 1;
        if self.first_skipped.len() < DESCRIBED {
            self.first_skipped.push(SkippedLine { number, reason: bad.reason, detail: bad.detail });
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}: {} products in {} categories",
            self.source, self.products, self.categories
        )?;
        if self.skipped.is_empty() {
            return Ok(());
        }
        write!(out, ", {} lines skipped", self.skipped_lines())?;
        for (reason, count) in &self.skipped {
            write!(out, ", {reason} {count}")?;
        }
        Ok(())
    }
}

/// A line that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedLine {
    /// Line number, counted from 1.
    pub number: usize,
    /// Short name of the reason.
    pub reason: &'static str,
    /// What exactly was found.
    pub detail: String,
}

impl fmt::Display for SkippedLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}: {}: {}", self.number, self.reason, self.detail)
    }
}

/// Why a catalogue cannot be served at all.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be opened or read to its end.
    Read {
        /// The file.
        path: PathBuf,
        /// How many lines were read before.
        lines: usize,
        /// What the system said.
        cause: io::Error,
    },
    /// Not one line is a product.
    NoGoodLine(Box<LoadReport>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, lines: 0, cause } => {
                write!(out, "catalogue {} cannot be read: {cause}", path.display())
            }
            Self::Read { path, lines, cause } => {
                let path = path.display();
                write!(out, "catalogue {path} cannot be read beyond line {lines}: {cause}")
            }
            Self::NoGoodLine(report) => {
                write!(out, "catalogue {} has no good line", report.source)?;
                report.first_skipped.iter().try_for_each(|line| write!(out, "; {line}"))
            }
        }
    }
}

impl std::error::Error for LoadError {}
