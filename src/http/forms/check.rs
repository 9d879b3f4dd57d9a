//! Checks of single fields, each against what is allowed, collecting every mistake.
//!
//! Owns: how loosely a value may be written (a number as a text, a list as a comma-separated
//! text, blank for absent), and what a client needs to correct a mistake: which field, what is wrong,
//! what is allowed. Refuses: values out of bounds, a list where one value is meant, and to repeat more
//! than a few characters of what was sent.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;

use super::words::{canonical_words, fold_white_space};

/// What an id may be: not 0, and within 64 bits.
pub const ID_ALLOWED: &str = "1 to 20 digits, not 0, at most 18446744073709551615";
/// Digits of a 64-bit number at most.
const MAX_DIGITS: usize = 20;
/// Longest part of a value or a name that is repeated to its sender, in characters.
const SHOWN: usize = 40;

/// One mistake in what a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidField {
    /// The field, as the client named it; `body` for the body as a whole.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl InvalidField {
    pub fn new(
        field: impl Into<String>,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), problem: problem.into(), allowed: allowed.into() }
    }
}

impl std::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; allowed: {}", self.field, self.problem, self.allowed)
    }
}

/// All mistakes, for tests: parted by what no mistake holds.
#[cfg(test)]
pub fn sentence(mistakes: &[InvalidField]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

/// A bounded, escaped form of something a client sent, fit to be shown to it.
pub fn shown(text: &str) -> String {
    let mut escaped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        escaped.push('…');
    }
    escaped
}

#[derive(Debug, Default)]
pub struct Check {
    mistakes: Vec<InvalidField>,
}

impl Check {
    pub fn refuse(&mut self, field: &str, problem: impl Into<String>, allowed: impl Into<String>) {
        self.note(InvalidField::new(field, problem, allowed));
    }

    pub fn note(&mut self, mistake: InvalidField) {
        self.mistakes.push(mistake);
    }

    pub const fn is_fine(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// `value` if nothing was refused.
    pub fn finish<T>(self, value: T) -> Result<T, Vec<InvalidField>> {
        if self.is_fine() { Ok(value) } else { Err(self.mistakes) }
    }

    /// The same of a value that was refused where it could not be read.
    pub fn found<T>(self, value: Option<T>) -> Result<T, Vec<InvalidField>> {
        value.filter(|_| self.is_fine()).ok_or(self.mistakes)
    }

    /// What `read` finds; finding nothing is a mistake.
    pub fn required<T>(
        &mut self,
        field: &str,
        allowed: &str,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let before = self.mistakes.len();
        let found = read(self);
        if found.is_none() && self.mistakes.len() == before {
            self.refuse(field, "is missing", allowed);
        }
        found
    }

    /// One value as text, trimmed; `None` when absent, null or blank.
    pub fn scalar(&mut self, field: &str, value: Option<&Value>, allowed: &str) -> Option<String> {
        let text = match value? {
            Value::Null => return None,
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Array(_) => {
                self.refuse(field, "is given more than once or as a list", allowed);
                return None;
            }
            Value::Object(_) => {
                self.refuse(field, "is an object", allowed);
                return None;
            }
        };
        (!text.is_empty()).then_some(text)
    }

    /// Free text of at most `max` characters: white space folded, other control characters refused.
    pub fn words(&mut self, field: &str, value: Option<&Value>, max: usize) -> Option<String> {
        self.text(field, value, max, fold_white_space)
    }

    /// The same of words to search for, in their canonical form.
    pub fn search_words(
        &mut self,
        field: &str,
        value: Option<&Value>,
        max: usize,
    ) -> Option<String> {
        self.text(field, value, max, canonical_words)
    }

    fn text(
        &mut self,
        field: &str,
        value: Option<&Value>,
        max: usize,
        in_form: fn(&str) -> String,
    ) -> Option<String> {
        let allowed = format!("text of at most {max} characters without control characters");
        let text = self.scalar(field, value, &allowed)?;
        let folded = in_form(&text);
        if folded.chars().any(char::is_control) {
            self.refuse(field, "contains a control character", allowed);
            None
        } else if folded.chars().count() > max {
            self.refuse(field, format!("is longer than {max} characters"), allowed);
            None
        } else {
            (!folded.is_empty()).then_some(folded)
        }
    }

    pub fn whole(
        &mut self,
        field: &str,
        value: Option<&Value>,
        range: RangeInclusive<u32>,
    ) -> Option<u32> {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let text = self.scalar(field, value, &allowed)?;
        let number = decimal(&text).filter(|number| number.fract().is_zero());
        let within = number.and_then(|n| n.to_u32()).filter(|n| range.contains(n));
        if within.is_none() {
            let problem =
                if number.is_some() { "is out of range" } else { "is not a whole number" };
            self.refuse(field, format!("`{}` {problem}", shown(&text)), allowed);
        }
        within
    }

    pub fn decimal(
        &mut self,
        field: &str,
        value: Option<&Value>,
        range: RangeInclusive<Decimal>,
    ) -> Option<Decimal> {
        let allowed = format!("a decimal number from {} to {}", range.start(), range.end());
        let text = self.scalar(field, value, &allowed)?;
        let number = decimal(&text);
        let within = number.filter(|number| range.contains(number));
        if within.is_none() {
            let problem = if number.is_some() { "is out of range" } else { "is not a number" };
            self.refuse(field, format!("`{}` {problem}", shown(&text)), allowed);
        }
        within
    }

    pub fn flag(&mut self, field: &str, value: Option<&Value>) -> Option<bool> {
        const ALLOWED: &str = "true or false";
        let text = self.scalar(field, value, ALLOWED)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => {
                self.refuse(field, format!("`{}` is not a flag", shown(&text)), ALLOWED);
                None
            }
        }
    }

