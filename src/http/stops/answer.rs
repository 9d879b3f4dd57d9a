//! Turns every outcome into an answer: the envelope of errors, the header fields that all answers have,
//! those of cross-origin requests, and compression.
//!
//! The one place where errors become bodies, whoever made them: a stop of the pipeline, a handler,
//! actix itself, or a panic. Answers of more than a kilobyte are compressed for clients that take gzip
//! (RFC 9110, 12.5.3). Those with the data of a cache entry come compressed already
//! ([`crate::gzip`]); the rest is compressed as a whole, so the length is always known. A body that
//! cannot be compressed is sent as it is.
//!
//! Cross-origin requests (Fetch, "CORS protocol") are allowed for exactly the origins that are
//! configured: a comparison with a short list.

use std::io::Write as _;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpResponse};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::context::RequestContext;
use crate::http::envelope::{self, Answered};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::headers::{GZIP, POLICY, REQUEST_ID, SECURITY};
use crate::http::route::Route;
use crate::http::state::Worker;
use crate::http::stops::{caller, storing};

/// When to come back after an overload.
pub(in crate::http) const COME_BACK: Duration = Duration::from_secs(1);
/// Bodies shorter than this are sent as they are.
const COMPRESSED_FROM: u64 = 1_024;

/// What a script of an allowed origin may send.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const HEADERS: &str = "content-type, authorization, x-internal-key, x-request-id, traceparent, \
    cache-control, if-none-match";
/// Longest list of header fields that a preflight may ask for.
const LONGEST_LIST: usize = 1_024;
/// Seconds that a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
/// What a script of an allowed origin may read of an answer.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, cache-status, age, etag, retry-after, x-ratelimit-limit, x-ratelimit-remaining, \
     x-ratelimit-reset, ratelimit, ratelimit-policy, www-authenticate",
);

pub(in crate::http) fn settle(
    context: &RequestContext,
    outcome: Result<HttpResponse, ApiError>,
) -> (HttpResponse, Option<ApiError>) {
    let failure = match outcome {
        Ok(response) => match failure_of(&response) {
            Some(failure) => failure,
            None => return (response, None),
        },
        Err(failure) => failure,
    };
    (envelope::error(context, &failure), Some(failure))
}

/// The error behind a response, if it is one that has no body of ours yet.
fn failure_of(response: &HttpResponse) -> Option<ApiError> {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    match response.error() {
        Some(error) => Some(error.as_error::<ApiError>().cloned().unwrap_or_else(|| {
            let code = ErrorCode::of_status(error.as_response_error().status_code());
            ApiError::new(code).because(error)
        })),
        None if response.extensions().get::<Answered>().is_some() => None,
        None => Some(ApiError::new(ErrorCode::of_status(status))),
    }
}

/// Writes the fields of every answer. No handler writes one of them, so each is appended: that costs
/// less than to look for one to replace. True for an answer that is to be packed.
pub(in crate::http) fn write_headers(
    worker: &Worker,
    route: &Route,
    context: &RequestContext,
    origin: Option<&HeaderValue>,
    response: &mut HttpResponse,
    failure: Option<&ApiError>,
) -> bool {
    let (size, status) = (response.body().size(), response.status());
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.append(name, value);
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.append(header::CONTENT_SECURITY_POLICY, POLICY);
    }
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        headers.append(REQUEST_ID, id);
    }
    if let Some(origin) = allowed(origin, &worker.shared.settings.server.allowed_origins) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    if failure.is_some_and(|failure| failure.code == ErrorCode::MethodNotAllowed) {
        headers.insert(header::ALLOW, HeaderValue::from_static(route.allow));
    }
    if let Some(told) = caller::challenge(context.no_key.get()) {
        headers.insert(header::WWW_AUTHENTICATE, told);
    }
    let is_packed = headers.contains_key(header::CONTENT_ENCODING);
    let is_large = matches!(size, BodySize::Sized(bytes) if bytes >= COMPRESSED_FROM);
    let by_encoding = is_packed || is_large || status == StatusCode::NOT_MODIFIED;
    headers.append(header::VARY, storing::vary(route.scope, by_encoding));
    if is_packed {
        count_packed(worker, size);
    }
    is_large && !is_packed && context.gzip
}

