//! JSON with a few bad characters, made readable.
//!
//! Owns: what is repaired, and how often each kind was. Titles are written by sellers and cut by
//! machines: half an emoji, a raw control character, bytes of another encoding, `NaN` for a price. One
//! such record must not cost the page. Refuses: to touch what holds a text together (quotes, brackets,
//! commas, the end), so an answer that was cut stays unreadable. Has no neighbour.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// What stands where a character was lost.
const LOST: &str = "\\ufffd";

/// A kind of fault that was repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Half of a surrogate pair, or an escape that was cut.
    LoneSurrogate,
    /// A control character that is not escaped.
    ControlCharacter,
    /// A backslash before a character that needs none.
    Escape,
    /// A word or a number that is none of JSON's, such as `NaN`.
    Word,
}

impl Repair {
    pub const ALL: [Self; 5] =
        [Self::NotUtf8, Self::LoneSurrogate, Self::ControlCharacter, Self::Escape, Self::Word];

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::LoneSurrogate => "lone_surrogate",
            Self::ControlCharacter => "control_character",
            Self::Escape => "escape",
            Self::Word => "word",
        }
    }
}

/// How often each kind was repaired in one answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repairs(BTreeMap<Repair, u64>);

impl Repairs {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Repair, u64)> + '_ {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    fn count(&mut self, kind: Repair) {
        let count = self.0.entry(kind).or_default();
        *count = count.saturating_add(1);
    }
}

/// Reads JSON as it is, or else repaired, once.
///
/// # Errors
/// What is wrong with the text as it came, if it cannot be read repaired either.
pub fn read(body: &[u8]) -> Result<(Value, Repairs), serde_json::Error> {
    let wrong = match serde_json::from_slice(body) {
        Ok(root) => return Ok((root, Repairs::default())),
        Err(wrong) => wrong,
    };
    let starts = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(starts, Some(b'{' | b'[')) {
        return Err(wrong);
    }
    let (text, repairs) = repaired(body);
    if repairs.is_empty() {
        return Err(wrong);
    }
    serde_json::from_str(&text).map(|root| (root, repairs)).map_err(|_| wrong)
}

fn repaired(body: &[u8]) -> (String, Repairs) {
    let mut repairs = Repairs::default();
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            repairs.count(Repair::NotUtf8);
        }
    }
    let mut scan = Scan { from: text.chars().peekable(), to: String::new(), repairs };
    scan.to.reserve(text.len());
    scan.run();
    (scan.to, scan.repairs)
}

struct Scan<'a> {
    from: Peekable<Chars<'a>>,
    to: String,
    repairs: Repairs,
}

impl Scan<'_> {
    fn run(&mut self) {
        while let Some(next) = self.from.next() {
            match next {
                '"' => self.string(),
                '-' | '+' | '.' | '0'..='9' | 'a'..='z' | 'A'..='Z' => self.word(next),
                control if is_control(control) && !control.is_ascii_whitespace() => self.blank(),
                other => self.to.push(other),
            }
        }
    }

    /// From behind its first quote to its last one.
    fn string(&mut self) {
        self.to.push('"');
        while let Some(next) = self.from.next() {
            match next {
                '\\' => self.escape(),
                control if is_control(control) => self.blank(),
                other => self.to.push(other),
            }
            if next == '"' {
                return;
            }
        }
    }

    fn blank(&mut self) {
        self.to.push(' ');
        self.repairs.count(Repair::ControlCharacter);
    }

    /// What follows a backslash.
    fn escape(&mut self) {
        match self.from.peek().copied() {
            Some(known @ ('"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't')) => {
                self.from.next();
                self.to.extend(['\\', known]);
            }
            Some('u') => {
                self.from.next();
                self.unicode();
            }
            _ => self.repairs.count(Repair::Escape),
        }
    }

    /// What follows `\u`.
    fn unicode(&mut self) {
        let Some(unit) = hex(&mut self.from) else { return self.lost() };
        match unit {
            0xD800..=0xDBFF => {
                let mut ahead = self.from.clone();
                let follows = ahead.next() == Some('\\') && ahead.next() == Some('u');
                match hex(&mut ahead) {
                    Some(low @ 0xDC00..=0xDFFF) if follows => {
                        self.from = ahead;
                        self.to.push_str(&format!("\\u{unit:04x}\\u{low:04x}"));
                    }
                    _ => self.lost(),
                }
            }
            0xDC00..=0xDFFF => self.lost(),
            _ => self.to.push_str(&format!("\\u{unit:04x}")),
        }
    }

    fn lost(&mut self) {
        self.to.push_str(LOST);
        self.repairs.count(Repair::LoneSurrogate);
    }

    /// A number or a word outside of strings.
    fn word(&mut self, first: char) {
        let mut word = String::from(first);
        let belongs = |next: &char| next.is_ascii_alphanumeric() || matches!(next, '-' | '+' | '.');
        while let Some(next) = self.from.next_if(belongs) {
            word.push(next);
        }
        if serde_json::from_str::<Value>(&word).is_ok() {
            self.to.push_str(&word);
        } else {
            self.to.push_str("null");
            self.repairs.count(Repair::Word);
        }
    }
}

