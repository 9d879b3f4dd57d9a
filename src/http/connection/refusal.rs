//! Answers on a connection that has no request to answer.
//!
//! A head that is too slow, and a connection that is one too many, are refused here and in the
//! envelope. What cannot be read as HTTP gets the bare 400 or 431 of actix.

use std::fmt::Write as _;
use std::time::Duration;

use actix_web::http::header;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::clock::{self, Timestamp};
use crate::http::context::new_id;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::headers::{POLICY, SECURITY};
use crate::limits::retry_after_seconds;

/// The answer to chunks that cannot be read, where the server leaves without one.
pub(super) const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// When to come back with fewer connections.
const COME_BACK: Duration = Duration::from_secs(1);

const IMF_FIXDATE: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Whether what is written ends with such a bare answer: every other one names its request.
pub(super) fn is_bare(written: &[u8]) -> bool {
    if !written.ends_with(b"\r\n\r\n") {
        return false;
    }
    let start = written.windows(10).rposition(|bytes| bytes == b"HTTP/1.1 4");
    let head = start.and_then(|start| written.get(start..)).unwrap_or_default();
    !head.is_empty() && !head.windows(14).any(|bytes| bytes == b"\r\nx-request-id")
}

/// The answer to a head that takes too long.
pub(super) fn too_slow() -> Vec<u8> {
    answer(&ApiError::new(ErrorCode::RequestTimeout))
}

/// The answer to a connection beyond a limit.
pub(in crate::http) fn too_many() -> Vec<u8> {
    let message = "There are too many connections; close some of them.";
    answer(&ApiError::with_message(ErrorCode::Overloaded, message).retry_after(COME_BACK))
}

/// The last answer of its connection.
fn answer(error: &ApiError) -> Vec<u8> {
    let (id, status) = (new_id(), error.code.status());
    let body = envelope::error_body(&id, error);
    let mut text = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ncache-control: no-store\r\ndate: {}\r\n\
         x-request-id: {id}\r\n",
        body.len(),
        date(clock::now()),
    );
    let policy = (header::CONTENT_SECURITY_POLICY, POLICY);
    for (name, value) in SECURITY.iter().chain([&policy]) {
        // Writing to a String cannot fail.
        let _fine = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    if let Some(wait) = error.retry_after {
        let _fine = write!(text, "retry-after: {}\r\n", retry_after_seconds(wait));
    }
    text.push_str("\r\n");
    [text.as_bytes(), &body].concat()
}

fn date(now: Timestamp) -> String {
    let now = OffsetDateTime::from_unix_timestamp(now.as_millis().div_euclid(1_000)).ok();
    now.and_then(|now| now.format(IMF_FIXDATE).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_request_is_told() {
        let ours = "HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\n\r\n";
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n";
        assert!(is_bare(BAD_REQUEST) && is_bare(bare.as_bytes()));
        assert!(is_bare(format!("{ours}{bare}").as_bytes()));
        let rows =
            ["", "\r\n\r\n", ours, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"];
        for written in rows.map(str::to_owned).into_iter().chain([format!("{bare}{ours}")]) {
            assert!(!is_bare(written.as_bytes()), "{written}");
        }
    }

    #[test]
    fn a_refusal_has_all_that_an_answer_has() {
        for answer in [too_slow(), too_many()] {
            let text = String::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["success"], false);
            let id = body["metadata"]["request_id"].as_str().unwrap();
            assert!(head.contains(&format!("x-request-id: {id}")), "{head}");
            assert!(head.contains("x-content-type-options: nosniff"), "{head}");
            assert!(head.contains("cache-control: no-store\r\n"), "{head}");
            let length = text.len() - head.len() - 4;
            assert!(head.contains(&format!("content-length: {length}\r\n")), "{head}");
        }
        assert_eq!(date(Timestamp::from_millis(784_111_777_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