/// The answer packed, or as it is if that cannot be done.
pub(in crate::http) async fn pack(
    worker: &Worker,
    response: HttpResponse,
) -> Result<HttpResponse, Error> {
    let (head, body) = response.into_parts();
    let plain = to_bytes(body).await?;
    let Some(packed) = gzip(&plain) else { return Ok(head.set_body(BoxBody::new(plain))) };
    let mut response = head.set_body(BoxBody::new(packed));
    count_packed(worker, response.body().size());
    response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
    Ok(response)
}

fn count_packed(worker: &Worker, size: BodySize) {
    if let BodySize::Sized(bytes) = size {
        worker.shared.metrics.http.compressed_bytes.inc_by(bytes);
    }
}

pub(in crate::http) fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

pub(in crate::http) fn is_preflight(request: &ServiceRequest) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers a preflight, whatever it is for.
pub(in crate::http) fn preflight(
    asked: &HeaderMap,
    origins: &[String],
) -> Result<HttpResponse, ApiError> {
    let refuse = |what| {
        let message = format!("This {what} is not allowed for cross-origin requests.");
        Err(ApiError::with_message(ErrorCode::InvalidRequest, message))
    };
    if allowed(asked.get(header::ORIGIN), origins).is_none() {
        return refuse("origin");
    }
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    if method.is_none_or(|method| ![b"GET".as_slice(), b"POST"].contains(&method.as_bytes())) {
        return refuse("method");
    }
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).map(HeaderValue::to_str);
    let wanted = wanted.transpose().unwrap_or(Some("?")).unwrap_or_default();
    let is_known = |name: &str| HEADERS.split(", ").any(|known| known.eq_ignore_ascii_case(name));
    if wanted.len() > LONGEST_LIST
        || !wanted.split(',').map(str::trim).all(|name| name.is_empty() || is_known(name))
    {
        return refuse("header");
    }
    let mut answer = HttpResponse::new(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Ok(answer)
}

fn allowed<'a>(origin: Option<&'a HeaderValue>, known: &[String]) -> Option<&'a HeaderValue> {
    origin.filter(|origin| known.iter().any(|known| known.as_bytes() == origin.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    #[test]
    fn what_is_packed_unpacks() {
        let plain = b"breakwater ".repeat(500);
        let packed = gzip(&plain).unwrap();
        assert!(packed.len() < plain.len() / 10);
        let mut back = Vec::new();
        GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
        assert_eq!(back, plain);
    }

    fn ask(pairs: &[(HeaderName, &'static str)]) -> Result<HttpResponse, ApiError> {
        let pairs = pairs.iter().cloned();
        let headers = pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        preflight(&headers, &["https://shop.test".to_owned()])
    }

    #[test]
    fn a_preflight_is_granted_only_with_all_three() {
        let origin = (header::ORIGIN, "https://shop.test");
        let method = (header::ACCESS_CONTROL_REQUEST_METHOD, "GET");
        let names = |names| (header::ACCESS_CONTROL_REQUEST_HEADERS, names);
        for granted in ["", "content-type", "X-Request-ID ,Authorization"] {
            assert!(ask(&[origin.clone(), method.clone(), names(granted)]).is_ok(), "{granted}");
        }
        for refused in ["x-admin-key", "content-type, cookie", "*"] {
            assert!(ask(&[origin.clone(), method.clone(), names(refused)]).is_err(), "{refused}");
        }
        assert!(ask(&[origin.clone(), method.clone()]).is_ok());
        assert!(ask(std::slice::from_ref(&method)).is_err());
        assert!(ask(&[(header::ORIGIN, "null"), method]).is_err());
        assert!(ask(&[origin, (header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")]).is_err());
    }
}
