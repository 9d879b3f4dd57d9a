//! What is wrong with a configuration, in words for the person who wrote it.
//!
//! Owns: the form in which a mistake is named. Refuses to repeat a secret: values come here already
//! fit to be shown. No neighbours.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The environment variable, or the file, line and key.
    pub place: String,
    /// The value that was refused, fit to be shown; `None` where there is none.
    pub value: Option<String>,
    pub expected: String,
    /// Line of the file, 0 elsewhere: people correct a file from top to bottom.
    line: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: expected {}", self.place, self.expected),
            None => write!(f, "{}: expected {}", self.place, self.expected),
        }
    }
}

/// Everything that is wrong, in the order in which it was met; never empty when returned as an
/// error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    pub fn add(&mut self, place: impl Into<String>, value: Option<String>, expected: String) {
        self.0.push(Mistake { place: place.into(), value, expected, line: 0 });
    }

    pub(super) fn add_in_file(&mut self, place: Place, value: Option<String>, expected: String) {
        let Place { file, line, what } = place;
        let comma = if what.is_empty() { "" } else { ", " };
        let place = format!("{file} line {line}{comma}{what}");
        self.0.push(Mistake { place, value, expected, line });
    }

    /// Puts those of the file, which have to be all there are so far, into the order of its lines.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|mistake| mistake.line);
    }
}

pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    /// The section, the key, or nothing.
    pub(super) what: String,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} mistake{} in the configuration", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}
