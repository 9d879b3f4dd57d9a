//! The kinds of texts that a setting can be: names, secrets, paths, lists of any kind.
//!
//! Owns: their form, and what of them people may see. Refuses: whatever could not travel in a
//! request. Opens nothing: whether a file can be written is found out elsewhere.

use std::path::PathBuf;

use super::{Kind, Refusal};
use crate::config::Secret;
use crate::config::redact::HIDDEN;

/// Any kind that may be left out.
pub struct Optional<K>(pub K);

impl<K: Kind> Kind for Optional<K> {
    type Value = Option<K::Value>;

    fn expected(&self) -> String {
        self.0.expected()
    }

    fn read(&self, text: &str) -> Result<Self::Value, Refusal> {
        self.0.read(text).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }

    fn quote(&self, text: &str) -> String {
        self.0.quote(text)
    }
}

/// Several of a kind, separated by commas or white space; `none` for an empty list.
pub struct List<K>(pub K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn expected(&self) -> String {
        format!("none, or a list, separated by commas, of {}", self.0.expected())
    }

    fn read(&self, text: &str) -> Result<Self::Value, Refusal> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Vec::new());
        }
        text.split(|letter: char| letter == ',' || letter.is_whitespace())
            .filter(|item| !item.is_empty())
            .map(|item| self.0.read(item))
            .collect()
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        let texts: Vec<_> = value.iter().filter_map(|item| self.0.show(item)).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

/// A code of a list that the upstream knows, kept in upper case.
pub struct Code(pub fn() -> Vec<&'static str>);

impl Kind for Code {
    type Value = String;

    fn expected(&self) -> String {
        format!("one of {}", (self.0)().join(", "))
    }

    fn read(&self, text: &str) -> Result<String, Refusal> {
        let known = (self.0)().into_iter().find(|code| code.eq_ignore_ascii_case(text));
        known.map(str::to_owned).ok_or(None)
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A name that travels in requests.
pub struct Word;

impl Kind for Word {
    type Value = String;

    fn expected(&self) -> String {
        "up to 256 visible ASCII characters without white space".to_owned()
    }

    fn read(&self, text: &str) -> Result<String, Refusal> {
        let fits = text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(text.to_owned()) } else { Err(None) }
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A word nobody may see.
pub struct SecretWord;

impl Kind for SecretWord {
    type Value = Secret;

    fn expected(&self) -> String {
        Word.expected()
    }

    fn read(&self, text: &str) -> Result<Secret, Refusal> {
        Word.read(text).map(Secret::new)
    }

    fn show(&self, _: &Secret) -> Option<String> {
        Some(HIDDEN.to_owned())
    }

    fn quote(&self, _: &str) -> String {
        HIDDEN.to_owned()
    }
}

/// A path of the file system.
pub struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn expected(&self) -> String {
        "the path of a file".to_owned()
    }

    fn read(&self, text: &str) -> Result<PathBuf, Refusal> {
        if text.ends_with('/') {
            Err(Some("this is a directory".to_owned()))
        } else {
            Ok(text.into())
        }
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(value.display().to_string())
    }
}
