//! The one shape of every JSON answer.
//!
//! It writes `success`, `data` or `error`, and `metadata` around data that is serialised already: a
//! hit shares its stored bytes ([`Parts`]) and writes a few numbers, without `fmt`. It also says where
//! an answer came from (`Cache-Status`, RFC 9211; `Age`, RFC 9111). Knows no service.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::context::RequestContext;
use super::error::{ApiError, ErrorCode};
use super::headers::{self, CACHE_STATUS, GZIP, JSON};
use super::served::{Body, Lasting, Parts, Served, Source};
use crate::cache::{Forward, Tier};
use crate::clock::{self, Timestamp};
use crate::limits::retry_after_seconds;

/// Version of the envelope and of everything in it.
pub const API_VERSION: &str = "1";
/// Bytes of an envelope beside its data, generously.
const AROUND: usize = 512;
/// Header fields of an answer: room for all of them at once.
const HEADERS: usize = 24;
/// What stands before the data, and between it and the metadata.
const BEFORE: &str = "{\"success\":true,\"data\":";
const BETWEEN: &str = ",\"metadata\":{";
const BYPASSED: &str = "breakwater; fwd=bypass";
const BYPASSED_LAST_RESORT: &str = "breakwater; fwd=bypass; detail=last_resort";
const SECONDS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// What every answer of this process says alike.
#[derive(Debug, Clone, Copy)]
pub struct Integration {
    /// `live` or `simulator`.
    pub name: &'static str,
}

/// An answer with data that came through the cache, or past it.
#[must_use]
pub fn answer(
    context: &RequestContext,
    served: Served,
    integration: Integration,
    degraded: &[&'static str],
) -> HttpResponse {
    let last_resort = served.last_resort;
    let mut after = String::with_capacity(AROUND);
    after.push_str(BETWEEN);
    metadata(&mut after, context, clock::monotonic());
    cache_facts(&mut after, &served, integration);
    list(&mut after, served.degraded.iter().chain(degraded));
    after.push_str("}}");
    let packed = if context.gzip { packed(&served.body, after.as_bytes()) } else { None };
    let is_packed = packed.is_some();
    let body = packed.unwrap_or_else(|| around(served.body.bytes().clone(), after));
    let mut response = json(StatusCode::OK, body);
    let fields = response.headers_mut();
    if is_packed {
        fields.insert(header::CONTENT_ENCODING, GZIP);
    }
    if let Some(source) = served.source {
        context.source.set(Some(source));
        context.waited.set(context.waited.get() || source.waited);
        fields.append(CACHE_STATUS, cache_status(&source, last_resort));
        if source.tier != Tier::Upstream {
            fields.append(header::AGE, headers::number(source.age.as_secs()));
        }
    } else {
        let status = if last_resort { BYPASSED_LAST_RESORT } else { BYPASSED };
        fields.insert(CACHE_STATUS, HeaderValue::from_static(status));
    }
    context.lasting.replace(Lasting::of(served));
    response
}

fn around(data: Bytes, after: String) -> Parts {
    Parts::new(Bytes::from_static(BEFORE.as_bytes()), data, after.into())
}

/// The answer packed, if its data is that of an entry: the entry keeps it packed, only the end is
/// this answer's own.
fn packed(body: &Body, after: &[u8]) -> Option<Parts> {
    let Body::Kept(entry) = body else { return None };
    let (beginning, end) = entry.packed(BEFORE.as_bytes())?.ended(after)?;
    Some(Parts::new(beginning, end, Bytes::new()))
}

/// An answer with data of this process itself.
///
/// # Errors
/// The data cannot be written as JSON.
pub fn own(
    context: &RequestContext,
    data: &impl serde::Serialize,
) -> Result<HttpResponse, ApiError> {
    own_with_status(context, StatusCode::OK, data)
}

/// The same under another status.
///
/// # Errors
/// The data cannot be written as JSON.
pub fn own_with_status(
    context: &RequestContext,
    status: StatusCode,
    data: &impl serde::Serialize,
) -> Result<HttpResponse, ApiError> {
    let data = serde_json::to_vec(data)
        .map_err(|error| ApiError::new(ErrorCode::Internal).because(error))?;
    let mut after = String::with_capacity(AROUND);
    after.push_str(BETWEEN);
    metadata(&mut after, context, clock::monotonic());
    after.push_str("}}");
    Ok(json(status, around(data.into(), after)))
}

/// Marks an answer with an error status as deliberate: its body is kept.
pub(super) struct Answered;

#[must_use]
pub fn error(context: &RequestContext, error: &ApiError) -> HttpResponse {
    let mut response = json(error.code.status(), error_body(&context.id, error));
    if error.code == ErrorCode::KeyRequired {
        // RFC 9110, 15.5.2: a 401 says how to authenticate.
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    if let Some(wait) = error.retry_after {
        let seconds = headers::number(retry_after_seconds(wait));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// The body of an error, also for a connection without a request.
pub(super) fn error_body(id: &str, error: &ApiError) -> Bytes {
    let mut body = String::with_capacity(AROUND);
    body.push_str("{\"success\":false,\"error\":");
    text(&mut body, &error.message);
    for part in [",\"code\":\"", error.code.as_str(), "\",\"retryable\":"] {
        body.push_str(part);
    }
    boolean(&mut body, error.code.is_retryable());
    if let Some(wait) = error.retry_after {
        body.push_str(",\"retry_after\":");
        number(&mut body, retry_after_seconds(wait));
    }
    body.push_str(",\"metadata\":{");
    identity(&mut body, id);
    body.push_str("}}");
    body.into()
}

fn json(status: StatusCode, body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body));
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().append(header::CONTENT_TYPE, JSON);
    response
}

fn identity(body: &mut String, id: &str) {
    body.push_str("\"request_id\":\"");
    body.push_str(id);
    body.push_str("\",\"timestamp\":\"");
    timestamp(body, clock::now());
    body.push_str("\",\"api_version\":\"");
    body.push_str(API_VERSION);
    body.push('"');
}

fn metadata(body: &mut String, context: &RequestContext, now: Instant) {
    identity(body, &context.id);
    let took = now.saturating_duration_since(context.started);
    body.push_str(",\"processing_time_ms\":");
    milliseconds(body, took);
}

fn cache_facts(body: &mut String, served: &Served, integration: Integration) {
    let tier = served.source.map(|source| source.tier);
    let asked = match tier {
        Some(Tier::Memory | Tier::Redis | Tier::Database) => {
            "\",\"cache_enabled\":true,\"cache_hit\":true,\"cache_tier\":\""
        }
        Some(Tier::Upstream) => "\",\"cache_enabled\":true,\"cache_hit\":false,\"cache_tier\":\"",
        None => "\",\"cache_enabled\":false,\"cache_hit\":false,\"cache_tier\":\"",
    };
    let stale = if served.source.is_some_and(|source| source.stale) {
        "\",\"stale\":true,\"age_seconds\":"
    } else {
        "\",\"stale\":false,\"age_seconds\":"
    };
    let tier = tier.unwrap_or(Tier::Upstream).label();
    for part in [",\"api_integration\":\"", integration.name, asked, tier, stale] {
        body.push_str(part);
    }
    number(body, served.source.map_or(0, |source| source.age.as_secs()));
    body.push_str(",\"degraded\":");
}

fn list<'a>(body: &mut String, words: impl Iterator<Item = &'a &'static str>) {
    body.push('[');
    for (index, word) in words.enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push('"');
        body.push_str(word);
        body.push('"');
    }
    body.push(']');
}

