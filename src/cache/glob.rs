//! Patterns over keys: `*`, `?` and `[a-z]`, as Redis and SQLite read them.
//!
//! Owns: the match in memory, so that all three tiers drop the same keys. Backtracks only to the
//! last star, so no pattern takes more than length times length steps.

/// Whether the whole of `text` matches. A bracket that is never closed stands for itself.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
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
