//! Requests to an upstream and its answers, as they go over the wire.
//!
//! Owns: the two types, whatever transport carries them. Refuses nothing: what an answer means is
//! decided by the [`Origin`](super::Origin) that asked.

use std::fmt;

use actix_web::http::Method;
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::clock::Timestamp;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Absolute address.
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Request {
    /// A GET of an absolute address.
    pub const fn get(url: String) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Bytes::new() }
    }
}

/// One answer: the whole of it, its body bounded in size.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, Bytes)>,
    pub body: Bytes,
    /// Our clock when the request was made.
    pub sent_at: Timestamp,
    /// Our clock when the answer was complete.
    pub received_at: Timestamp,
}

impl Answer {
    /// An answer that was sent and received at no particular time.
    pub fn new(status: u16, headers: Vec<(String, Bytes)>, body: Bytes) -> Self {
        let unset = Timestamp::default();
        Self { status, headers, body, sent_at: unset, received_at: unset }
    }

    /// The first field of this name, given in lower case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(known, _)| known == name);
        field.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// The upstream's clock, from the `Date` field. Only the one format that RFC 9110 (section
    /// 5.6.7) asks senders for is read.
    pub fn date(&self) -> Option<Timestamp> {
        let date = OffsetDateTime::parse(self.header("date")?.trim(), &Rfc2822).ok()?;
        let millis = i64::try_from(date.unix_timestamp_nanos() / 1_000_000).ok()?;
        Some(Timestamp::from_millis(millis))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, bytes) = (self.status, self.body.len());
        f.debug_struct("Answer").field("status", &status).field("bytes", &bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dated(value: &'static str) -> Option<Timestamp> {
        let date = ("date".to_owned(), Bytes::from_static(value.as_bytes()));
        Answer::new(200, vec![date], Bytes::new()).date()
    }

    #[test]
    fn the_standards_own_example_is_read() {
        let date = Timestamp::from_millis(784_111_777_000);
        assert_eq!(dated("Sun, 06 Nov 1994 08:49:37 GMT"), Some(date));
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
            assert_eq!(dated(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_are_found_by_name_and_read_as_text() {
        let field = |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
        let fields = vec![field("a", b"1"), field("a", b"2"), field("b", b"\xff")];
        let answer = Answer::new(200, fields, Bytes::new());
        assert_eq!(
            [answer.header("a"), answer.header("b"), answer.header("c")],
            [Some("1"), None, None]
        );
    }
}
