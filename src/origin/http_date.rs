//! The `Date` header of an answer, read.
//!
//! Owns: the one format RFC 9110 (section 5.6.7) asks senders for. Refuses: the two obsolete
//! formats and anything else; a date nobody can read is no date.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::clock::Timestamp;

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`; `None` for anything else.
#[must_use]
pub fn parse(value: &str) -> Option<Timestamp> {
    let date = OffsetDateTime::parse(value.trim(), &Rfc2822).ok()?;
    let millis = i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example_is_read() {
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Timestamp::from_millis(784_111_777_000))
        );
    }

    #[test]
    fn anything_else_is_no_date() {
        for bad in [
            "",
            "yesterday",
            "Sun, 06 Nov 1994",
            "1994-11-06T08:49:37Z",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
