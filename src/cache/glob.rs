//! Patterns over keys: `*`, `?` and `[a-z]`, as Redis and SQLite read them.
//!
//! Owns: the match in memory, so that all three tiers drop the same keys. Backtracks only to the
//! last star, so no pattern takes more than length times length steps.

use std::str::Chars;

/// A pattern.
#[derive(Debug, Clone)]
pub(super) struct Glob(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Exactly(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Part {
    fn accepts(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Exactly(this) => *this == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Reads a pattern; a bracket that is never closed stands for itself.
    pub(super) fn new(pattern: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            let part = match c {
                '*' => Part::Any,
                '?' => Part::One,
                '[' => match read_set(rest.as_str()) {
                    Some((set, after)) => {
                        rest = after.chars();
                        set
                    }
                    None => Part::Exactly('['),
                },
                c => Part::Exactly(c),
            };
            parts.push(part);
        }
        Self(parts)
    }

    /// Whether the whole of `text` matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (mut part, mut rest) = (0, text.chars());
        // The part after the last star, and where in the text that begins.
        let mut star: Option<(usize, Chars<'_>)> = None;
        loop {
            let mut ahead = rest.clone();
            let Some(c) = ahead.next() else { break };
            match self.0.get(part) {
                Some(Part::Any) => {
                    part += 1;
                    star = Some((part, rest.clone()));
                }
                Some(other) if other.accepts(c) => {
                    part += 1;
                    rest = ahead;
                }
                _ => {
                    // Let the last star take one more.
                    let Some((after, from)) = &mut star else { return false };
                    from.next();
                    part = *after;
                    rest = from.clone();
                }
            }
        }
        self.0.iter().skip(part).all(|part| *part == Part::Any)
    }
}

/// Whether a pattern spares hardly anything: it matches at least nine in ten of a `sample` of keys.
/// Judged by what it does rather than by its signs, since `*`, `*:*:*` and `[a-z]*` do the same.
pub fn sweeps(pattern: &str, sample: &[String]) -> bool {
    let glob = Glob::new(pattern);
    let matched = sample.iter().filter(|key| glob.matches(key)).count();
    matched.saturating_mul(10) >= sample.len().saturating_mul(9)
}

fn read_set(text: &str) -> Option<(Part, &str)> {
    let (negated, body) = match text.strip_prefix('^') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let (inside, after) = body.split_once(']')?;
    let mut ranges = Vec::new();
    let mut chars = inside.chars().peekable();
    while let Some(low) = chars.next() {
        let high = if chars.peek() == Some(&'-') {
            chars.next();
            chars.next().unwrap_or('-')
        } else {
            low
        };
        ranges.push((low, high));
    }
    Some((Part::Set { negated, ranges }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_whole_keys() {
        for (pattern, text, expected) in [
            ("*", "aliexpress:search:1f", true),
            ("aliexpress:search:*", "aliexpress:search:1f", true),
            ("aliexpress:search:*", "aliexpress:hot:1f", false),
            ("*:search:*", "aliexpress:search:1f", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "ace", false),
            ("a[", "a[", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_matches_nearly_all_sweeps() {
        let sample: Vec<_> =
            (0..20).map(|number| format!("s:{}:{number:02}", number % 2)).collect();
        for pattern in ["*", "s*", "*:*", "?:?:??", "[a-z]*", "*[0-9]", "s:[^x]:[0-1]*"] {
            assert!(sweeps(pattern, &sample), "{pattern}");
        }
        for pattern in ["", "s", "s:1:*", "*:0?", "*5", "x*", "[^s]*"] {
            assert!(!sweeps(pattern, &sample), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_safe(pattern in ".{0,40}", text in ".{0,80}") {
            let _matched: bool = Glob::new(&pattern).matches(&text);
        }

        /// Against the obvious recursion, on texts short enough for it.
        #[test]
        fn it_matches_what_the_definition_says(
            pattern in "[ab*?]{0,7}", text in "[ab]{0,8}",
        ) {
            fn defined(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], text) => text.is_empty(),
                    ([b'*', rest @ ..], text) => {
                        (0..=text.len()).any(|taken| defined(rest, &text[taken..]))
                    }
                    ([sign, rest @ ..], [c, after @ ..]) => {
                        (*sign == b'?' || sign == c) && defined(rest, after)
                    }
                    (_, []) => false,
                }
            }
            let expected = defined(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }

        #[test]
        fn a_text_without_signs_matches_itself(text in "[a-z0-9:]{0,40}") {
            prop_assert!(Glob::new(&text).matches(&text));
        }
    }
}
