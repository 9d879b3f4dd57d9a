//! Compresses answers of more than a kilobyte for clients that take gzip.
//!
//! The choice is that of RFC 9110 section 12.5.3. Answers with the data of a cache entry come
//! compressed already ([`crate::gzip`]); the rest is compressed here as a whole, so the length is
//! always known. A body that cannot be compressed is sent as it is.

use std::io::Write as _;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::http::header::{self, HeaderValue};
use actix_web::{Error, HttpRequest, HttpResponse};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::context::takes_gzip;
use crate::http::headers::GZIP;
use crate::http::state::Worker;

/// Bodies shorter than this are sent as they are.
const FROM_BYTES: u64 = 1_024;

/// Answers differ by origin, and large ones by encoding.
const VARY: HeaderValue = HeaderValue::from_static("Origin");
const VARY_LARGE: HeaderValue = HeaderValue::from_static("Origin, accept-encoding");

/// Compresses what is not compressed already.
pub(in crate::http) async fn compress(
    worker: &Worker,
    request: &HttpRequest,
    mut response: HttpResponse,
) -> Result<HttpResponse, Error> {
    let mut packed = response.headers().contains_key(header::CONTENT_ENCODING);
    let is_large = matches!(response.body().size(), BodySize::Sized(n) if n >= FROM_BYTES);
    let vary = if packed || is_large { VARY_LARGE } else { VARY };
    response.headers_mut().insert(header::VARY, vary);
    if is_large && !packed && takes_gzip(request.headers()) {
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