fn text(body: &mut String, text: &str) {
    match serde_json::to_string(text) {
        Ok(quoted) => body.push_str(&quoted),
        Err(_) => body.push_str("\"\""),
    }
}

fn boolean(body: &mut String, value: bool) {
    body.push_str(if value { "true" } else { "false" });
}

fn number(body: &mut String, value: impl itoa::Integer) {
    body.push_str(itoa::Buffer::new().format(value));
}

/// Milliseconds with two decimals.
fn milliseconds(body: &mut String, took: Duration) {
    let hundredths = took.as_micros() / 10;
    number(body, hundredths / 100);
    body.push_str(if hundredths % 100 < 10 { ".0" } else { "." });
    number(body, hundredths % 100);
}

thread_local! {
    /// The second that was formatted last: answers come many a second.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// RFC 3339 in UTC, to the millisecond.
fn timestamp(body: &mut String, at: Timestamp) {
    let (second, millisecond) =
        (at.as_millis().div_euclid(1_000), at.as_millis().rem_euclid(1_000));
    SECOND.with_borrow_mut(|(formatted_at, text)| {
        if *formatted_at != second {
            let at = OffsetDateTime::from_unix_timestamp(second).ok();
            *text = at.and_then(|at| at.format(SECONDS).ok()).unwrap_or_default();
            *formatted_at = second;
        }
        body.push_str(text);
    });
    body.push_str(match millisecond {
        0..10 => ".00",
        10..100 => ".0",
        _ => ".",
    });
    number(body, millisecond);
    body.push('Z');
}

fn cache_status(source: &Source, last_resort: bool) -> HeaderValue {
    let collapsed = if source.collapsed { "; collapsed" } else { "" };
    let mut text = String::with_capacity(64);
    match source.tier {
        Tier::Upstream if last_resort => text.push_str("breakwater; fwd=miss; detail=last_resort"),
        Tier::Upstream => {
            let forward = match source.forward {
                Forward::Miss => "miss",
                Forward::Stale => "stale",
                Forward::Request => "request",
            };
            for part in ["breakwater; fwd=", forward, "; stored", collapsed] {
                text.push_str(part);
            }
        }
        tier @ (Tier::Memory | Tier::Redis | Tier::Database) => {
            text.push_str("breakwater; hit; ttl=");
            number(&mut text, source.ttl_seconds);
            for part in ["; detail=", tier.label(), collapsed] {
                text.push_str(part);
            }
        }
    }
    // Words and digits are always a valid value.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("breakwater"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_in_milliseconds() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_767_225_600_007, "2026-01-01T00:00:00.007Z"),
            (1_767_225_600_999, "2026-01-01T00:00:00.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            let mut text = String::new();
            timestamp(&mut text, Timestamp::from_millis(millis));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn durations_are_milliseconds_with_two_decimals() {
        let mut text = String::new();
        milliseconds(&mut text, Duration::from_micros(12_345));
        assert_eq!(text, "12.34");
    }
}