fn is_control(char: char) -> bool {
    char < ' '
}

/// Four hexadecimal digits; of fewer, those that are there are taken.
fn hex(from: &mut Peekable<Chars<'_>>) -> Option<u32> {
    let mut unit = 0;
    for _ in 0..4 {
        unit = unit * 16 + from.next_if(char::is_ascii_hexdigit)?.to_digit(16)?;
    }
    Some(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn counts(repairs: &Repairs) -> Vec<(&'static str, u64)> {
        repairs.iter().map(|(kind, count)| (kind.label(), count)).collect()
    }

    #[test]
    fn one_bad_record_leaves_the_others_as_they_are() {
        let rows: [(&[u8], &str, &str); 12] = [
            (br"Headset \ud83d", "Headset \u{fffd}", "lone_surrogate"),
            (br"Headset \ud83d\ude", "Headset \u{fffd}\u{fffd}", "lone_surrogate"),
            (br"\ud83d\u0041", "\u{fffd}A", "lone_surrogate"),
            (br"low \ude00", "low \u{fffd}", "lone_surrogate"),
            (br"cut \u00", "cut \u{fffd}", "lone_surrogate"),
            (b"Gaming\tHeadset", "Gaming Headset", "control_character"),
            (b"Gaming\x03 \x00Headset", "Gaming   Headset", "control_character"),
            (b"two\r\nlines", "two  lines", "control_character"),
            (b"caf\xE9 lamp", "caf\u{fffd} lamp", "not_utf8"),
            (b"cut \xF0\x9F\x98", "cut \u{fffd}", "not_utf8"),
            (br"it\'s", "it's", "escape"),
            (br"a \x41", "a x41", "escape"),
        ];
        for (title, want, kind) in rows {
            let good =
                r#"{"id": 12345678901234567890, "t": "\ud83d\ude00 \"\\\u00e9\n", "p": -1.5e3}"#;
            let body = [b"[{\"t\": \"", title, b"\"}, ", good.as_bytes(), b"]"].concat();
            let (root, repairs) = read(&body).unwrap();
            assert_eq!(root[0]["t"], want);
            assert_eq!(root[1], serde_json::from_str::<Value>(good).unwrap(), "{want}");
            assert!(counts(&repairs).iter().any(|(label, _)| *label == kind), "{want} {repairs:?}");
        }
    }

    #[test]
    fn words_that_json_does_not_have_are_null() {
        let (root, repairs) =
            read(br#"{"a": NaN, "b": [-Infinity, None], "c": 1e999, "d": true, "e": "NaN"}"#)
                .unwrap();
        let want = json!({"a": null, "b": [null, null], "c": null, "d": true, "e": "NaN"});
        assert_eq!((root, counts(&repairs)), (want, vec![("word", 4)]));
    }

    #[test]
    fn what_is_cut_or_is_something_else_stays_unreadable() {
        for body in [
            b"".as_slice(),
            b"\x00\xFF\xFEgarbage",
            b"NaN",
            b"<html>\xFF</html>",
            br#"{"t": "\ud83d"#,
            br#"{"t": "\ud83d""#,
            br#"{"t": "\ud83d"} <!-- more -->"#,
            b"[\x01[",
        ] {
            assert!(read(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        let deep = b"[".repeat(100_000);
        assert!(read(&deep).is_err());
    }

    proptest! {
        #[test]
        fn what_is_right_is_not_touched(text in ".{0,40}", number in any::<f64>(), id in any::<u64>()) {
            let root = json!({"text": text, "list": [number, id, null, true]});
            let body = root.to_string();
            prop_assert_eq!(repaired(body.as_bytes()), (body.clone(), Repairs::default()));
        }

        #[test]
        fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&[b"{\"a\":\"".as_slice(), &body, b"\"}"].concat()));
            drop(read(&body));
        }
    }
}
