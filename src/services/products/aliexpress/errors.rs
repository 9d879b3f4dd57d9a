//! The error table: what the gateway and the method behind it say went wrong.
//!
//! Owns: the codes and what they mean. Decided by code, then by sub_code, then by type, then by
//! `resp_code`. Refuses: to decide by texts but for three: how long a ban lasts, which is a throttle
//! whatever the code, an IP allow-list, and that a gateway "has been offline". Whatever the table does
//! not list is read so that no client can open the breaker with a parameter the upstream dislikes; whose
//! fault it is nobody knows. Has no neighbour.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{faults, read};
use crate::config::said;
use crate::origin::{Blame, Misconfiguration, Outcome};

/// The words of a gateway that was switched off.
pub(super) const OFFLINE: &str = "has been offline";

/// What one row of the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// Wait the seconds in the text.
    Throttled,
    /// Trying again is useless; who has to act.
    Permanent(Blame),
    /// Try again.
    Transient,
}

impl ErrorClass {
    pub(super) fn outcome<T>(self, wait: Option<Duration>, reason: String) -> Outcome<T> {
        match self {
            Self::Throttled => Outcome::Throttled { wait, reason },
            Self::Permanent(blame) => Outcome::Permanent { blame, reason },
            Self::Transient => Outcome::Transient { reason },
        }
    }
}

const APP_KEY: ErrorClass = wrong(faults::APP_KEY);
const SIGNATURE: ErrorClass = wrong(faults::SIGNATURE);
const GATEWAY: ErrorClass = wrong(faults::GATEWAY);
const CLOCK: ErrorClass = wrong(faults::CLOCK);
const PERMISSION: ErrorClass = wrong(faults::PERMISSION);
const ALLOW_LIST: ErrorClass = wrong(faults::IP_ALLOW_LIST);
const CALLER: ErrorClass = ErrorClass::Permanent(Blame::Caller);
const UNKNOWN: ErrorClass = ErrorClass::Permanent(Blame::Unknown);

const fn wrong(setting: Misconfiguration) -> ErrorClass {
    ErrorClass::Permanent(Blame::Configuration(setting))
}

/// Codes that decide alone, beside those with [`WORDS`] in them. 15 is not among them: it says "ask the
/// sub_code".
const CODES: &[(&str, ErrorClass)] = &[
    ("7", ErrorClass::Throttled),
    ("8", ErrorClass::Throttled),
    ("901", ErrorClass::Throttled),
    ("IncompleteSignature", SIGNATURE),
    ("25", SIGNATURE),
    ("InvalidAppKey", APP_KEY),
    ("29", APP_KEY),
    ("InvalidApiPath", GATEWAY),
    ("IllegalTimestamp", CLOCK),
    ("InvalidTimestamp", CLOCK),
    ("30", CLOCK),
    ("31", CLOCK),
    ("InsufficientPermission", PERMISSION),
    ("InsufficientISVPermissions", PERMISSION),
    ("11", PERMISSION),
    ("12", PERMISSION),
    ("13", PERMISSION),
    ("42", PERMISSION),
    ("MissingParameter", CALLER),
    ("InvalidParameter", CALLER),
    ("40", CALLER),
    ("41", CALLER),
    ("43", CALLER),
    ("ServiceTimeout", ErrorClass::Transient),
    ("UnknownRuntimeException", ErrorClass::Transient),
    ("10", ErrorClass::Transient),
];

/// What a code or a sub_code means by what stands in it, without case and punctuation: gateways have
/// many names for a call limit (`AppCallLimit`, `SellerCallLimit`, `isv.api-call-limit`).
const WORDS: &[(&str, ErrorClass)] = &[
    ("calllimit", ErrorClass::Throttled),
    ("flowlimit", ErrorClass::Throttled),
    ("whiteip", ALLOW_LIST),
    ("ipwhite", ALLOW_LIST),
    ("whitelist", ALLOW_LIST),
    ("allowlist", ALLOW_LIST),
];

