//! How long the gateway asks us to wait.
//!
//! Owns: the two sentences that are known to carry seconds. There is no Retry-After header, so
//! this is the one thing taken from a text. Refuses: absurd waits; they are brought within bounds.

use std::time::Duration;

/// Shortest wait: "0 seconds" is a rounding, and calling again at once would prolong the ban.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);

/// Longest wait: quotas are daily, so a longer ban is a misread text.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait in `ban will last 3 seconds` or `ban will last for 3 more seconds`, whatever the case,
/// between [`SHORTEST`] and [`LONGEST`]; `None` when the text has neither.
pub(super) fn requested(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    text.match_indices("ban will last ").find_map(|(start, opening)| {
        let rest = text.get(start + opening.len()..)?.trim_start();
        seconds(rest).map(|wait| wait.clamp(SHORTEST, LONGEST))
    })
}

/// Reads `3 seconds`, `1 second`, `for 3 more seconds` from the start of `text`.
fn seconds(text: &str) -> Option<Duration> {
    let text = text.strip_prefix("for ").unwrap_or(text).trim_start();
    let end = text.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let (digits, rest) = text.split_at_checked(end)?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("more ").unwrap_or(rest).trim_start();
    // Only digits are left: what does not fit is larger than any bound.
    rest.starts_with("second").then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(n: u64) -> Option<Duration> {
        Some(Duration::from_secs(n))
    }

    #[test]
    fn both_sentences_are_read() {
        let current = "Api access frequency exceeds the limit. this ban will last 1 seconds";
        assert_eq!(requested(current), secs(1));
        assert_eq!(requested("This ban will last for 1 more seconds"), secs(1));
        assert_eq!(requested("This ban will last for 31062 more seconds"), secs(31_062));
        assert_eq!(requested("THIS BAN WILL LAST 1 SECOND."), secs(1));
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(requested("this ban will last 0 seconds"), Some(SHORTEST));
        assert_eq!(requested("this ban will last 999999999 seconds"), Some(LONGEST));
        assert_eq!(
            requested("this ban will last 99999999999999999999999999 seconds"),
            Some(LONGEST)
        );
    }

    #[test]
    fn other_texts_say_nothing() {
        for text in [
            "",
            "App Call Limited",
            "wait 3 seconds",
            "ban will last",
            "ban will last ",
            "ban will last for ever",
            "ban will last -3 seconds",
            "ban will last seconds",
            "ban will last 3",
            "ban will last 3 minutes",
            "ban will last for more seconds",
        ] {
            assert_eq!(requested(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_sentence_that_has_seconds_counts() {
        assert_eq!(requested("ban will last long; the ban will last 7 seconds"), secs(7));
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_any_wait_is_bounded(text in ".{0,60}", n in any::<u64>()) {
            prop_assert!(requested(&text).is_none_or(|wait| (SHORTEST..=LONGEST).contains(&wait)));
            let wait = requested(&format!("{text} this ban will last for {n} more seconds {text}"));
            prop_assert_eq!(wait, Some(Duration::from_secs(n).clamp(SHORTEST, LONGEST)));
        }
    }
}
