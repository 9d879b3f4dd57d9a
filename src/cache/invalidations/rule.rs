//! What one invalidation says: subject, mode and time, and the check of texts from outside.
//!
//! Owns: the text of a rule in the log of changes, `MODE SUBJECT`; its time is that of the change.
//! Refuses: texts that are no rule; they are an error of whoever reads them, never a panic.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::cache::tag;
use crate::clock::Timestamp;

/// Longest key or pattern, in bytes.
pub const LONGEST: usize = 256;
/// How far ahead of this clock another's may be: a rule from further ahead is taken as of this far
/// ahead, or a broken clock would keep everything invalid until its time has come.
pub const SKEW: Duration = Duration::from_secs(10);

/// How thoroughly something is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Served only when nothing newer can be had.
    Soft,
    /// Not served.
    Hard,
}

impl Mode {
    /// The word for it in texts.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

/// What is invalidated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The entry under this key.
    Key(String),
    /// Every entry with this tag.
    Tag(String),
    /// Every entry whose key matches this glob.
    Pattern(String),
    /// Every entry.
    Everything,
}

const EVERYTHING: &str = "everything";

impl Subject {
    /// The entry under a key.
    ///
    /// # Errors
    /// It cannot be a key.
    pub fn key(text: &str) -> Result<Self, NotASubject> {
        if is_printable(text) { Ok(Self::Key(text.to_owned())) } else { Err(NotASubject::Key) }
    }

    /// Every entry with a tag.
    ///
    /// # Errors
    /// It is no tag.
    pub fn tag(text: &str) -> Result<Self, NotASubject> {
        tag::check(text).map_err(NotASubject::Tag)?;
        Ok(Self::Tag(text.to_owned()))
    }

    /// Every entry whose key matches a glob. Only stars are [`Subject::Everything`].
    ///
    /// # Errors
    /// It cannot be a pattern.
    pub fn pattern(text: &str) -> Result<Self, NotASubject> {
        // Redis takes a backslash for an escape, SQL does not.
        if !is_printable(text) || text.contains('\\') {
            return Err(NotASubject::Pattern);
        }
        if text.chars().all(|c| c == '*') {
            return Ok(Self::Everything);
        }
        Ok(Self::Pattern(text.to_owned()))
    }

    /// Its text, the same for ever: `key …`, `tag …`, `pattern …` or `everything`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Key(key) => format!("key {key}"),
            Self::Tag(tag) => format!("tag {tag}"),
            Self::Pattern(pattern) => format!("pattern {pattern}"),
            Self::Everything => EVERYTHING.to_owned(),
        }
    }
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        match text.split_once(' ') {
            Some(("key", key)) => Self::key(key),
            Some(("tag", tag)) => Self::tag(tag),
            Some(("pattern", pattern)) => Self::pattern(pattern),
            None if text == EVERYTHING => Ok(Self::Everything),
            Some(_) | None => Err(NotASubject::Unknown),
        }
    }
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
}

/// A text that names nothing that could be invalidated; to be read after the name of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotASubject {
    /// It cannot be a key.
    Key,
    /// It is no tag.
    Tag(tag::NotATag),
    /// It cannot be a pattern.
    Pattern,
    /// It says neither key, tag, pattern nor everything.
    Unknown,
}

impl NotASubject {
    /// What is wrong.
    #[must_use]
    pub const fn problem(self) -> &'static str {
        match self {
            Self::Key => "is no key",
            Self::Tag(_) => "is no tag",
            Self::Pattern => "is no pattern",
            Self::Unknown => "is no subject",
        }
    }

    /// What would be right.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Key => format!("1 to {LONGEST} bytes without control characters"),
            Self::Tag(problem) => problem.allowed(),
            Self::Pattern => format!(
                "1 to {LONGEST} bytes with *, ? and [a-z], without backslashes and control \
                 characters"
            ),
            Self::Unknown => "key …, tag …, pattern … or everything".to_owned(),
        }
    }
}

impl fmt::Display for NotASubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; allowed: {}", self.problem(), self.allowed())
    }
}

impl std::error::Error for NotASubject {}

/// One invalidation: what of its subject was stored at its time or before is not valid any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    pub subject: Subject,
    pub mode: Mode,
    pub at: Timestamp,
}

impl Rule {
    /// Its text in the log, the same for ever.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {}", self.mode.label(), self.subject.text())
    }

    /// The rule with this text and time, if it is one.
    #[must_use]
    pub fn read(text: &str, at: Timestamp) -> Option<Self> {
        let (mode, subject) = text.split_once(' ')?;
        let mode = [Mode::Soft, Mode::Hard].into_iter().find(|known| known.label() == mode)?;
        Some(Self { subject: subject.parse().ok()?, mode, at })
    }

    /// The rule as it counts here and now, when it comes from elsewhere: not further ahead than
    /// [`SKEW`].
    #[must_use]
    pub fn received(self, now: Timestamp) -> Self {
        Self { at: self.at.min(now.plus(SKEW)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(7);

    #[test]
    fn the_text_stays_as_it_is() {
        let subject = Subject::Tag("product:1".into());
        let rule = Rule { subject, mode: Mode::Soft, at: AT };
        assert_eq!(rule.text(), "soft tag product:1");
        assert_eq!(Rule::read("soft tag product:1", AT), Some(rule));
        let everything = Rule { subject: Subject::Everything, mode: Mode::Hard, at: AT };
        assert_eq!(Rule::read("hard everything", AT), Some(everything));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let long = "x".repeat(LONGEST + 1);
        for subject in [
            "",
            "key",
            "key ",
            "tag product",
            "tag ",
            "Everything",
            "everything ",
            "key a\u{7}",
            "pattern ",
            "pattern a\\*",
            "other x",
            &format!("key {long}"),
        ] {
            assert!(subject.parse::<Subject>().is_err(), "{subject:?}");
            assert_eq!(Rule::read(&format!("hard {subject}"), AT), None, "{subject:?}");
        }
        for text in ["", "hard", "half everything", "everything", "hard  everything"] {
            assert_eq!(Rule::read(text, AT), None, "{text:?}");
        }
    }

    #[test]
    fn only_stars_are_everything() {
        assert_eq!(Subject::pattern("**"), Ok(Subject::Everything));
        assert_eq!(Subject::pattern("*:*"), Ok(Subject::Pattern("*:*".into())));
    }

    #[test]
    fn a_clock_far_ahead_is_not_believed() {
        let now = Timestamp::from_millis(1_000_000);
        let at = |at| {
            let at = Timestamp::from_millis(at);
            let rule = Rule { subject: Subject::Everything, mode: Mode::Soft, at };
            rule.received(now).at.as_millis()
        };
        assert_eq!((at(5), at(1_010_000), at(i64::MAX)), (5, 1_010_000, 1_010_000));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            text in "[ -\\[\\]-~é\"]{1,60}", value in "[!-~é\"]{1,60}", at: i64, hard: bool,
        ) {
            let mode = if hard { Mode::Hard } else { Mode::Soft };
            let subjects = [Subject::key(&text), Subject::tag(&format!("product:{value}")),
                Subject::pattern(&text), Ok(Subject::Everything)];
            for subject in subjects {
                let rule =
                    Rule { subject: subject.unwrap(), mode, at: Timestamp::from_millis(at) };
                prop_assert_eq!(Rule::read(&rule.text(), rule.at), Some(rule));
            }
        }

        #[test]
        fn any_text_is_safe(text in ".{0,200}") {
            drop(Rule::read(&text, AT));
            drop(text.parse::<Subject>());
        }
    }
}