/// What a sub_code means by its beginning; the first that fits wins, so the general ones come last.
/// `isv.*` is "the partner's fault", which may be the client's or the operator's.
const SUB_CODES: &[(&str, ErrorClass)] = &[
    ("accesscontrol.limited-by-", ErrorClass::Throttled),
    ("HTTP_INVOKE_LIMITED", ErrorClass::Throttled),
    ("isv.invalid-signature", SIGNATURE),
    ("isv.invalid-appkey", APP_KEY),
    ("isv.permission-deny", PERMISSION),
    ("isp.", ErrorClass::Transient),
    ("isv.invalid-parameter", CALLER),
    ("isv.missing-parameter", CALLER),
    ("isv.", UNKNOWN),
];

/// What a type means when neither code nor sub_code is known.
const TYPES: &[(&str, ErrorClass)] =
    &[("ISV", UNKNOWN), ("ISP", ErrorClass::Transient), ("SYSTEM", ErrorClass::Transient)];

/// An error of the gateway, as found in an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayError<'a>(&'a Map<String, Value>);

impl<'a> GatewayError<'a> {
    /// The gateway's error in an answer, if there is one: under `error_response`, or the same fields at
    /// the root.
    ///
    /// `has_body` says that a method's answer is there too: then fields at the root are an error only
    /// if their code is one the table knows (`"code":"0"` beside the root key means success), or they
    /// say how long a ban lasts.
    pub(super) fn find(root: &'a Value, has_body: bool) -> Option<Self> {
        let root = root.as_object()?;
        if let Some(fields) = root.get("error_response").and_then(Value::as_object) {
            return Some(Self(fields));
        }
        let error = Self(root);
        let is_error = match error.text("code").as_deref() {
            Some(code) if has_body => {
                of_code(code).is_some() || code == "15" || error.wait().is_some()
            }
            Some(code) => code != "0",
            None if has_body => false,
            None => ["sub_code", "message", "msg"].iter().any(|name| error.text(name).is_some()),
        };
        is_error.then_some(error)
    }

    /// By code, then by sub_code, then by type. `None` when none of them is known.
    ///
    /// A code that is not in the table never decides. An unknown `isv.*` or type ISV is permanent, so
    /// that a bad parameter cannot open the breaker, an unknown `isp.*`, ISP or SYSTEM transient.
    pub(super) fn class(self) -> Option<ErrorClass> {
        if self.wait().is_some() {
            return Some(ErrorClass::Throttled);
        }
        if let Some(class) = self.text("code").and_then(|code| of_code(&code)) {
            return Some(class);
        }
        // The page names these words as what a switched-off gateway says; no row has a code for it.
        if self.texts().any(|text| says_offline(&text)) {
            return Some(GATEWAY);
        }
        let of_sub_code = |name: String| by_words(&name).or_else(|| by_prefix(&name));
        if let Some(class) = self.text("sub_code").and_then(of_sub_code) {
            return Some(class);
        }
        if self.texts().any(|text| names_allow_list(&text)) {
            return Some(ALLOW_LIST);
        }
        by_name(TYPES, &self.text("type")?)
    }

    /// What the error means; `class` is that of the table.
    pub(super) fn outcome<T>(self, class: ErrorClass) -> Outcome<T> {
        class.outcome(self.wait(), self.reason())
    }

    /// How long the ban lasts that it speaks of.
    fn wait(self) -> Option<Duration> {
        self.texts().find_map(|text| requested_wait(&text))
    }

    fn text(self, name: &str) -> Option<String> {
        read::text_of(self.0.get(name)?)
    }

    fn texts(self) -> impl Iterator<Item = String> + use<'a> {
        ["msg", "message", "sub_msg"].into_iter().filter_map(move |name| self.text(name))
    }

    /// The gateway's words in one line.
    fn reason(self) -> String {
        let words: Vec<_> = ["code", "sub_code", "msg", "message", "sub_msg", "request_id"]
            .into_iter()
            .filter_map(|name| Some(format!("{name} {}", self.text(name)?)))
            .collect();
        let words = if words.is_empty() { "without a word".to_owned() } else { words.join(", ") };
        said(&format!("gateway error: {words}"))
    }
}

