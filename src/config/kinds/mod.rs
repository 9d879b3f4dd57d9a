//! The kinds of values that a setting can have: numbers, times, switches, choices; texts and
//! addresses in the files below.
//!
//! Owns: bounds, how a text is read as a value and how a value is shown. Refuses: whatever is outside
//! the bounds, with a sentence that says what they are. A room with a kind of its own implements
//! [`Kind`] beside its settings.

mod addresses;
mod texts;

pub use addresses::{Interface, Network, WebAddress, WebOrigin, quoted_address};
pub use texts::{Code, FilePath, List, Optional, SecretWord, Word};

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// Why a text was refused beyond "not what is expected"; `None` when there is nothing to add.
pub type Refusal = Option<String>;

/// How a setting's text becomes a value and back.
pub trait Kind {
    /// What it becomes.
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

/// The text in quotes, cut where it gets too long for a message.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
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

/// A whole number up to a bound, where 0 means that there is no limit.
pub struct Limit<T>(pub T);

impl<T: FromStr + PartialOrd + Display> Kind for Limit<T> {
    type Value = T;

    fn expected(&self) -> String {
        format!("a whole number up to {}, or 0 for no limit", self.0)
    }

    fn read(&self, text: &str) -> Result<T, Refusal> {
        let number: T = text.parse().map_err(|_| None)?;
        if number > self.0 { Err(None) } else { Ok(number) }
    }

    fn show(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

/// A decimal number from a thousandth up to a bound.
pub struct Positive(pub f64);

impl Kind for Positive {
    type Value = f64;

    fn expected(&self) -> String {
        format!("a number from 0.001 to {}", self.0)
    }

    fn read(&self, text: &str) -> Result<f64, Refusal> {
        let number: f64 = text.parse().map_err(|_| None)?;
        // Below a thousandth a wait between two calls would be longer than any deadline.
        if (0.001..=self.0).contains(&number) { Ok(number) } else { Err(None) }
    }

    fn show(&self, value: &f64) -> Option<String> {
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

/// On or off.
pub struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, text: &str) -> Result<bool, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err(None),
        }
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

/// A share of requests for which a feature is on, in percent: 0 is off, 100 is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout(pub u8);

/// A [`Rollout`].
pub struct Share;

impl Kind for Share {
    type Value = Rollout;

    fn expected(&self) -> String {
        "on, off, or a percentage of requests from 0 to 100".to_owned()
    }

    fn read(&self, text: &str) -> Result<Rollout, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" => Ok(Rollout(100)),
            "off" | "false" | "no" => Ok(Rollout(0)),
            number => {
                let digits = number.strip_suffix('%').unwrap_or(number).trim_end();
                Whole(0, 100).read(digits).map(Rollout)
            }
        }
    }

    fn show(&self, value: &Rollout) -> Option<String> {
        Some(match value.0 {
            0 => "off".to_owned(),
            100 => "on".to_owned(),
            percent => format!("{percent}%"),
        })
    }
}

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
