//! The one place that writes for a person at the console.
//!
//! Owns: standard output and standard error outside of the log, and what steers no terminal. When the reader at
//! the other end is gone, what is written is dropped.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

/// Writes one line, or several, to standard output.
///
/// # Errors
/// When it cannot be written, on a full disk for one; a closed pipe is no error.
pub fn say(text: &str) -> io::Result<()> {
    line_to(&mut io::stdout().lock(), text)
}

/// Writes one line, or several, to standard error. When that fails there is nobody left to tell.
pub fn complain(text: &str) {
    line_to(&mut io::stderr().lock(), text).unwrap_or_default();
}

fn line_to(console: &mut impl Write, text: &str) -> io::Result<()> {
    let written = writeln!(console, "{}", harmless(text.trim_end_matches('\n'), &['\n', '\t']))
        .and_then(|()| console.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The text with whatever steers a terminal, ends a line or turns the direction of writing spelled out, but
/// for what may stay.
pub fn harmless<'a>(text: &'a str, may_stay: &[char]) -> Cow<'a, str> {
    let steers = |letter: char| {
        let is_known = letter.is_control()
            || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_known && !may_stay.contains(&letter)
    };
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let spelled = |clean: &mut String, letter: char| {
        if steers(letter) { clean.extend(letter.escape_default()) } else { clean.push(letter) }
    };
    Cow::Owned(text.chars().fold(String::with_capacity(text.len() * 2), |mut clean, letter| {
        spelled(&mut clean, letter);
        clean
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_text_ends_with_exactly_one_line_break() {
        let mut console = Vec::new();
        line_to(&mut console, "one").unwrap();
        line_to(&mut console, "two\n").unwrap();
        assert_eq!(console, b"one\ntwo\n");
    }

    #[test]
    fn what_would_steer_a_terminal_is_spelled_out() {
        let all = "a\u{1b}[2J\rb\u{7f}\u{9b}\u{2028}\u{202e}\u{2066}ü";
        let clean = r"a\u{1b}[2J\rb\u{7f}\u{9b}\u{2028}\u{202e}\u{2066}ü";
        assert_eq!(harmless(all, &[]), clean);
        assert_eq!(harmless("one\ntwo", &[]), r"one\ntwo");
        let mut console = Vec::new();
        line_to(&mut console, "one\n\ttwo\u{1b}c").unwrap();
        assert_eq!(console, b"one\n\ttwo\\u{1b}c\n");
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        line_to(&mut Failing(ErrorKind::BrokenPipe), "lost").unwrap();
        let error = line_to(&mut Failing(ErrorKind::StorageFull), "lost").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}
