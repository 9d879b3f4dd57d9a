//! What one invalidation says: subject, mode and time, and the check of texts from outside.
//!
//! Owns: the text of a rule in the log of changes, `MODE SUBJECT`; its time is that of the change. A
//! text that is no rule is an error of whoever reads it, never a panic.

use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::cache::entry::Validity;
use crate::cache::key::{LONGEST_TAG, Tag, is_tag};
use crate::clock::Timestamp;

pub const LONGEST: usize = 256;
/// How far ahead of this clock another's may be: a rule from further ahead is taken as of this far
/// ahead, or a broken clock would keep everything invalid until its time has come.
pub const SKEW: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = InvalidationMode)]
pub enum Mode {
    /// Answers with it only when nothing newer can be had.
    Soft,
    /// Does not answer with it.
    Hard,
}

impl Mode {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }
}

/// What is invalidated: the entry under a key, or every entry with a tag, or whose key matches a glob.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Key(String),
    Tag(String),
    Pattern(String),
    Everything,
}

impl Subject {
    const EACH: [Self; 4] = [
        Self::Key(String::new()),
        Self::Tag(String::new()),
        Self::Pattern(String::new()),
        Self::Everything,
    ];

    /// As what an admin's invalidation is counted.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Key(_) => "admin_key",
            Self::Tag(_) => "admin_tag",
            Self::Pattern(_) => "admin_pattern",
            Self::Everything => "admin_all",
        }
    }

    /// As what that of another instance is.
    pub(super) const fn remote_reason(&self) -> &'static str {
        match self {
            Self::Key(_) => "remote_key",
            Self::Tag(_) => "remote_tag",
            Self::Pattern(_) => "remote_pattern",
            Self::Everything => "remote_all",
        }
    }

    /// Every such word.
    pub fn reasons() -> impl Iterator<Item = &'static str> {
        Self::EACH.into_iter().flat_map(|subject| [subject.reason(), subject.remote_reason()])
    }
}

const EVERYTHING: &str = "everything";

impl Subject {
    pub fn key(text: &str) -> Result<Self, NotASubject> {
        if is_printable(text) {
            return Ok(Self::Key(text.to_owned()));
        }
        let allowed = format!("1 to {LONGEST} bytes without control characters");
        Err(NotASubject { problem: "is no key", allowed })
    }

    pub fn tag(text: &str) -> Result<Self, NotASubject> {
        if is_tag(text) {
            return Ok(Self::Tag(text.to_owned()));
        }
        let form = "word:value, such as category:26, up to";
        let allowed = format!("{form} {} bytes without white space", LONGEST_TAG);
        Err(NotASubject { problem: "is no tag", allowed })
    }

    /// A glob of stars only is [`Subject::Everything`].
    pub fn pattern(text: &str) -> Result<Self, NotASubject> {
        // Redis takes a backslash for an escape, SQL does not.
        if !is_printable(text) || text.contains('\\') {
            let signs = "*, ? and [a-z], without backslashes and control characters";
            let allowed = format!("1 to {LONGEST} bytes with {signs}");
            return Err(NotASubject { problem: "is no pattern", allowed });
        }
        if text.chars().all(|c| c == '*') {
            return Ok(Self::Everything);
        }
        Ok(Self::Pattern(text.to_owned()))
    }

    /// Its text, the same for ever: `key …`, `tag …`, `pattern …` or `everything`.
    pub fn text(&self) -> String {
        match self {
            Self::Key(key) => format!("key {key}"),
            Self::Tag(tag) => format!("tag {tag}"),
            Self::Pattern(pattern) => format!("pattern {pattern}"),
            Self::Everything => EVERYTHING.to_owned(),
        }
    }

    /// The number that rules about it are found by: of a tag the one that entries carry, of all else
    /// that of its text, which is no tag.
    pub(in crate::cache) fn number(&self) -> Tag {
        match self {
            Self::Tag(tag) => Tag::of(tag),
            Self::Key(_) | Self::Pattern(_) | Self::Everything => Tag::of(&self.text()),
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
            Some(_) | None => {
                let allowed = "key …, tag …, pattern … or everything".to_owned();
                Err(NotASubject { problem: "is no subject", allowed })
            }
        }
    }
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control)
}

/// A text that names nothing that could be invalidated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotASubject {
    /// To be read after the name of the field.
    pub problem: &'static str,
    pub allowed: String,
}

/// One invalidation: what of its subject was stored at its time or before is not valid any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    pub subject: Subject,
    pub mode: Mode,
    pub at: Timestamp,
}

impl Rule {
    /// Its text in the log, the same for ever.
    pub fn text(&self) -> String {
        format!("{} {}", self.mode.label(), self.subject.text())
    }

    pub fn read(text: &str, at: Timestamp) -> Option<Self> {
        let (mode, subject) = text.split_once(' ')?;
        let mode = [Mode::Soft, Mode::Hard].into_iter().find(|known| known.label() == mode)?;
        Some(Self { subject: subject.parse().ok()?, mode, at })
    }

    /// The rule as it counts here and now, when it comes from elsewhere: not further ahead than
    /// [`SKEW`].
    pub fn received(self, now: Timestamp) -> Self {
        Self { at: self.at.min(now.plus(SKEW)), ..self }
    }
}

/// The two times of a subject: what was stored until then is softly, or hard, invalid; `None` is never.
/// They only ever grow: a clock that steps back cannot make valid again what was invalidated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cutoffs {
    soft: Option<Timestamp>,
    hard: Option<Timestamp>,
}

impl Cutoffs {
    pub(super) fn covers(&self, mode: Mode, at: Timestamp) -> bool {
        match mode {
            Mode::Soft => self.newest() >= Some(at),
            Mode::Hard => self.hard >= Some(at),
        }
    }

    /// The verdict on something stored then. The time itself is hit: of what happened in the same
    /// millisecond nobody knows which came first.
    pub(super) fn judge(&self, stored_at: Timestamp) -> Validity {
        if self.covers(Mode::Hard, stored_at) {
            Validity::Hard
        } else if self.covers(Mode::Soft, stored_at) {
            Validity::Soft
        } else {
            Validity::Valid
        }
    }

    pub(super) fn add(&mut self, mode: Mode, at: Timestamp) -> bool {
        if self.covers(mode, at) {
            return false;
        }
        match mode {
            Mode::Soft => self.soft = Some(at),
            Mode::Hard => self.hard = Some(at),
        }
        self.soft = self.soft.filter(|_| self.soft > self.hard);
        true
    }

    pub(super) fn retain(&mut self, keep: impl Fn(Mode, Timestamp) -> bool) -> bool {
        self.soft = self.soft.filter(|at| keep(Mode::Soft, *at));
        self.hard = self.hard.filter(|at| keep(Mode::Hard, *at));
        self.newest().is_some()
    }

    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.soft.max(self.hard)
    }

    /// The rules they came from, as far as they still count.
    pub(super) fn each(self) -> impl Iterator<Item = (Mode, Timestamp)> {
        let soft = self.soft.map(|at| (Mode::Soft, at));
        soft.into_iter().chain(self.hard.map(|at| (Mode::Hard, at)))
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
