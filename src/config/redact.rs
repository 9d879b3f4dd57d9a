//! Secrets that are never shown: a value of its own type, and passwords inside other texts.
//!
//! Owns: what counts as a password inside an address; a text without one comes back as it was.

use std::borrow::Cow;

pub(super) const HIDDEN: &str = "[hidden]";

/// Query parameters whose value is a secret, as drivers and gateways spell them.
const SECRET_PARAMETERS: [&str; 7] =
    ["pass=", "password=", "app_secret=", "secret=", "access_token=", "token=", "sign="];

/// The text with the password of every address in it, and the value of every secret query
/// parameter, replaced by `[hidden]`.
pub fn redact(text: &str) -> Cow<'_, str> {
    // Nearly every text has neither: nothing is copied then.
    if !text.contains('@') && !text.contains('=') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(without_parameters(&without_passwords(text)))
}

/// `scheme://user:password@host` → `scheme://user:[hidden]@host`, everywhere.
fn without_passwords(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after.find(ends_authority).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        clean.push_str(&hide_password(authority));
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

fn hide_password(authority: &str) -> Cow<'_, str> {
    let Some((user_info, host)) = authority.rsplit_once('@') else {
        return Cow::Borrowed(authority);
    };
    match user_info.split_once(':') {
        Some((user, _)) => Cow::Owned(format!("{user}:{HIDDEN}@{host}")),
        // A password that stands where the user's name does is one, too.
        None => Cow::Owned(format!("{HIDDEN}@{host}")),
    }
}

fn ends_authority(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | '`')
}

/// `?sign=ABC&x=1` → `?sign=[hidden]&x=1`, for the parameters that are secrets.
fn without_parameters(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for piece in text.split_inclusive(['?', '&', ' ']) {
        match SECRET_PARAMETERS.iter().find(|name| starts_with(piece, name)) {
            Some(name) => {
                clean.push_str(name);
                clean.push_str(HIDDEN);
                clean.extend(piece.chars().next_back().filter(|last| matches!(last, '&' | ' ')));
            }
            None => clean.push_str(piece),
        }
    }
    clean
}

fn starts_with(piece: &str, name: &str) -> bool {
    piece.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

/// A value that never shows itself: `Debug` prints a constant.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself; only where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn passwords_and_secret_parameters_are_hidden() {
        for (text, clean) in [
            ("redis://:hunter2@cache:6379/0", "redis://:[hidden]@cache:6379/0"),
            ("redis://me:a@b:c@cache", "redis://me:[hidden]@cache"),
            ("redis://hunter2@cache:6379", "redis://[hidden]@cache:6379"),
            (
                "x postgres://u:p@h/db and http://a:b@c",
                "x postgres://u:[hidden]@h/db and http://a:[hidden]@c",
            ),
            ("http://h/?a=1&sign=AB&b=2", "http://h/?a=1&sign=[hidden]&b=2"),
            ("unix:///run/redis?pass=hunter2", "unix:///run/redis?pass=[hidden]"),
            ("app_secret=abc", "app_secret=[hidden]"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in [
            "",
            "plain",
            "https://shop/@seller",
            "a@b.c",
            "https://h:80/x?signal=1",
            "é=ü@",
            "://",
            "a://:@",
        ] {
            let clean = redact(text);
            assert!(clean == text || text == "a://:@", "{text} became {clean}");
        }
    }
}