/// Whether a text says that the gateway was switched off.
pub(super) fn says_offline(text: &str) -> bool {
    text.to_ascii_lowercase().contains(OFFLINE)
}

/// What a `resp_code` other than 200 and 405 means.
///
/// The known ones between 400 and 499 and between 4000 and 4999, save 404, are about the account
/// or the request; unknown ones in there are permanent, so that no parameter can open the breaker.
/// Everything else is transient.
pub(super) fn of_business_code(code: &str) -> ErrorClass {
    match code.parse::<u64>() {
        Ok(401) => wrong(faults::ACCOUNT),
        Ok(4001) => wrong(faults::TRACKING_ID),
        Ok(404) => ErrorClass::Transient,
        Ok(400..=499 | 4000..=4999) => UNKNOWN,
        Ok(_) => ErrorClass::Transient,
        Err(_) => by_words(code).unwrap_or(ErrorClass::Transient),
    }
}

fn of_code(code: &str) -> Option<ErrorClass> {
    by_name(CODES, code).or_else(|| by_words(code))
}

fn by_words(name: &str) -> Option<ErrorClass> {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let name: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    WORDS.iter().find(|(word, _)| name.contains(word)).map(|(_, class)| *class)
}

/// Whether a text says that calls are taken from the addresses of a list alone.
fn names_allow_list(text: &str) -> bool {
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word.eq_ignore_ascii_case("ip")) && by_words(text) == Some(ALLOW_LIST)
}

fn by_name(table: &[(&str, ErrorClass)], name: &str) -> Option<ErrorClass> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, class)| *class)
}

fn by_prefix(sub_code: &str) -> Option<ErrorClass> {
    let starts_with = |prefix: &str| {
        sub_code.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    SUB_CODES.iter().find(|(prefix, _)| starts_with(prefix)).map(|(_, class)| *class)
}

/// Shortest wait: "0 seconds" is a rounding, and calling again at once would prolong the ban.
const SHORTEST: Duration = Duration::from_secs(1);

/// Longest wait: quotas are daily, so a longer ban is a misread text.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The wait in `ban will last 3 seconds` or `ban will last for 3 more seconds`, whatever the case,
/// between `SHORTEST` and `LONGEST`; `None` when the text has neither.
pub(super) fn requested_wait(text: &str) -> Option<Duration> {
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
        assert_eq!(requested_wait(current), secs(1));
        assert_eq!(requested_wait("This ban will last for 1 more seconds"), secs(1));
        assert_eq!(requested_wait("This ban will last for 31062 more seconds"), secs(31_062));
        assert_eq!(requested_wait("THIS BAN WILL LAST 1 SECOND."), secs(1));
    }

    #[test]
    fn waits_are_bounded() {
        assert_eq!(requested_wait("this ban will last 0 seconds"), Some(SHORTEST));
        assert_eq!(requested_wait("this ban will last 999999999 seconds"), Some(LONGEST));
        assert_eq!(
            requested_wait("this ban will last 99999999999999999999999999 seconds"),
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
            assert_eq!(requested_wait(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_sentence_that_has_seconds_counts() {
        assert_eq!(requested_wait("ban will last long; the ban will last 7 seconds"), secs(7));
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_any_wait_is_bounded(text in ".{0,60}", n in any::<u64>()) {
            prop_assert!(requested_wait(&text).is_none_or(|wait| (SHORTEST..=LONGEST).contains(&wait)));
            let wait = requested_wait(&format!("{text} this ban will last for {n} more seconds {text}"));
            prop_assert_eq!(wait, Some(Duration::from_secs(n).clamp(SHORTEST, LONGEST)));
        }
    }
}
