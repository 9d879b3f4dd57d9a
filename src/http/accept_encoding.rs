//! Whether a client would rather have gzip than plain bytes (RFC 9110, 12.5.3).
//!
//! Reads the field once, without a copy. One of more than a kilobyte is no wish but an attempt: it is
//! not read, and the answer is plain. What is no weight counts as none. No neighbours.

/// Longest field that is read, all its lines together.
const LONGEST: usize = 1_024;
/// Weights are thousandths.
pub(super) const WHOLE: u16 = 1_000;

/// Of two that are liked alike gzip is the shorter.
pub(super) fn prefers_gzip<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    let mut read = 0_usize;
    for line in lines {
        read = read.saturating_add(line.len());
        if read > LONGEST {
            return false;
        }
        for item in line.split(|byte| *byte == b',') {
            let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let coding = parts.next().unwrap_or_default();
            let of =
                if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
                    &mut gzip
                } else if coding.eq_ignore_ascii_case(b"identity") {
                    &mut identity
                } else if coding == b"*" {
                    &mut any
                } else {
                    continue;
                };
            *of = Some(parts.next().map_or(WHOLE, weight));
        }
    }
    // Nobody has to name plain bytes: they are what is left.
    let (gzip, identity) = (gzip.or(any).unwrap_or(0), identity.or(any).unwrap_or(0));
    gzip > 0 && gzip >= identity
}

/// The thousandths in `q=0.5`; 0 for what is none.
pub(super) fn weight(parameter: &[u8]) -> u16 {
    let number = match parameter {
        [b'q' | b'Q', b'=', number @ ..] => number,
        _ => return 0,
    };
    match number {
        [b'1', rest @ ..] if rest.iter().all(|byte| matches!(byte, b'.' | b'0')) => WHOLE,
        [b'0'] => 0,
        [b'0', b'.', digits @ ..] if digits.len() <= 3 => {
            let values = [100, 10, 1].into_iter().zip(digits);
            let part = |(value, digit): (u16, &u8)| match digit {
                b'0'..=b'9' => Some(value * u16::from(digit - b'0')),
                _ => None,
            };
            values.map(part).sum::<Option<u16>>().unwrap_or(0)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_chosen_where_it_is_liked_at_least_as_much_as_plain() {
        for (accept, wanted) in [
            ("gzip", true),
            ("GZIP", true),
            ("x-gzip", true),
            ("gzip, deflate, br", true),
            ("br;q=1, gzip;q=0.001", true),
            ("identity;q=0.5, gzip;q=0.5", true),
            ("*", true),
            ("*;q=1, identity;q=0", true),
            ("gzip, identity;q=0", true),
            ("gzip;q=1;x=y", true),
            ("gzip;q=0, *", false),
            ("gzip;Q=0", false),
            ("gzip;q=0.000", false),
            ("gzip;q=x", false),
            ("identity;q=0.5, *;q=0.1", false),
            ("identity, gzip;q=0.5", false),
            ("*;q=0", false),
            ("br", false),
            ("", false),
            (",,;,", false),
            ("%%%", false),
        ] {
            assert_eq!(prefers_gzip([accept.as_bytes()].into_iter()), wanted, "{accept:?}");
        }
        assert!(!prefers_gzip(std::iter::empty()));
        assert!(prefers_gzip([&b"br"[..], b"gzip"].into_iter()), "two lines are one list");
    }

    #[test]
    fn a_hundred_kilobytes_are_not_read() {
        let long = "gzip,".repeat(20_000);
        assert!(!prefers_gzip([long.as_bytes()].into_iter()));
        assert!(prefers_gzip([&long.as_bytes()[..LONGEST]].into_iter()));
    }
}
