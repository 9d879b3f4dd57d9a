//! The name of a cached answer, what the answer is about, and patterns over names.
//!
//! Owns: both types and their hashes, and the match in memory: all three tiers drop the same keys.
//! What goes into a key is the caller's business: two requests that mean the same must give the same
//! parts, and no others may. A tag names a product, a category, or the operation that made the answer;
//! its number never changes, because entries outlive the process. Two tags with one number (1 in 2^64)
//! are invalidated together, which costs a refresh and nothing else.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Bytes of the digest that are kept: 128 bits are beyond accidental collision.
const KEPT: usize = 16;

/// `{service}:{operation}:{hash}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// The key of what `parts` say, in this order.
    pub fn of<'a>(
        service: &str,
        operation: &str,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of texts look the same.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let kept = hash.finalize().into_iter().take(KEPT);
        let number = kept.fold(0_u128, |number, byte| (number << 8) | u128::from(byte));
        Self::new(format!("{service}:{operation}:{number:032x}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) const LONGEST_TAG: usize = 128;
/// Most tags of one entry; more are not kept. A full page of products has about a hundred.
pub(super) const MOST_TAGS: usize = 256;

/// The first 64 bits of the SHA-256 of `bytes`: the same in every process, fit to be stored and sent.
pub fn digest(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    /// The tag of a text such as `product:1005001`.
    pub fn of(text: &str) -> Self {
        Self(digest(text.as_bytes()))
    }

    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Whether `text` has the form of a tag: `word:value`, without white space or control characters.
pub(super) fn is_tag(text: &str) -> bool {
    let (word, value) = text.split_once(':').unwrap_or((text, ""));
    let named = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let valued = !value.is_empty() && !value.chars().any(|c| c.is_whitespace() || c.is_control());
    named && valued && text.len() <= LONGEST_TAG
}

/// Whether the whole of `text` matches a glob of `*`, `?` and `[a-z]`, as Redis and SQLite read it. A
/// bracket that is never closed stands for itself. Backtracks only to the last star, so no pattern
/// takes more than length times length steps.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last star, and where in the text that begins.
    let mut star: Option<(&str, &str)> = None;
    while let Some((c, after)) = first(text) {
        if let Some(behind) = pattern.strip_prefix('*') {
            star = Some((behind, text));
            pattern = behind;
        } else if let Some(behind) = accepts(pattern, c) {
            (pattern, text) = (behind, after);
        } else {
            // The last star takes one more.
            let Some((behind, from)) = star else { return false };
            let Some((_, from)) = first(from) else { return false };
            star = Some((behind, from));
            (pattern, text) = (behind, from);
        }
    }
    pattern.chars().all(|sign| sign == '*')
}

/// What every text begins with that matches `pattern`.
pub(super) fn literal_beginning(pattern: &str) -> &str {
    pattern.split(['*', '?', '[']).next().unwrap_or_default()
}

/// Whether a pattern spares hardly anything: it matches at least nine in ten of a `sample` of keys.
/// Judged by what it does rather than by its signs, since `*`, `*:*:*` and `[a-z]*` do the same.
pub fn sweeps(pattern: &str, sample: &[String]) -> bool {
    let matched = sample.iter().filter(|key| matches(pattern, key)).count();
    matched.saturating_mul(10) >= sample.len().saturating_mul(9)
}

fn first(text: &str) -> Option<(char, &str)> {
    let mut chars = text.chars();
    Some((chars.next()?, chars.as_str()))
}

/// The rest of a pattern whose first sign, which is no star, accepts `c`.
fn accepts(pattern: &str, c: char) -> Option<&str> {
    let (sign, rest) = first(pattern)?;
    let set = if sign == '[' { rest.split_once(']') } else { None };
    match set {
        Some((set, rest)) => is_in(set, c).then_some(rest),
        None => (sign == '?' || sign == c).then_some(rest),
    }
}

fn is_in(set: &str, c: char) -> bool {
    let (negated, mut set) = set.strip_prefix('^').map_or((false, set), |set| (true, set));
    let mut found = false;
    while let Some((low, rest)) = first(set) {
        let range = rest.strip_prefix('-').map(|rest| first(rest).unwrap_or(('-', "")));
        let (high, rest) = range.unwrap_or((low, rest));
        found |= (low..=high).contains(&c);
        set = rest;
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_names_service_and_operation() {
        let key = CacheKey::of("things", "search", ["a"]);
        let parts: Vec<_> = key.as_str().split(':').collect();
        assert_eq!((parts[0], parts[1], parts[2].len()), ("things", "search", 32));
        assert!(parts[2].bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    proptest! {
        #[test]
        fn equal_keys_mean_equal_parts(a in prop::collection::vec("[ab]{0,2}", 0..4), b in prop::collection::vec("[ab]{0,2}", 0..4)) {
            let key = |parts: &[String]| CacheKey::of("s", "o", parts.iter().map(String::as_str));
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }

    #[test]
    fn a_tags_number_never_changes() {
        assert_eq!(Tag::of("product:1005001"), Tag::of("product:1005001"));
        assert_ne!(Tag::of("product:1"), Tag::of("category:1"));
        assert_eq!(Tag::of("product:1").number(), FIRST);
    }

    /// Written into stored entries: if this changes, the version of the envelope must.
    const FIRST: u64 = 0x4e91_69c6_ab5a_8135;

    #[test]
    fn only_word_and_value_are_a_tag() {
        for fine in ["product:1", "category:7", "operation:search", "a_b:x:y"] {
            assert!(is_tag(fine), "{fine}");
        }
        let long = format!("product:{}", "1".repeat(LONGEST_TAG));
        for wrong in ["", "product", "product:", ":1", "Product:1", "product:1 2", "a:\n", &long] {
            assert!(!is_tag(wrong), "{wrong:?}");
        }
    }

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
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
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
            let _matched: bool = matches(&pattern, &text);
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
            prop_assert_eq!(matches(&pattern, &text), expected);
        }

        #[test]
        fn a_text_without_signs_matches_itself(text in "[a-z0-9:]{0,40}") {
            prop_assert!(matches(&text, &text));
        }
    }
}
