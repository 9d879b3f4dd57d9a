//! What was probably meant by a key, a tag or a pattern that matches nothing.
//!
//! Owns: which keys and tags the services can make, and the nearest one to what was given. Decides from
//! the names alone: whether anything is kept under them is found out elsewhere.

use serde::Serialize;
use utoipa::ToSchema;

use crate::cache::{CacheKey, Subject, matches};
use crate::http::forms::{nearest, shown};
use crate::http::service::Surface;

/// Digits of the last part of a key.
const DIGITS: usize = 32;

/// Why nothing is matched, and what may have been meant.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NothingMatched {
    /// Whether there can never be such a key or tag.
    pub impossible: bool,
    pub reason: String,
    /// To be sent in place of what was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suggestion {
    Key(String),
    Tag(String),
    Pattern(String),
}

/// The names that keys and tags of all services are made of.
#[derive(Debug, Default)]
pub struct Names {
    /// Service, operation and kind.
    operations: Vec<(&'static str, &'static str, &'static str)>,
    about: Vec<(&'static str, &'static [&'static str])>,
}

impl Names {
    pub fn of(surfaces: impl Iterator<Item = &'static Surface>) -> Self {
        let mut names = Self::default();
        for surface in surfaces {
            let operations = surface.operations.iter();
            names.operations.extend(operations.map(|(name, kind)| (surface.name, *name, *kind)));
            names.about.extend(surface.about);
        }
        names
    }

    /// The kind of what is kept under a key.
    pub fn kind(&self, key: &str) -> Option<&'static str> {
        let mut parts = key.split(':');
        let (service, operation) = (parts.next()?, parts.next()?);
        let known = self.operations.iter().find(|known| (known.0, known.1) == (service, operation));
        known.map(|(.., kind)| *kind)
    }

    /// The tags that any answer may have, whatever it is about; and the words of all others.
    pub fn tags(&self) -> (Vec<String>, Vec<&'static str>) {
        let fixed = self
            .about
            .iter()
            .flat_map(|(word, values)| values.iter().map(move |value| format!("{word}:{value}")));
        let words = self.about.iter().filter(|(_, values)| values.is_empty());
        (fixed.collect(), words.map(|(word, _)| *word).collect())
    }

    /// Keys as there could be, some of every operation: what a pattern does to them is what it would do
    /// to a full cache.
    pub fn sample_keys(&self) -> Vec<String> {
        let of_one = |(service, operation, _): &(&str, &str, &str)| {
            let key = |number: u32| CacheKey::of(service, operation, [&*number.to_string()]);
            (0..16).map(|number| key(number).to_string()).collect::<Vec<_>>()
        };
        self.operations.iter().flat_map(of_one).collect()
    }

    /// What is to be told when nothing is matched by all of `subjects`; `complete` if all was looked at.
    pub fn nothing(&self, subjects: &[Subject], complete: bool) -> NothingMatched {
        let mut told = self.nothing_of(subjects);
        if !told.impossible && !complete {
            told.reason.push_str(", as far as could be looked");
        }
        told
    }

    fn nothing_of(&self, subjects: &[Subject]) -> NothingMatched {
        let mut told = subjects.iter().map(|subject| match subject {
            Subject::Key(key) => self.key(key),
            Subject::Tag(tag) => self.tag(tag),
            Subject::Pattern(pattern) => self.pattern(pattern),
            Subject::Everything => possible("nothing is kept"),
        });
        let first = told.next().unwrap_or_else(|| possible("nothing is kept"));
        if first.impossible {
            return first;
        }
        match told.next() {
            Some(second) if second.impossible => second,
            Some(_) => possible("no entry matches both"),
            None => first,
        }
    }

    fn tag(&self, tag: &str) -> NothingMatched {
        let (word, value) = tag.split_once(':').unwrap_or((tag, ""));
        let words: Vec<&str> = self.about.iter().map(|(word, _)| *word).collect();
        let Some((_, values)) = self.about.iter().find(|(known, _)| *known == word) else {
            let reason = format!(
                "no answer has a tag that begins with `{}:`; there are {}",
                shown(word),
                words.join(", ")
            );
            let by_word = || nearest(word, &words).map(|word| format!("{word}:{value}"));
            let suggestion = self.as_key_or_pattern(tag).or_else(|| by_word().map(Suggestion::Tag));
            let operation = || self.operation(word).map(|name| format!("operation:{name}"));
            let suggestion = suggestion.or_else(|| {
                let tag = operation().filter(|_| words.contains(&"operation"));
                tag.map(Suggestion::Tag)
            });
            return impossible(reason, suggestion);
        };
        if value.contains(['*', '?']) {
            let reason = "a tag is compared as a whole: no sign in it stands for others".to_owned();
            return impossible(reason, None);
        }
        let number = value.trim_start_matches('0').split(|c: char| !c.is_ascii_digit()).next();
        if values.is_empty() && number != Some(value) {
            let near = number.filter(|number| !number.is_empty());
            let near = near.map(|number| Suggestion::Tag(format!("{word}:{number}")));
            return impossible(format!("`{word}:` is followed by a number"), near);
        }
        if values.is_empty() || values.contains(&value) {
            return possible(format!("no entry has the tag `{}`", shown(tag)));
        }
        let reason =
            format!("there is no such tag; `{word}:` is followed by {}", values.join(", "));
        let near = self.operation(value).filter(|name| values.contains(name));
        let near = near.or_else(|| nearest(value, values).copied());
        impossible(reason, near.map(|value| Suggestion::Tag(format!("{word}:{value}"))))
    }

    fn key(&self, key: &str) -> NothingMatched {
        let parts: Vec<&str> = key.split(':').collect();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let [service, operation, hash] = *parts
            && self.operations.iter().any(|known| (known.0, known.1) == (service, operation))
            && hash.len() == DIGITS
            && digits(hash)
            && hash == hash.to_ascii_lowercase()
        {
            return possible("nothing is kept under this key");
        }
        let meant = self.meant(&parts).and_then(|meant| {
            let (before, hash) = meant.rsplit_once(':')?;
            Some(if hash.contains(['*', '?', '[']) {
                Suggestion::Pattern(meant)
            } else if !digits(hash) || hash.len() > DIGITS {
                Suggestion::Pattern(format!("{before}:*"))
            } else if hash.len() < DIGITS {
                Suggestion::Pattern(format!("{meant}*"))
            } else {
                Suggestion::Key(meant)
            })
        });
        let suggestion = self.as_tag(key).or(meant);
        impossible(format!("no entry can have this key: {}", self.form()), suggestion)
    }

    fn pattern(&self, pattern: &str) -> NothingMatched {
        if self.can_match(pattern) {
            return possible("no key that is held matches it");
        }
        let parts: Vec<&str> = pattern.split(':').collect();
        let meant = self.meant(&parts).filter(|meant| meant != pattern && self.can_match(meant));
        let suggestion = self.as_tag(pattern).or_else(|| meant.map(Suggestion::Pattern));
        impossible(format!("no key can match it: {}", self.form()), suggestion)
    }

    fn form(&self) -> String {
        let named: Vec<_> = self.operations.iter().map(|of| format!("{}:{}", of.0, of.1)).collect();
        format!("keys are one of {}, then `:` and {DIGITS} hexadecimal digits", named.join(", "))
    }

    /// Whether a key that there could be matches. Of the digits only the sign is looked at.
    fn can_match(&self, pattern: &str) -> bool {
        let parts: Vec<&str> = pattern.split(':').collect();
        let fits = |service: &str, operation: &str| match *parts {
            [first, second, hash] if !pattern.contains('[') => {
                let digits = |sign: u8| b"0123456789abcdef*?".contains(&sign);
                let length = hash.bytes().filter(|sign| *sign != b'*').count();
                let long = length == DIGITS || (length < DIGITS && hash.contains('*'));
                let is_hash = long && hash.bytes().all(digits);
                is_hash && matches(first, service) && matches(second, operation)
            }
            _ => false,
        };
        self.operations.iter().any(|known| fits(known.0, known.1))
            || self.sample_keys().iter().any(|key| matches(pattern, key))
    }

    /// The pattern whose parts are the known names that are most like `parts`; of less than three parts
    /// the others are stars.
    fn meant(&self, parts: &[&str]) -> Option<String> {
        let bare = |part: &str| part.trim_matches('*').to_owned();
        let service = |part: &str| {
            let services: Vec<&str> = self.operations.iter().map(|known| known.0).collect();
            let glob = part.contains(['*', '?', '[']);
            if glob && services.iter().any(|service| matches(part, service)) {
                return Some(part.to_owned());
            }
            nearest(&bare(part), &services).map(|name| (*name).to_owned())
        };
        let operation = |part: &str| {
            let glob = part.contains(['*', '?', '[']);
            if glob && self.operations.iter().any(|known| matches(part, known.1)) {
                return Some(part.to_owned());
            }
            self.operation(&bare(part)).map(str::to_owned)
        };
        match *parts {
            [one] => Some(format!("*:{}:*", self.operation(&bare(one))?)),
            [first, second] if !bare(second).is_empty() => match operation(second) {
                Some(operation) => Some(format!("{}:{}:*", service(first)?, bare(&operation))),
                None => Some(format!("*:{}:{second}", self.operation(&bare(first))?)),
            },
            [first, _] => Some(format!("*:{}:*", self.operation(&bare(first))?)),
            [first, second, hash] => {
                let hash = if hash.is_empty() { "*".to_owned() } else { hash.to_ascii_lowercase() };
                Some(format!("{}:{}:{hash}", service(first)?, operation(second)?))
            }
            // As the key is called in Redis, with more before it.
            [_, ref last @ ..] => self.meant(last),
            [] => None,
        }
    }

    /// The operation that is called so, or whose kind is, or whose name is the most like it.
    fn operation(&self, name: &str) -> Option<&'static str> {
        let of_kind = self.operations.iter().find(|known| known.2 == name);
        let names: Vec<&str> = self.operations.iter().map(|known| known.1).collect();
        let named = names.iter().find(|known| **known == name).copied();
        let named = named.or_else(|| of_kind.map(|known| known.1));
        named.or_else(|| nearest(name, &names).copied())
    }

    /// A key or pattern that was given as a tag.
    fn as_key_or_pattern(&self, text: &str) -> Option<Suggestion> {
        if !self.can_match(text) {
            return None;
        }
        let is_pattern = text.contains(['*', '?']);
        Some(if is_pattern {
            Suggestion::Pattern(text.to_owned())
        } else {
            Suggestion::Key(text.to_owned())
        })
    }

    /// A tag that was given as a key or a pattern.
    fn as_tag(&self, text: &str) -> Option<Suggestion> {
        let (word, value) = text.split_once(':')?;
        let (_, values) = self.about.iter().find(|(known, _)| *known == word)?;
        let number = || !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let is_tag = if values.is_empty() { number() } else { values.contains(&value) };
        is_tag.then(|| Suggestion::Tag(text.to_owned()))
    }
}

fn possible(reason: impl Into<String>) -> NothingMatched {
    NothingMatched { impossible: false, reason: reason.into(), suggestion: None }
}

const fn impossible(reason: String, suggestion: Option<Suggestion>) -> NothingMatched {
    NothingMatched { impossible: true, reason, suggestion }
}

#[cfg(test)]
mod tests {
    use super::Suggestion::{Key, Pattern, Tag};
    use super::*;

