//! What one invalidation says, and the line in which it is stored and sent.
//!
//! Owns: subject, mode and time of a rule, their forms as text, and the check of texts from outside.
//! Refuses: lines that are no rule; they are an error of whoever reads them, never a panic. Fields it
//! does not know are passed over, so that a later version may say more.
//!
//! ```text
//!  {"subject":"tag product:1005001","mode":"soft","at":1764000000000}
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::tag;
use crate::clock::Timestamp;

/// Longest key or pattern, in bytes.
pub const LONGEST: usize = 256;
/// Longest line that is read, in bytes: every character of the longest subject escaped, and the rest.
const LONGEST_LINE: usize = 6 * LONGEST + 256;
/// How far ahead of this clock another's may be: a rule from further ahead is taken as of this far
/// ahead, or a broken clock would keep everything invalid until its time has come.
pub const SKEW: Duration = Duration::from_secs(10);

/// How thoroughly something is invalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl TryFrom<String> for Subject {
    type Error = NotASubject;

    fn try_from(text: String) -> Result<Self, NotASubject> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.text()
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// What is invalidated.
    pub subject: Subject,
    /// How thoroughly.
    pub mode: Mode,
    /// When.
    pub at: Timestamp,
}

impl Rule {
    /// The subject as text, the same for ever; see [`Rule::times`].
    #[must_use]
    pub fn subject_text(&self) -> String {
        self.subject.text()
    }

    /// Its soft and its hard time, for a table with one row for each subject that keeps the latest
    /// of both; a time that it does not set is 0.
    #[must_use]
    pub fn times(&self) -> (Timestamp, Timestamp) {
        let never = Timestamp::default();
        match self.mode {
            Mode::Soft => (self.at, never),
            Mode::Hard => (never, self.at),
        }
    }

    /// The rules that such a row stands for.
    ///
    /// # Errors
    /// The text is no subject.
    pub fn of_times(
        subject: &str,
        soft: Timestamp,
        hard: Timestamp,
    ) -> Result<Vec<Self>, NotASubject> {
        let subject: Subject = subject.parse()?;
        let rule = |(mode, at)| Self { subject: subject.clone(), mode, at };
        let set = [(Mode::Soft, soft), (Mode::Hard, hard)].into_iter();
        Ok(set.filter(|(_, at)| *at > Timestamp::default()).map(rule).collect())
    }

    /// The rule as it counts here and now, when it comes from elsewhere: not further ahead than
    /// [`SKEW`].
    #[must_use]
    pub fn received(self, now: Timestamp) -> Self {
        Self { at: self.at.min(now.plus(SKEW)), ..self }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&line)
    }
}

impl FromStr for Rule {
    type Err = NotARule;

    fn from_str(line: &str) -> Result<Self, NotARule> {
        if line.len() > LONGEST_LINE {
            return Err(NotARule(format!("longer than {LONGEST_LINE} bytes")));
        }
        serde_json::from_str(line).map_err(|error| NotARule(error.to_string()))
    }
}

/// A line that is no rule, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotARule(String);

impl fmt::Display for NotARule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an invalidation: {}", self.0)
    }
}

impl std::error::Error for NotARule {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(subject: Subject, at: i64) -> Rule {
        Rule { subject, mode: Mode::Soft, at: Timestamp::from_millis(at) }
    }

    #[test]
    fn the_line_stays_as_it_is() {
        let line = r#"{"subject":"tag product:1","mode":"soft","at":7}"#;
        let tagged = rule(Subject::Tag("product:1".into()), 7);
        assert_eq!(tagged.to_string(), line);
        assert_eq!(line.parse(), Ok(tagged));
        let later = r#"{"by":"x","at":-7,"mode":"hard","subject":"everything"}"#;
        let expected = Rule { mode: Mode::Hard, ..rule(Subject::Everything, -7) };
        assert_eq!(later.parse(), Ok(expected));
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
            let line = serde_json::json!({"subject": subject, "mode": "hard", "at": 1});
            assert!(line.to_string().parse::<Rule>().is_err(), "{line}");
        }
        let endless = format!("{{\"subject\":\"everything\",\"x\":\"{}\"", long.repeat(10));
        for line in [
            "",
            "{}",
            "null",
            "[]",
            "tag product:1",
            r#"{"subject":"everything","mode":"hard"}"#,
            r#"{"subject":"everything","mode":"half","at":1}"#,
            r#"{"subject":"everything","mode":"hard","at":1.5}"#,
            r#"{"subject":"everything","mode":"hard","at":99999999999999999999}"#,
            r#"{"subject":7,"mode":"hard","at":1}"#,
            r#"{"subject":"everything","mode":"hard","at":1} x"#,
            &endless,
        ] {
            assert!(line.parse::<Rule>().is_err(), "{line:?}");
        }
    }

    #[test]
    fn only_stars_are_everything() {
        assert_eq!(Subject::pattern("**"), Ok(Subject::Everything));
        assert_eq!(Subject::pattern("*:*"), Ok(Subject::Pattern("*:*".into())));
    }

    #[test]
    fn a_row_stands_for_its_rules() {
        let at = Timestamp::from_millis;
        let read = |soft, hard| Rule::of_times("tag t:1", at(soft), at(hard)).unwrap();
        for rule in read(5, 7) {
            let (soft, hard) = rule.times();
            assert_eq!(Rule::of_times(&rule.subject_text(), soft, hard), Ok(vec![rule]));
        }
        assert_eq!((read(5, 7).len(), read(0, 7).len(), read(0, 0).len()), (2, 1, 0));
        assert!(Rule::of_times("tags t:1", at(1), at(1)).is_err());
    }

    #[test]
    fn a_clock_far_ahead_is_not_believed() {
        let now = Timestamp::from_millis(1_000_000);
        let at = |at| rule(Subject::Everything, at).received(now).at.as_millis();
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
                let subject = subject.unwrap();
                prop_assert_eq!(subject.text().parse::<Subject>(), Ok(subject.clone()));
                let rule = Rule { subject, mode, at: Timestamp::from_millis(at) };
                prop_assert!(!rule.to_string().contains('\n'));
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
            }
        }

        #[test]
        fn any_text_is_safe(text in ".{0,200}", bytes: Vec<u8>) {
            drop(text.parse::<Rule>());
            drop(text.parse::<Subject>());
            drop(String::from_utf8_lossy(&bytes).parse::<Rule>());
        }

        #[test]
        fn any_damage_to_a_line_is_safe(at: prop::sample::Index, with: char) {
            let line = r#"{"subject":"tag product:1","mode":"soft","at":7}"#;
            let at = at.index(line.len());
            drop(format!("{}{with}{}", &line[..at], &line[at + 1..]).parse::<Rule>());
            drop(line[..at].parse::<Rule>());
        }
    }
}