    /// One word of a fixed list, found by `parse`.
    pub fn word<T>(
        &mut self,
        field: &str,
        value: Option<&Value>,
        parse: impl FnOnce(&str) -> Option<T>,
        allowed: &str,
    ) -> Option<T> {
        let text = self.scalar(field, value, allowed)?;
        let found = parse(&text);
        if found.is_none() {
            self.refuse(field, format!("`{}` is not known", shown(&text)), allowed);
        }
        found
    }

    /// Distinct ids in the order given, from a list or a comma-separated text, at most `max`.
    pub fn ids(&mut self, field: &str, value: Option<&Value>, max: usize) -> Vec<u64> {
        let (ids, others) = self.ids_and_others(field, value, max);
        if let (Some(other), false) = (others.first(), ids.is_empty()) {
            self.refuse(field, format!("`{other}` is not an id"), ids_allowed(max));
            return Vec::new();
        }
        ids
    }

    /// The same, and beside them what is no id, fit to be shown. It is a mistake only where there is no id.
    pub fn ids_and_others(
        &mut self,
        field: &str,
        value: Option<&Value>,
        max: usize,
    ) -> (Vec<u64>, Vec<String>) {
        let allowed = ids_allowed(max);
        let mut seen = HashSet::new();
        let (mut ids, mut others) = (Vec::new(), Vec::new());
        for text in self.items(field, value, &allowed) {
            match digits_of(&text).filter(|id| *id > 0) {
                Some(id) if seen.insert(id) => ids.push(id),
                Some(_) => {}
                None => others.push(shown(&text)),
            }
        }
        let count = ids.len().saturating_add(others.len());
        if let (Some(other), true) = (others.first(), ids.is_empty()) {
            self.refuse(field, format!("`{other}` is not an id"), allowed);
        } else if count > max {
            self.refuse(field, format!("has {count} ids"), allowed);
            ids.clear();
        }
        (ids, others)
    }

    /// The parts of a list or of a comma-separated text, trimmed, blanks left out.
    fn items(&mut self, field: &str, value: Option<&Value>, allowed: &str) -> Vec<String> {
        let single;
        let values = match value {
            Some(Value::Array(values)) => values.as_slice(),
            Some(other) => {
                single = [other.clone()];
                single.as_slice()
            }
            None => &[],
        };
        let mut parts = Vec::new();
        for value in values {
            if value.is_array() {
                self.refuse(field, "holds a list within the list", allowed);
                continue;
            }
            let text = self.scalar(field, Some(value), allowed).unwrap_or_default();
            parts.extend(
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned),
            );
        }
        parts
    }
}

fn ids_allowed(max: usize) -> String {
    format!("up to {max} ids, as a list or separated by commas, each of {ID_ALLOWED}")
}