    fn names() -> Names {
        Names {
            operations: vec![
                ("things", "search", "search"),
                ("things", "details", "thing"),
                ("things", "lists", "list"),
            ],
            about: vec![("thing", &[]), ("operation", &["search", "details", "lists"])],
        }
    }

    #[test]
    fn what_cannot_be_is_told_with_what_was_meant() {
        let hash = "0123456789abcdef0123456789abcdef";
        let key = |operation: &str| format!("things:{operation}:{hash}");
        for (given, meant) in [
            ("tag thng:7", Some(Tag("thing:7".into()))),
            ("tag operation:serach", Some(Tag("operation:search".into()))),
            ("tag operation:thing", Some(Tag("operation:details".into()))),
            ("tag search:usb", Some(Tag("operation:search".into()))),
            ("tag things:search:*", Some(Pattern("things:search:*".into()))),
            (&format!("tag {}", key("search")), Some(Key(key("search")))),
            ("tag thing:*", None),
            ("tag thing:007", Some(Tag("thing:7".into()))),
            ("tag thing:7.html", Some(Tag("thing:7".into()))),
            ("tag thing:round", None),
            ("tag zzz:7", None),
            ("key thing:7", Some(Tag("thing:7".into()))),
            ("key things:search", Some(Pattern("things:search:*".into()))),
            ("key things:search:1f", Some(Pattern("things:search:1f*".into()))),
            ("key things:search:*", Some(Pattern("things:search:*".into()))),
            ("key things:search:nothing", Some(Pattern("things:search:*".into()))),
            (&format!("key {}", key("serach")), Some(Key(key("search")))),
            (&format!("key {}", key("search").to_uppercase()), Some(Key(key("search")))),
            ("key x", None),
            ("pattern thing:search:*", Some(Pattern("things:search:*".into()))),
            ("pattern entries:2:e:things:search:*", Some(Pattern("things:search:*".into()))),
            ("pattern *:serach:*", Some(Pattern("*:search:*".into()))),
            ("pattern search:*", Some(Pattern("*:search:*".into()))),
            ("pattern *search", Some(Pattern("*:search:*".into()))),
            ("pattern things:thing:*", Some(Pattern("things:details:*".into()))),
            ("pattern thing:7", Some(Tag("thing:7".into()))),
            ("pattern nothing-at-all:*", None),
        ] {
            let told = names().nothing(&[given.parse().unwrap()], true);
            assert!(told.impossible && !told.reason.is_empty(), "{given}: {told:?}");
            assert_eq!(told.suggestion, meant, "{given}");
        }
    }

    #[test]
    fn what_can_be_and_is_not_there_has_no_suggestion() {
        let hash = "0123456789abcdef0123456789abcdef";
        for given in [
            "tag thing:7",
            "tag operation:search",
            &format!("key things:search:{hash}"),
            "pattern things:search:*",
            "pattern things:search:1f*",
            "pattern *:lists:*",
            "pattern *",
            "everything",
        ] {
            let told = names().nothing(&[given.parse().unwrap()], true);
            assert!(!told.impossible && told.suggestion.is_none(), "{given}: {told:?}");
        }
        let both = ["tag thing:7", "pattern *:serach:*"].map(|text| text.parse().unwrap());
        assert!(names().nothing(&both, true).impossible, "the one that cannot be is told");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text in "[ -~é]{1,60}") {
            for subject in [Subject::key(&text), Subject::tag(&text), Subject::pattern(&text)] {
                drop(subject.map(|subject| names().nothing(&[subject], true)));
            }
        }
    }
}
