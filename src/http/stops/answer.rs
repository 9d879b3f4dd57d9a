//! Turns every outcome into an answer: the envelope of errors, the header fields that all answers have,
//! and compression.
//!
//! The one place where errors become bodies, whoever made them: a stop of the pipeline, a handler,
//! actix itself, or a panic. Answers of more than a kilobyte are compressed for clients that take gzip
//! (RFC 9110, 12.5.3). Those with the data of a cache entry come compressed already
//! ([`crate::gzip`]); the rest is compressed as a whole, so the length is always known. A body that
//! cannot be compressed is sent as it is.

use std::io::Write as _;
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::http::header::{self, HeaderValue};
use actix_web::{Error, HttpRequest, HttpResponse};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::cors;
use crate::http::context::RequestContext;
use crate::http::envelope::{self, Answered};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::headers::{GZIP, POLICY, REQUEST_ID, SECURITY};
use crate::http::route::Route;
use crate::http::state::Worker;

/// When to come back after an overload.
pub(in crate::http) const COME_BACK: Duration = Duration::from_secs(1);
/// Bodies shorter than this are sent as they are.
const COMPRESSED_FROM: u64 = 1_024;

/// Answers differ by origin, and large ones by encoding.
const VARY: HeaderValue = HeaderValue::from_static("Origin");
const VARY_LARGE: HeaderValue = HeaderValue::from_static("Origin, accept-encoding");

/// The answer, and the error behind it.
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
/// less than to look for one to replace.
pub(in crate::http) fn write_headers(
    worker: &Worker,
    route: &Route,
    context: &RequestContext,
    request: &HttpRequest,
    response: &mut HttpResponse,
    failure: Option<&ApiError>,
) {
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
    cors::expose(headers, request.headers(), &worker.shared.settings.server.allowed_origins);
    if failure.is_some_and(|failure| failure.code == ErrorCode::MethodNotAllowed) {
        headers.insert(header::ALLOW, HeaderValue::from_static(route.allow));
    }
}

/// Compresses what is not compressed already.
pub(in crate::http) async fn compress(
    worker: &Worker,
    context: &RequestContext,
    mut response: HttpResponse,
) -> Result<HttpResponse, Error> {
    let mut packed = response.headers().contains_key(header::CONTENT_ENCODING);
    let is_large = matches!(response.body().size(), BodySize::Sized(n) if n >= COMPRESSED_FROM);
    let vary = if packed || is_large { VARY_LARGE } else { VARY };
    response.headers_mut().append(header::VARY, vary);
    if is_large && !packed && context.gzip {
        let (head, body) = response.into_parts();
        let plain = to_bytes(body).await?;
        let body = gzip(&plain);
        packed = body.is_some();
        response = head.set_body(BoxBody::new(body.unwrap_or(plain)));
        if packed {
            response.headers_mut().insert(header::CONTENT_ENCODING, GZIP);
        }
    }
    if let (true, BodySize::Sized(bytes)) = (packed, response.body().size()) {
        worker.shared.metrics.http.compressed_bytes.inc_by(bytes);
    }
    Ok(response)
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
