//! The kinds of values that a setting can have: numbers, times, choices; texts and addresses in the file
//! below.
//!
//! Owns: bounds, how a text is read as a value and how a value is shown. Refuses: whatever is outside
//! the bounds, with a sentence that says what they are. A room with a kind of its own implements
//! [`Kind`] beside its settings.

mod texts;

pub use texts::{
    FILE_PATH, INTERFACE, LISTENER, NETWORK, RATE, SECRET_WORD, SHARE, SWITCH, Text, WEB_ADDRESS,
    WEB_ORIGIN, WORD, quoted_address,
};

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::config::redact::redact;

/// Why a text was refused beyond "not what is expected"; `None` when there is nothing to add.
pub type Refusal = Option<String>;

/// How a setting's text becomes a value and back.
pub trait Kind {
    type Value;

    /// What is accepted, to be read after "expected".
    fn expected(&self) -> String;

    /// The value of a text that is trimmed and not empty.
    fn read(&self, text: &str) -> Result<Self::Value, Refusal>;

    /// The value as people may see it; `None` when there is none.
    fn show(&self, value: &Self::Value) -> Option<String>;

    /// A refused text as people may see it.
    fn quote(&self, text: &str) -> String {
        quoted(text)
    }
}

/// The text in quotes, without the passwords of addresses in it, cut where it gets too long for a message.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    let text = redact(text);
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start:?}…")
}

/// A whole number between two bounds, both included.
pub struct Whole<T>(pub T, pub T);

impl<T: FromStr + PartialOrd + Display> Kind for Whole<T> {
    type Value = T;

    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }

    fn read(&self, text: &str) -> Result<T, Refusal> {
        let number: T = text.parse().map_err(|_| None)?;
        if number < self.0 || number > self.1 { Err(None) } else { Ok(number) }
    }

    fn show(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

/// A time as a whole number of a unit.
pub struct Time {
    unit: &'static str,
    per_second: u64,
    least: u64,
    most: u64,
}

/// A time in whole milliseconds between two bounds.
pub const fn millis(least: u64, most: u64) -> Time {
    Time { unit: "milliseconds", per_second: 1_000, least, most }
}

/// A time in whole seconds between two bounds.
pub const fn seconds(least: u64, most: u64) -> Time {
    Time { unit: "seconds", per_second: 1, least, most }
}

impl Kind for Time {
    type Value = Duration;

    fn expected(&self) -> String {
        format!("{}, a whole number from {} to {}", self.unit, self.least, self.most)
    }

    fn read(&self, text: &str) -> Result<Duration, Refusal> {
        let count = Whole(self.least, self.most).read(text)?;
        Ok(Duration::from_millis(count * (1_000 / self.per_second)))
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some((value.as_millis() * u128::from(self.per_second) / 1_000).to_string())
    }
}

/// A share of requests for which a feature is on, in percent: 0 is off, 100 is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout(pub u8);

/// One of a few words, in any case; the first word of a value is the one that is shown.
pub struct Choice<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Clone + PartialEq> Kind for Choice<T> {
    type Value = T;

    fn expected(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| *word).collect();
        match words.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }

    fn read(&self, text: &str) -> Result<T, Refusal> {
        let chosen = self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        chosen.map(|(_, value)| value.clone()).ok_or(None)
    }

    fn show(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, one)| one == value).map(|(word, _)| (*word).to_owned())
    }
}

/// Any kind that may be left out.
pub struct Optional<K>(pub K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn read(&self, text: &str) -> Result<Self::Value, Refusal> {
        self.0.read(text).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn quote(&self, text: &str) -> String {
        self.0.quote(text)
    }
}

/// Several of a kind, separated by commas or white space; `none` for an empty list.
pub struct List<K>(pub K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn expected(&self) -> String {
        format!("none, or a list, separated by commas, of {}", self.0.expected())
    }

    fn read(&self, text: &str) -> Result<Self::Value, Refusal> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Vec::new());
        }
        text.split(|letter: char| letter == ',' || letter.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(|item| self.0.read(item))
            .collect()
    }

    fn quote(&self, text: &str) -> String {
        self.0.quote(text)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        let texts: Vec<_> = value.iter().filter_map(|item| self.0.show(item)).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}
