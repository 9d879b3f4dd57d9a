//! Every error a client can get: its code, its status, its usual sentence.
//!
//! Owns: the error table of the contract. A handler that knows more gives a sentence of its own
//! (`with_message`), and mistakes in a form name their fields. A client never reads a cause; the cause
//! is in the log.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use crate::failure::{Failure, FailureKind};
use crate::http::forms::{InvalidField, LISTED};
use crate::limits::seconds_up;

/// The kinds of error a client can get, one for each code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    InvalidRequest,
    KeyRequired,
    Forbidden,
    /// On the deny list.
    Blocked,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    /// It is as described, and yet nothing can be made of it.
    Unprocessable,
    RateLimited,
    AbuseThrottled,
    /// A fault of ours.
    Internal,
    UpstreamRejected,
    UpstreamUnavailable,
    Overloaded,
    CircuitOpen,
    DeadlineExceeded,
}

impl ErrorCode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::KeyRequired => "key_required",
            Self::Forbidden => "forbidden",
            Self::Blocked => "blocked",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Unprocessable => "unprocessable",
            Self::RateLimited => "rate_limited",
            Self::AbuseThrottled => "abuse_throttled",
            Self::Internal => "internal",
            Self::UpstreamRejected => "upstream_rejected",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::Overloaded => "overloaded",
            Self::CircuitOpen => "circuit_open",
            Self::DeadlineExceeded => "deadline_exceeded",
        }
    }

    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::KeyRequired => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Blocked => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RateLimited | Self::AbuseThrottled => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamRejected => StatusCode::BAD_GATEWAY,
            Self::UpstreamUnavailable | Self::Overloaded | Self::CircuitOpen => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RequestTimeout
                | Self::RateLimited
                | Self::AbuseThrottled
                | Self::UpstreamUnavailable
                | Self::Overloaded
                | Self::CircuitOpen
                | Self::DeadlineExceeded
        )
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
            422 => Self::Unprocessable,
            429 => Self::RateLimited,
            503 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed.",
            Self::KeyRequired => "This needs an API key, in x-internal-key or Authorization.",
            Self::Forbidden => "This is not allowed.",
            Self::Blocked => "This client is blocked.",
            Self::NotFound => "There is nothing at this address; / shows where to go.",
            Self::MethodNotAllowed => {
                "This address does not take this method; Allow names those that it takes."
            }
            Self::RequestTimeout => "The request took too long to arrive.",
            Self::BodyTooLarge => "The body is too large.",
            Self::UnsupportedMediaType => {
                "The body must be JSON, and Content-Type must say application/json."
            }
            Self::Unprocessable => "Nothing can be made of this.",
            Self::RateLimited => "Too many requests; come back later.",
            Self::AbuseThrottled => "These requests follow a pattern of abuse; come back later.",
            Self::Internal => "Something went wrong here; the request id tells us where to look.",
            Self::UpstreamRejected => {
                "The upstream service refuses these requests; its configuration needs attention."
            }
            Self::UpstreamUnavailable => "The upstream service is unavailable; come back later.",
            Self::Overloaded => "Too much is waiting; come back later.",
            Self::CircuitOpen => {
                "The upstream service has been failing and is given a rest; come back later."
            }
            Self::DeadlineExceeded => "No answer in time; come back later.",
        }
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub code: ErrorCode,
    /// For a person.
    pub message: Cow<'static, str>,
    pub retry_after: Option<Duration>,
    /// What happened; for the log only.
    pub cause: Option<String>,
}

impl ApiError {
    #[must_use]
    pub fn new(code: ErrorCode) -> Self {
        Self { code, message: code.sentence().into(), retry_after: None, cause: None }
    }

    #[must_use]
    pub fn with_message(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), ..Self::new(code) }
    }

    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

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
            FailureKind::NotStored => {
                let message = "Nothing is stored for this, and the request says only-if-cached.";
                return Self::with_message(ErrorCode::DeadlineExceeded, message);
            }
            FailureKind::ShareSpent | FailureKind::KeptForKeys => {
                let bound = if failure.kind == FailureKind::ShareSpent {
                    "This address has had its share of the upstream's calls of today"
                } else {
                    "What is left of the upstream's calls of today is kept for API keys"
                };
                let wait = failure.retry_after.unwrap_or(USUAL_WAIT);
                let message = format!(
                    "{bound}; what is stored is still answered. The upstream's day ends in {} s. \
                     With an API key, in x-internal-key or Authorization, this is answered now.",
                    seconds_up(wait)
                );
                let refused = Self::with_message(ErrorCode::RateLimited, message);
                return refused.because(failure.reason).retry_after(wait);
            }
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
        let mut told: Vec<String> = problems.iter().take(LISTED).map(ToString::to_string).collect();
        let more = problems.len().saturating_sub(LISTED);
        if more > 0 {
            told.push(format!("and {more} more mistakes"));
        }
        Self::with_message(ErrorCode::InvalidRequest, told.join("; "))
    }
}
