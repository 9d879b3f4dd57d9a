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

/// Most letters that are kept of what another program said.
const LONGEST_SAID: usize = 300;

/// What another program said, without passwords and cut: it may say anything, of any length.
pub fn said(text: &str) -> String {
    // Beyond this nothing is looked at; a password that ends there begins behind what is kept, or is longer.
    const LOOKED_AT: usize = 16 * LONGEST_SAID;
    let beginning = text.get(..text.floor_char_boundary(LOOKED_AT)).unwrap_or_default();
    let clean = redact(beginning);
    match clean.char_indices().nth(LONGEST_SAID) {
        Some((end, _)) => format!("{}…", clean.get(..end).unwrap_or_default()),
        None => clean.into_owned(),
    }
}

/// `scheme://user:password@host` → `scheme://user:[hidden]@host`, everywhere.
fn without_passwords(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let (authority, tail) = after.split_at(authority(before, after));
        clean.push_str(&hide_password(authority));
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

/// How long user, password and host are. A driver may end a password at an `@` behind a `/`, `?` or `#`, so
/// all up to the last `@` is hidden, but where the web's own rule ends it before: `https://shop/@seller`.
fn authority(scheme: &str, rest: &str) -> usize {
    let usual = rest.find(ends_authority).unwrap_or(rest.len());
    let (_, port) = rest[..usual].split_once(':').unwrap_or_default();
    let is_of_web = scheme.ends_with("http") || scheme.ends_with("https");
    if is_of_web && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return usual;
    }
    let word = rest.split(char::is_whitespace).next().unwrap_or_default();
    let Some(last) = word.rfind('@') else { return usual };
    usual.max(last + word[last..].find(ends_authority).unwrap_or(word.len() - last))
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
    use super::{LONGEST_SAID, redact, said};

    #[test]
    fn what_another_program_said_is_cut_and_holds_no_password() {
        let long = format!("ERR redis://:hunter2@cache {}", "ü".repeat(3_000_000));
        let kept = said(&long);
        assert!(
            kept.starts_with("ERR redis://:[hidden]@cache ü") && kept.ends_with("ü…"),
            "{kept}"
        );
        assert_eq!(kept.chars().count(), LONGEST_SAID + 1);
        assert_eq!(said("ERR no"), "ERR no");
    }

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
            ("postgres://u:a/b?c#d@h:5432/db", "postgres://u:[hidden]@h:5432/db"),
            ("x postgresql://u:1/2'@h/db?a=b y", "x postgresql://u:[hidden]@h/db?a=b y"),
            ("redis://:12/3@h/0", "redis://:[hidden]@h/0"),
            ("https://u:a/b@h/c", "https://u:[hidden]@h/c"),
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
            "https://h:80/@x",
            "é=ü@",
            "://",
            "a://:@",
        ] {
            let clean = redact(text);
            assert!(clean == text || text == "a://:@", "{text} became {clean}");
        }
    }
}
