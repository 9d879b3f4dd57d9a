//! Turns every outcome into an answer: the envelope of errors, and the headers that all answers have.
//!
//! The one place where errors become bodies, whoever made them: a stop of the pipeline, a handler,
//! actix itself, or a panic.

use std::time::Duration;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::cors;
use crate::http::context::RequestContext;
use crate::http::envelope::{self, Answered};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::headers::{REQUEST_ID, SECURITY};
use crate::http::route::Route;
use crate::http::state::Worker;

/// When to come back after an overload.
pub(in crate::http) const COME_BACK: Duration = Duration::from_secs(1);

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
        // The page of documents has a policy of its own.
        if name != header::CONTENT_SECURITY_POLICY || !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        headers.insert(REQUEST_ID, id);
    }
    cors::expose(headers, request.headers(), &worker.shared.settings.server.allowed_origins);
    if failure.is_some_and(|failure| failure.code == ErrorCode::MethodNotAllowed) {
        headers.insert(header::ALLOW, HeaderValue::from_static(route.allow));
    }
}
