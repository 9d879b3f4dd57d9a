//! Errors, as the document describes them: one body for all, a description for each status.
//!
//! Owns: which codes can stand under which status. Handlers name what they themselves can fail
//! with; what the layers around them refuse is added by `layers`.

use utoipa::ToSchema;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

use super::answers::{Error, RETRY_AFTER, header_reference, one_of};
use crate::http::error::ErrorCode;

/// Ways to fail: codes that share a status, and when.
pub type Failures = [(&'static [ErrorCode], &'static str)];

/// The input is not as described.
pub const BAD_INPUT: &Failures = &[(
    &[ErrorCode::InvalidRequest],
    "The input is not as described; the sentence names every field that is not, and what is allowed.",
)];

pub const NOT_FOUND: &Failures = &[(&[ErrorCode::NotFound], "There is no such thing.")];

/// A change that the database did not take.
pub const DATABASE_AWAY: &Failures =
    &[(&[ErrorCode::Overloaded], "The database is away: nothing was changed.")];

/// Neither a tier nor the upstream has an answer.
pub const UPSTREAM: &Failures = &[
    (&[ErrorCode::UpstreamRejected], "The upstream refuses for good."),
    (
        &[ErrorCode::UpstreamUnavailable, ErrorCode::Overloaded, ErrorCode::CircuitOpen],
        "No tier holds an answer and the upstream gives none now.",
    ),
    (&[ErrorCode::DeadlineExceeded], "There was no answer in time."),
];

/// Time ran out.
pub const NOT_IN_TIME: &Failures = &[(&[ErrorCode::DeadlineExceeded], "It was not done in time.")];

/// The part that knows is being restarted.
pub const RESTARTING: &Failures = &[(&[ErrorCode::Overloaded], "The monitor is being restarted.")];

/// The response for codes that share a status, with its status.
pub(super) fn answer(codes: &[ErrorCode], what: &str) -> (String, RefOr<Response>) {
    let status = codes.first().map_or(500, |code| code.status().as_u16());
    let names: Vec<_> = codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
    let narrowed = ObjectBuilder::new().property("code", one_of(codes));
    let body =
        AllOfBuilder::new().item(Ref::from_schema_name(Error::name())).item(narrowed).build();
    let mut response = ResponseBuilder::new()
        .description(format!("{}: {what}", names.join(", ")))
        .content("application/json", Content::new(Some(Schema::AllOf(body))))
        .build();
    if codes.iter().any(|code| code.is_retryable()) {
        response.headers.insert(RETRY_AFTER.to_owned(), header_reference(RETRY_AFTER));
    }
    (status.to_string(), response.into())
}
