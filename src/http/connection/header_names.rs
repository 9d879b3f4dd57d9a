//! How long the name of a header field may be.
//!
//! Owns: finding a name that is too long in the bytes of a connection, before a decoder gets them:
//! actix's panics at one of 65,536 bytes. Knows no framing. A body
//! with a line that begins with so many letters and digits is taken for one; no JSON has such a line.
//! Costs a look at the last byte of what was read. No neighbours.

/// Longest name that the decoder can make one of.
const LONGEST: usize = 65_535;
/// A byte that no name may have: the decoder refuses the head as one that is no HTTP.
const NONE_OF_A_NAME: u8 = 0;

/// What may be a name, read so far.
#[derive(Debug, Default)]
pub(super) struct HeaderNames {
    /// Bytes of it; `None` in the middle of a line.
    name: Option<usize>,
}

impl HeaderNames {
    /// Breaks a name that is too long in what was read.
    pub(super) fn bound(&mut self, bytes: &mut [u8]) {
        if let Some(byte) = self.too_long(bytes).and_then(|at| bytes.get_mut(at)) {
            *byte = NONE_OF_A_NAME;
        }
    }

    /// Where in these bytes a name becomes too long.
    fn too_long(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.name.unwrap_or_default().saturating_add(bytes.len()) <= LONGEST {
            // None ends here that is too long: only what may become one counts.
            let rest = bytes.iter().rev().take_while(|byte| is_of_a_name(**byte)).count();
            self.name = match bytes.iter().rev().nth(rest) {
                None => self.name.map(|name| name + rest),
                Some(b'\n') => Some(rest),
                Some(_) => None,
            };
            return None;
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.name = match (byte, self.name) {
                (b'\n', _) => Some(0),
                (byte, Some(name)) if is_of_a_name(*byte) => Some(name + 1),
                (_, _) => None,
            };
            if self.name.is_some_and(|name| name > LONGEST) {
                return Some(at);
            }
        }
        None
    }
}

/// RFC 9110, 5.6.2.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where it is broken when it is read in pieces of `each` bytes.
    fn broken(bytes: &[u8], each: usize) -> Option<usize> {
        let mut names = HeaderNames::default();
        let mut pieces = bytes.chunks(each).enumerate();
        pieces.find_map(|(piece, part)| names.too_long(part).map(|at| piece * each + at))
    }

    #[test]
    fn a_name_is_broken_where_it_becomes_too_long_however_it_comes() {
        let begin = b"GET / HTTP/1.1\r\nHost: a\r\n";
        for (length, at) in [(LONGEST, None), (LONGEST + 1, Some(begin.len() + LONGEST))] {
            for end in [&b": 1\r\n\r\n"[..], b"", b" : 1\r\n"] {
                let head = [&begin[..], &b"a".repeat(length), end].concat();
                for each in [1, 7, 1_024, 8_192, 65_535, 65_536, 200_000] {
                    assert_eq!(broken(&head, each), at, "{length} in pieces of {each}");
                }
            }
        }
    }

    #[test]
    fn values_targets_and_bodies_may_be_long() {
        let long = "a".repeat(100_000);
        for fine in [
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n"),
            format!("POST / HTTP/1.1\r\nHost: a\r\n\r\n{{\"keywords\":\"{long}\"}}"),
            format!("POST / HTTP/1.1\r\nHost: a\r\n\r\n{{\n  \"{long}\": 1\n}}"),
        ] {
            for each in [1, 1_000, 65_536, 200_000] {
                assert_eq!(broken(fine.as_bytes(), each), None, "{fine:.40} in pieces of {each}");
            }
        }
    }

    #[test]
    fn a_broken_name_has_a_byte_that_is_in_none() {
        let mut bytes = b"a".repeat(LONGEST + 10);
        let mut names = HeaderNames { name: Some(5) };
        names.bound(&mut bytes);
        assert_eq!(bytes.iter().position(|byte| *byte == 0), Some(LONGEST - 5));
    }
}
