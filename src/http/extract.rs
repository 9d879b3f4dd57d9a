//! Reading what clients send.
//!
//! Input comes as a query string or as JSON. Whatever is wrong with it is a 400 that names every
//! field; a body of another type is a 415, one that is too large a 413, and one that has not arrived
//! before the request's deadline a 408.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::Bytes;

use super::connection::Requests;
use super::context::RequestContext;
use super::error::{ApiError, ErrorCode};
use super::state::Worker;
use crate::services::products::input::{self, RawForm};

/// Largest body that is read.
pub const BODY_LIMIT: usize = 64 * 1024;

/// Input from the query string.
#[derive(Debug)]
pub struct QueryForm<T>(pub T);

impl<T: RawForm> FromRequest for QueryForm<T> {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let form = input::from_query(request.query_string()).map(Self);
        std::future::ready(form.map_err(ApiError::from))
    }
}

/// Input from a JSON body. No body at all is an empty object.
#[derive(Debug)]
pub struct JsonForm<T>(pub T);

impl<T: RawForm> FromRequest for JsonForm<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = body(request, payload);
        Box::pin(async move {
            let body = body.await?;
            let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
            Ok(Self(input::from_json(text)?))
        })
    }
}

/// Input from a JSON body, or from the query string if there is no body: what stands between may drop
/// the body of a DELETE.
#[derive(Debug)]
pub struct AnyForm<T>(pub T);

impl<T: RawForm + 'static> FromRequest for AnyForm<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let query = input::from_query(request.query_string());
        let body = body(request, payload);
        Box::pin(async move {
            let body = body.await?;
            Ok(Self(if body.is_empty() { query? } else { input::from_json(&body)? }))
        })
    }
}

/// The whole body, if it says that it is JSON.
fn body(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Bytes, ApiError>> + use<> {
    let json = is_json(request);
    let context = RequestContext::of(request);
    let deadline = context.as_ref().map(|context| context.deadline.into());
    if let Some(context) = context {
        context.waited.set(true);
    }
    let requests = request.conn_data::<Rc<Requests>>().cloned();
    let worker = request.app_data::<web::Data<Worker>>().cloned();
    let body = Bytes::from_request(request, payload);
    async move {
        let wait = worker.as_ref().map(|worker| worker.products.cache().waiting().begin());
        let body = match deadline {
            // A client that sends nothing more must not keep a slot for ever.
            Some(deadline) => tokio::time::timeout_at(deadline, body)
                .await
                .map_err(|_| ApiError::new(ErrorCode::RequestTimeout))?,
            None => body.await,
        };
        drop(wait);
        if let (Some(requests), Ok(_)) = (requests, &body) {
            requests.body_ended();
        }
        let body = body.map_err(|error| {
            let status = error.as_response_error().status_code();
            let refused = ApiError::new(ErrorCode::of_status(status));
            if refused.code == ErrorCode::BodyTooLarge {
                let message = format!("The body is larger than {BODY_LIMIT} bytes.");
                return ApiError { message, ..refused };
            }
            refused.because(error)
        })?;
        if !json && !body.is_empty() {
            return Err(ApiError::new(ErrorCode::UnsupportedMediaType));
        }
        Ok(body)
    }
}

/// Whether the body says that it is JSON (`application/json` or `application/*+json`).
fn is_json(request: &HttpRequest) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The bound on bodies, for the application's configuration.
#[must_use]
pub(super) fn payload_config() -> web::PayloadConfig {
    web::PayloadConfig::new(BODY_LIMIT)
}
