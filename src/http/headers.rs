//! Names and values of header fields that never change, made once.
//!
//! A leaf that the pipeline, the envelope and the connections share.

use actix_web::http::header::{HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(super) const ADMIN_KEY: HeaderName = HeaderName::from_static("x-admin-key");
pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// A number as a value. `HeaderValue::from` costs three times as much.
pub(super) fn number(value: impl itoa::Integer) -> HeaderValue {
    let mut digits = itoa::Buffer::new();
    // Digits are always a valid value.
    HeaderValue::from_str(digits.format(value)).unwrap_or(HeaderValue::from_static("0"))
}

/// Sent with every answer. This is an API: nothing it sends may be framed, sniffed or run.
pub(super) const SECURITY: [(HeaderName, HeaderValue); 3] = [
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY")),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer")),
];
/// The same for whatever a browser would make of an answer. The page of documents has its own.
pub(super) const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
