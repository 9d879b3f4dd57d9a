//! Compresses answers of more than a kilobyte for clients that take gzip.
//!
//! Owns: the choice (after RFC 9110 section 12.5.3) and the count of bytes. Refuses: bodies that are
//! small. Answers with the data of a cache entry come packed already, because the entry keeps it
//! ([`crate::gzip`]); the rest is packed here, whole, so the length is always told.

use std::io::Write as _;

use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, Encoding, Header, HeaderValue,
};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::context::RequestContext;
use crate::http::state::Worker;

/// Bodies shorter than this are sent as they are.
const FROM_BYTES: u64 = 1_024;

/// Compresses on the way out what is not packed already.
pub(in crate::http) async fn compress(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let wanted = takes_gzip(&request);
    if wanted && let Some(context) = RequestContext::of(&request) {
        context.gzip.set(true);
    }
    let mut response = next.call(request).await?.map_into_boxed_body();
    let is_packed = response.headers().contains_key(header::CONTENT_ENCODING);
    let large = matches!(response.response().body().size(), BodySize::Sized(n) if n >= FROM_BYTES);
    if !is_packed && !large {
        return Ok(response);
    }
    let vary = HeaderValue::from_static("accept-encoding");
    response.headers_mut().append(header::VARY, vary);
    if is_packed {
        count(&response);
        return Ok(response);
    }
    if wanted { encode(response).await } else { Ok(response) }
}

fn count(response: &ServiceResponse<BoxBody>) {
    let worker = response.request().app_data::<web::Data<Worker>>();
    if let (Some(worker), BodySize::Sized(bytes)) = (worker, response.response().body().size()) {
        worker.shared.metrics.response_compressed(bytes);
    }
}

fn takes_gzip(request: &ServiceRequest) -> bool {
    request.headers().contains_key(header::ACCEPT_ENCODING)
        && AcceptEncoding::parse(request).is_ok_and(|accepted| {
            let ours = [Encoding::gzip(), Encoding::identity()];
            accepted.negotiate(ours.iter()) == Some(Encoding::gzip())
        })
}

async fn encode(response: ServiceResponse<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let (request, response) = response.into_parts();
    let (mut head, body) = response.into_parts();
    let plain = to_bytes(body).await?;
    let Some(packed) = gzip(&plain) else {
        return Ok(ServiceResponse::new(request, head.set_body(BoxBody::new(plain))));
    };
    let encoding = HeaderValue::from_static(ContentEncoding::Gzip.as_str());
    head.headers_mut().insert(header::CONTENT_ENCODING, encoding);
    let response = ServiceResponse::new(request, head.set_body(BoxBody::new(packed)));
    count(&response);
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
    use actix_web::test::TestRequest;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    #[test]
    fn gzip_is_chosen_only_when_it_is_wanted() {
        for (accept, wanted) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br", false),
            ("gzip;q=0", false),
            ("identity, gzip;q=0.5", false),
            ("", false),
            ("%%%", false),
        ] {
            let request = TestRequest::default()
                .insert_header((header::ACCEPT_ENCODING, accept))
                .to_srv_request();
            assert_eq!(takes_gzip(&request), wanted, "{accept:?}");
        }
        assert!(!takes_gzip(&TestRequest::default().to_srv_request()));
    }

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
