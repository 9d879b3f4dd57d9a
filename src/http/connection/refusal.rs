//! Refusals of what never became a request.
//!
//! Owns: the bytes of an answer in the envelope for a connection whose head cannot be read, is too
//! large or too late, and for a connection that is one too many. The server answers the first three
//! itself, before any handler, with a bare status and no body; [`bare`] finds such an answer in what
//! it is about to write, so that it can be replaced. It cannot be mistaken: it is the last thing on
//! its connection, has no body, and none of the fields that every answer of ours has.

use std::ops::Range;
use std::time::Duration;

use actix_web::http::StatusCode;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::clock::{self, Timestamp};
use crate::http::context::new_id;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::middleware::observe::SECURITY;

const IMF_FIXDATE: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
/// When to come back with fewer connections.
const COME_BACK: Duration = Duration::from_secs(1);
/// Longest head of a bare answer.
const LONGEST: usize = 256;
/// Its version is that of the request before.
const LINES: [&[u8]; 2] = [b"HTTP/1.1 ", b"HTTP/1.0 "];
const LINE: usize = LINES[0].len();
const END: &[u8] = b"\r\n\r\n";
const EMPTY: &[u8] = b"content-length: 0\r\n";
const OURS: &[u8] = b"x-request-id:";

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be read.
    Malformed,
    /// Its head is too large.
    TooLarge,
    /// Its head was too slow.
    TooSlow,
    /// The reading of it failed in a way that it never should.
    Broken,
    /// There are too many connections.
    Crowded,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::TooLarge, Self::TooSlow, Self::Broken, Self::Crowded];

    /// The word in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::Crowded => "crowded",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error(self) -> ApiError {
        let with = ApiError::with_message;
        match self {
            Self::Malformed => with(
                ErrorCode::InvalidRequest,
                "This is no request of HTTP/1.1 or 1.0 that can be read.",
            ),
            Self::TooLarge => with(
                ErrorCode::InvalidRequest,
                "The head of the request is too large: at most 96 fields and 128 KiB are read.",
            ),
            Self::TooSlow => ApiError::new(ErrorCode::RequestTimeout),
            Self::Broken => ApiError::new(ErrorCode::Internal),
            Self::Crowded => {
                with(ErrorCode::Overloaded, "There are too many connections; close some of them.")
                    .retry_after(COME_BACK)
            }
        }
    }

    fn of_line(after_version: &[u8]) -> Option<Self> {
        [
            (&b"400 "[..], Self::Malformed),
            (b"431 ", Self::TooLarge),
            (b"408 ", Self::TooSlow),
            (b"500 ", Self::Broken),
        ]
        .into_iter()
        .find_map(|(status, reason)| after_version.starts_with(status).then_some(reason))
    }
}

/// Where the server's own refusal stands at the end of what is to be written, and why it refuses.
#[must_use]
pub fn bare(written: &[u8]) -> Option<(Range<usize>, Reason)> {
    if !written.ends_with(END) {
        return None;
    }
    let from = written.len().saturating_sub(LONGEST);
    let last = written.get(from..)?;
    let at = last.windows(LINE).rposition(|window| LINES.contains(&window))?;
    let head = last.get(at..)?;
    let has = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    let is_bare = has(EMPTY) && !has(OURS);
    let reason = Reason::of_line(head.get(LINE..)?)?;
    is_bare.then(|| (from + at..written.len(), reason))
}

/// The whole answer, the last of its connection.
#[must_use]
pub fn answer(reason: Reason) -> Vec<u8> {
    let (id, status, error) = (new_id(), reason.status(), reason.error());
    let body = envelope::error_text(&id, &error);
    let phrase = status.canonical_reason().unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 {} {phrase}\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ndate: {}\r\nx-request-id: {id}\r\n",
        status.as_u16(),
        body.len(),
        date(clock::now()),
    );
    for (name, value) in &SECURITY {
        head.push_str(name.as_str());
        head.push_str(": ");
        head.push_str(value.to_str().unwrap_or_default());
        head.push_str("\r\n");
    }
    if let Some(wait) = error.retry_after {
        let seconds = crate::limits::headers::retry_after_seconds(wait);
        head.push_str(&format!("retry-after: {seconds}\r\n"));
    }
    head.push_str("\r\n");
    head.push_str(&body);
    head.into_bytes()
}

fn date(now: Timestamp) -> String {
    let now = OffsetDateTime::from_unix_timestamp(now.as_millis().div_euclid(1_000)).ok();
    now.and_then(|now| now.format(IMF_FIXDATE).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\
                        date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";

    #[test]
    fn the_servers_own_refusal_is_found_also_behind_an_answer() {
        assert_eq!(bare(BARE.as_bytes()), Some((0..BARE.len(), Reason::Malformed)));
        let behind = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{BARE}");
        let at = behind.len() - BARE.len();
        assert_eq!(bare(behind.as_bytes()), Some((at..behind.len(), Reason::Malformed)));
        let older = BARE.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(bare(older.as_bytes()), Some((0..BARE.len(), Reason::Malformed)));
        for (status, reason) in [("431 ", Reason::TooLarge), ("408 ", Reason::TooSlow)] {
            let other = BARE.replace("400 ", status);
            assert_eq!(bare(other.as_bytes()).map(|(_, reason)| reason), Some(reason));
        }
    }

    #[test]
    fn answers_of_ours_are_left_alone() {
        for text in [
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nx-request-id: a\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: a\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 90\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "\r\n\r\n",
            "",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n{}",
        ] {
            assert_eq!(bare(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_said_instead_has_all_that_an_answer_has() {
        for reason in Reason::ALL {
            let text = String::from_utf8(answer(reason)).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["success"], false);
            let id = body["metadata"]["request_id"].as_str().unwrap();
            assert!(head.contains(&format!("x-request-id: {id}")));
            assert!(head.contains("x-content-type-options: nosniff"));
            let length = text.len() - head.len() - 4;
            assert!(head.contains(&format!("content-length: {length}\r\n")));
            assert_eq!(bare(text.as_bytes()), None);
        }
        assert_eq!(date(Timestamp::from_millis(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
