//! Errors, as the document describes them: one body for all, a description for each status.
//!
//! Owns: which codes can stand under which status. Handlers name what they themselves can fail
//! with; what the layers around them refuse is added by `layers`.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{AllOfBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::answers::Error;
use super::headers;
use crate::http::error::ErrorCode;

/// Every code, in the order of the contract.
pub(super) const ALL: [ErrorCode; 17] = [
    ErrorCode::InvalidRequest,
    ErrorCode::KeyRequired,
    ErrorCode::Forbidden,
    ErrorCode::Blocked,
    ErrorCode::NotFound,
    ErrorCode::MethodNotAllowed,
    ErrorCode::RequestTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::RateLimited,
    ErrorCode::AbuseThrottled,
    ErrorCode::Internal,
    ErrorCode::UpstreamRejected,
    ErrorCode::UpstreamUnavailable,
    ErrorCode::Overloaded,
    ErrorCode::CircuitOpen,
    ErrorCode::DeadlineExceeded,
];

type Answers = BTreeMap<String, RefOr<Response>>;

/// Input that is not as described.
#[derive(Debug)]
pub struct BadInput;

impl IntoResponses for BadInput {
    fn responses() -> Answers {
        let what = "The input is not as described; the sentence names every field that is not, and \
                    what is allowed.";
        answers([answer(&[ErrorCode::InvalidRequest], what)])
    }
}

/// No such thing.
#[derive(Debug)]
pub struct NotFound;

impl IntoResponses for NotFound {
    fn responses() -> Answers {
        answers([answer(&[ErrorCode::NotFound], "There is no such thing.")])
    }
}

/// A change that the database did not take.
#[derive(Debug)]
pub struct DatabaseAway;

impl IntoResponses for DatabaseAway {
    fn responses() -> Answers {
        let what = "The database is away: nothing was changed.";
        answers([answer(&[ErrorCode::Overloaded], what)])
    }
}

/// Neither a tier nor the upstream has an answer.
#[derive(Debug)]
pub struct UpstreamFailures;

impl IntoResponses for UpstreamFailures {
    fn responses() -> Answers {
        let unavailable =
            [ErrorCode::UpstreamUnavailable, ErrorCode::Overloaded, ErrorCode::CircuitOpen];
        answers([
            answer(&[ErrorCode::UpstreamRejected], "The upstream refuses for good."),
            answer(&unavailable, "No tier holds an answer and the upstream gives none now."),
            answer(&[ErrorCode::DeadlineExceeded], "There was no answer in time."),
        ])
    }
}

/// Time ran out.
#[derive(Debug)]
pub struct NoAnswer;

impl IntoResponses for NoAnswer {
    fn responses() -> Answers {
        answers([answer(&[ErrorCode::DeadlineExceeded], "It was not done in time.")])
    }
}

/// The part that knows is being restarted.
#[derive(Debug)]
pub struct Restarting;

impl IntoResponses for Restarting {
    fn responses() -> Answers {
        answers([answer(&[ErrorCode::Overloaded], "The monitor is being restarted.")])
    }
}

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
        let name = headers::RETRY_AFTER;
        response.headers.insert(name.to_owned(), headers::reference(name));
    }
    (status.to_string(), response.into())
}

fn answers<const N: usize>(all: [(String, RefOr<Response>); N]) -> Answers {
    all.into_iter().collect()
}

/// The schema of `code` in any error.
pub(super) fn any_code() -> Object {
    one_of(&ALL)
}

fn one_of(codes: &[ErrorCode]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.as_str())))
        .build()
}