/// The number that plain digits spell; no sign, no blank, no exponent.
pub fn digits_of(digits: &str) -> Option<u64> {
    let plain = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// An exact decimal, written plainly or with an exponent.
pub fn decimal(text: &str) -> Option<Decimal> {
    let text = text.trim();
    // `Decimal` reads these away: `1_6` would be 16.
    if text.contains('_') {
        return None;
    }
    Decimal::from_str_exact(text).ok().or_else(|| Decimal::from_scientific(text).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one<T>(read: impl FnOnce(&mut Check) -> T) -> Result<T, Vec<InvalidField>> {
        let mut check = Check::default();
        let value = read(&mut check);
        check.finish(value)
    }

    #[test]
    fn whole_numbers_come_as_numbers_and_texts() {
        for value in [json!(7), json!("7"), json!(" 7 "), json!(7.0)] {
            assert_eq!(one(|c| c.whole("n", Some(&value), 1..=50)), Ok(Some(7)), "{value}");
        }
        for value in [
            json!(0),
            json!(51),
            json!("seven"),
            json!(1.5),
            json!(-1),
            json!([1]),
            json!({}),
            json!(true),
            json!("1e99"),
            json!("1_0"),
            json!("1_0e0"),
        ] {
            assert!(one(|c| c.whole("n", Some(&value), 1..=50)).is_err(), "{value}");
        }
        for value in [json!(null), json!(""), json!("  ")] {
            assert_eq!(one(|c| c.whole("n", Some(&value), 1..=50)), Ok(None), "{value}");
        }
    }

    #[test]
    fn words_are_folded_bounded_and_printable() {
        assert_eq!(
            one(|c| c.words("k", Some(&json!("  usb\t\n cable ")), 20)),
            Ok(Some("usb cable".into()))
        );
        assert!(one(|c| c.words("k", Some(&json!("a\u{0}b")), 20)).is_err());
        assert!(one(|c| c.words("k", Some(&json!("é".repeat(21))), 20)).is_err());
        assert!(one(|c| c.words("k", Some(&json!("é".repeat(20))), 20)).is_ok());
    }

    #[test]
    fn ids_come_as_lists_and_as_text() {
        for value in [json!("7, 26,7"), json!(["7", 26, "7"]), json!(["7,26", ""])] {
            assert_eq!(one(|c| c.ids("ids", Some(&value), 3)), Ok(vec![7, 26]), "{value}");
        }
        for value in [
            json!("7;26"),
            json!([-1]),
            json!([1.5]),
            json!("0"),
            json!("99999999999999999999"),
            json!([[1]]),
            json!("1,2,3,4"),
        ] {
            let mistakes = one(|c| c.ids("ids", Some(&value), 3)).unwrap_err();
            assert!(mistakes[0].allowed.contains(ID_ALLOWED), "{value}: {mistakes:?}");
        }
        let mistakes = one(|c| c.ids("ids", Some(&json!([["1"]])), 3)).unwrap_err();
        assert_eq!(mistakes[0].problem, "holds a list within the list");
    }

    #[test]
    fn numbers_hold_no_underscore() {
        let read =
            |text| one(|c| c.decimal("n", Some(&json!(text)), Decimal::ZERO..=Decimal::from(99)));
        assert_eq!(read("1.6"), Ok(Some(Decimal::new(16, 1))));
        for text in ["1_6", "1_.6", "_1", "1_6e0"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_id_stands_beside_the_ids() {
        let read = |value: Value| one(|c| c.ids_and_others("ids", Some(&value), 3));
        assert_eq!(read(json!(["7", "x", 26])), Ok((vec![7, 26], vec!["x".to_owned()])));
        assert_eq!(read(json!([])), Ok((vec![], vec![])));
        for wrong in [json!(["x"]), json!([{}, 7]), json!(["7", "8", "9", "x"])] {
            assert_eq!(read(wrong.clone()).unwrap_err().len(), 1, "{wrong}");
        }
    }

    #[test]
    fn flags_are_true_or_false() {
        assert_eq!(one(|c| c.flag("f", Some(&json!("TRUE")))), Ok(Some(true)));
        assert_eq!(one(|c| c.flag("f", Some(&json!(0)))), Ok(Some(false)));
        assert!(one(|c| c.flag("f", Some(&json!("maybe")))).is_err());
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        let mistakes = one(|c| c.whole("page_size", Some(&json!("51")), 1..=50)).unwrap_err();
        assert_eq!(mistakes[0].problem, "`51` is out of range");
        assert_eq!(mistakes[0].allowed, "a whole number from 1 to 50");
    }

    #[test]
    fn a_mistake_reads_as_a_sentence() {
        let mistakes = [
            InvalidField::new("page_no", "is below 1", "1 or more"),
            InvalidField::new("a", "b", "c"),
        ];
        assert_eq!(
            sentence(&mistakes),
            "page_no: is below 1; allowed: 1 or more | a: b; allowed: c"
        );
    }

    #[test]
    fn what_is_shown_is_short_and_harmless() {
        assert_eq!(shown("a\u{0}\n"), "a\\0\\n");
        assert_eq!(shown(&"x".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
