//! Every error a client can get: its code, its status, its sentence.
//!
//! The error table of the contract. A client reads what is written here and never a cause; the cause
//! is in the log.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use crate::failure::{Failure, FailureKind};
use crate::services::products::InvalidField;

/// The kinds of error a client can get, one for each code of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    InvalidRequest,
    KeyRequired,
    Forbidden,
    /// On the deny list.
    Blocked,
    NotFound,
    MethodNotAllowed,
    /// The request took too long to arrive.
    RequestTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    RateLimited,
    AbuseThrottled,
    /// A fault of ours.
    Internal,
    /// The upstream refuses for good.
    UpstreamRejected,
    UpstreamUnavailable,
    /// Too much is waiting.
    Overloaded,
    CircuitOpen,
    DeadlineExceeded,
}

impl ErrorCode {
    /// The error table: the code in the answer, the status, and the usual sentence.
    const fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidRequest => {
                ("invalid_request", S::BAD_REQUEST, "The request is malformed.")
            }
            Self::KeyRequired => (
                "key_required",
                S::UNAUTHORIZED,
                "This needs an API key, in x-internal-key or Authorization.",
            ),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "This is not allowed."),
            Self::Blocked => ("blocked", S::FORBIDDEN, "This client is blocked."),
            Self::NotFound => ("not_found", S::NOT_FOUND, "There is nothing at this address."),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                S::METHOD_NOT_ALLOWED,
                "This address does not take this method.",
            ),
            Self::RequestTimeout => {
                ("request_timeout", S::REQUEST_TIMEOUT, "The request took too long to arrive.")
            }
            Self::BodyTooLarge => {
                ("body_too_large", S::PAYLOAD_TOO_LARGE, "The body is too large.")
            }
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                S::UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/json.",
            ),
            Self::RateLimited => {
                ("rate_limited", S::TOO_MANY_REQUESTS, "Too many requests; come back later.")
            }
            Self::AbuseThrottled => {
                ("abuse_throttled", S::TOO_MANY_REQUESTS, "This looks like abuse; come back later.")
            }
            Self::Internal => (
                "internal",
                S::INTERNAL_SERVER_ERROR,
                "Something went wrong here; the request id tells us where to look.",
            ),
            Self::UpstreamRejected => (
                "upstream_rejected",
                S::BAD_GATEWAY,
                "The product service refuses these requests; its configuration needs attention.",
            ),
            Self::UpstreamUnavailable => (
                "upstream_unavailable",
                S::SERVICE_UNAVAILABLE,
                "The product service is unavailable; come back later.",
            ),
            Self::Overloaded => {
                ("overloaded", S::SERVICE_UNAVAILABLE, "Too much is waiting; come back later.")
            }
            Self::CircuitOpen => (
                "circuit_open",
                S::SERVICE_UNAVAILABLE,
                "The product service has been failing and is given a rest; come back later.",
            ),
            Self::DeadlineExceeded => {
                ("deadline_exceeded", S::GATEWAY_TIMEOUT, "No answer in time; come back later.")
            }
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self.status().as_u16(), 408 | 429 | 503 | 504)
    }

    /// The code for an error that actix made, by its status.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::KeyRequired,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            413 => Self::BodyTooLarge,
            415 => Self::UnsupportedMediaType,
            429 => Self::RateLimited,
            503 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    /// For a person.
    pub message: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// What happened; for the log only.
    pub cause: Option<String>,
}

impl ApiError {
    /// An error with its usual sentence.
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self { code, message: code.row().2.to_owned(), retry_after: None, cause: None }
    }

    /// An error with a sentence of its own.
    #[must_use]
    pub fn with_message(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::new(code) }
    }

    /// The same, to be tried again after `wait`.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same with a cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// Without a body: the pipeline writes it, for every error alike.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// Shortest wait told to a client when nothing better is known.
const USUAL_WAIT: Duration = Duration::from_secs(2);

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let code = match failure.kind {
            FailureKind::UpstreamRejected => ErrorCode::UpstreamRejected,
            FailureKind::UpstreamUnavailable => ErrorCode::UpstreamUnavailable,
            FailureKind::Overloaded => ErrorCode::Overloaded,
            FailureKind::CircuitOpen => ErrorCode::CircuitOpen,
            FailureKind::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            FailureKind::Internal => ErrorCode::Internal,
        };
        let wait = failure.retry_after.or(code.is_retryable().then_some(USUAL_WAIT));
        Self { retry_after: wait, cause: Some(failure.reason), ..Self::new(code) }
    }
}

impl From<Vec<InvalidField>> for ApiError {
    fn from(problems: Vec<InvalidField>) -> Self {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Self::with_message(ErrorCode::InvalidRequest, all.join("; "))
    }
}
