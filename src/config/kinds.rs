//! The kinds of numbers, times and switches that a setting can be.
//!
//! Owns: their bounds, how a text is read as one and how one is shown. Refuses: whatever is outside
//! the bounds, with a sentence that says what they are. Texts and secrets are in `texts.rs`, addresses in
//! `addresses.rs`.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::config::{AbuseMode, AddressHeader, LogFormat, Rollout};

/// Why a text was refused beyond "not what is expected"; `None` when there is nothing to add.
pub(super) type Refusal = Option<&'static str>;

/// How a setting's text becomes a value and back.
pub(super) trait Kind {
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
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start:?}…")
}

/// A whole number between two bounds, both included.
pub(super) struct Whole<T>(pub(super) T, pub(super) T);

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
pub(super) struct Limit<T>(pub(super) T);

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
pub(super) struct Positive(pub(super) f64);

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

/// A time in whole milliseconds between two bounds.
pub(super) struct Millis(pub(super) u64, pub(super) u64);

impl Kind for Millis {
    type Value = Duration;

    fn expected(&self) -> String {
        format!("milliseconds, a whole number from {} to {}", self.0, self.1)
    }

    fn read(&self, text: &str) -> Result<Duration, Refusal> {
        Whole(self.0, self.1).read(text).map(Duration::from_millis)
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some(value.as_millis().to_string())
    }
}

/// A time in whole seconds between two bounds.
pub(super) struct Seconds(pub(super) u64, pub(super) u64);

impl Kind for Seconds {
    type Value = Duration;

    fn expected(&self) -> String {
        format!("seconds, a whole number from {} to {}", self.0, self.1)
    }

    fn read(&self, text: &str) -> Result<Duration, Refusal> {
        Whole(self.0, self.1).read(text).map(Duration::from_secs)
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some(value.as_secs().to_string())
    }
}

/// On or off.
pub(super) struct Switch;

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

/// A share of requests.
pub(super) struct Share;

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

/// What is done about abuse.
pub(super) struct Detection;

impl Kind for Detection {
    type Value = AbuseMode;

    fn expected(&self) -> String {
        "on, shadow or off".to_owned()
    }

    fn read(&self, text: &str) -> Result<AbuseMode, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "on" => Ok(AbuseMode::On),
            "shadow" => Ok(AbuseMode::Shadow),
            "off" => Ok(AbuseMode::Off),
            _ => Err(None),
        }
    }

    fn show(&self, value: &AbuseMode) -> Option<String> {
        Some(value.as_str().to_owned())
    }
}

/// The header that names the client.
pub(super) struct NamingHeader;

impl Kind for NamingHeader {
    type Value = AddressHeader;

    fn expected(&self) -> String {
        "forwarded, x-forwarded-for or both".to_owned()
    }

    fn read(&self, text: &str) -> Result<AddressHeader, Refusal> {
        let known = [AddressHeader::Forwarded, AddressHeader::XForwardedFor, AddressHeader::Both];
        known.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(text)).ok_or(None)
    }

    fn show(&self, value: &AddressHeader) -> Option<String> {
        Some(value.as_str().to_owned())
    }
}

/// How much is logged.
pub(super) struct Level;

impl Kind for Level {
    type Value = slog::Level;

    fn expected(&self) -> String {
        "critical, error, warning, info, debug or trace".to_owned()
    }

    fn read(&self, text: &str) -> Result<slog::Level, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "critical" => Ok(slog::Level::Critical),
            "error" => Ok(slog::Level::Error),
            "warning" | "warn" => Ok(slog::Level::Warning),
            "info" => Ok(slog::Level::Info),
            "debug" => Ok(slog::Level::Debug),
            "trace" => Ok(slog::Level::Trace),
            _ => Err(None),
        }
    }

    fn show(&self, value: &slog::Level) -> Option<String> {
        Some(value.as_str().to_ascii_lowercase()).map(|word| match word.as_str() {
            "warn" => "warning".to_owned(),
            _ => word,
        })
    }
}

/// How log lines are written.
pub(super) struct Format;

impl Kind for Format {
    type Value = Option<LogFormat>;

    fn expected(&self) -> String {
        "json, text, or auto (text at a terminal, json elsewhere)".to_owned()
    }

    fn read(&self, text: &str) -> Result<Option<LogFormat>, Refusal> {
        match text.to_ascii_lowercase().as_str() {
            "json" => Ok(Some(LogFormat::Json)),
            "text" => Ok(Some(LogFormat::Text)),
            "auto" => Ok(None),
            _ => Err(None),
        }
    }

    fn show(&self, value: &Option<LogFormat>) -> Option<String> {
        Some(
            match value {
                Some(LogFormat::Json) => "json",
                Some(LogFormat::Text) => "text",
                None => "auto",
            }
            .to_owned(),
        )
    }
}
