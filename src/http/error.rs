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

use crate::clock;
use crate::failure::{Bound, Failure, FailureKind};
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
    /// Every code, in the order of the contract.
    pub const ALL: [Self; 18] = [
        Self::InvalidRequest,
        Self::KeyRequired,
        Self::Forbidden,
        Self::Blocked,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Unprocessable,
        Self::RateLimited,
        Self::AbuseThrottled,
        Self::Internal,
        Self::UpstreamRejected,
        Self::UpstreamUnavailable,
        Self::Overloaded,
        Self::CircuitOpen,
        Self::DeadlineExceeded,
    ];

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

    /// What it says where nobody knows more.
    pub(super) const fn sentence(self) -> &'static str {
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
            Self::Overloaded => {
                "There are too many requests for this gateway just now; come back later."
            }
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

    /// What the client is told, where that is more than the code says.
    #[must_use]
    pub fn own_words(&self) -> Option<&str> {
        (self.message != self.code.sentence()).then_some(&*self.message)
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

/// Shortest wait given to a client when nothing better is known.
const USUAL_WAIT: Duration = Duration::from_secs(2);

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let code = match failure.kind {
            FailureKind::NotStored => {
                let message = "Nothing that may answer this is stored, and the request says only-if-cached: the \
                     upstream was not asked. Without that it is.";
                return Self::with_message(ErrorCode::DeadlineExceeded, message);
            }
            FailureKind::ShareSpent | FailureKind::KeptForKeys => ErrorCode::RateLimited,
            FailureKind::UpstreamRejected => ErrorCode::UpstreamRejected,
            FailureKind::UpstreamUnavailable => ErrorCode::UpstreamUnavailable,
            FailureKind::Overloaded => ErrorCode::Overloaded,
            FailureKind::CircuitOpen => ErrorCode::CircuitOpen,
            FailureKind::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            FailureKind::Internal => ErrorCode::Internal,
        };
        let wait = failure.retry_after.or(code.is_retryable().then_some(USUAL_WAIT));
        let message = in_words(&failure, wait).unwrap_or_else(|| code.sentence().into());
        Self { code, message, retry_after: wait, cause: Some(failure.reason) }
    }
}

/// What the client is told of a call that was not sent, or brought nothing: the true reason, and when
/// that is over.
fn in_words(failure: &Failure, wait: Option<Duration>) -> Option<Cow<'static, str>> {
    let seconds = seconds_up(wait.unwrap_or(USUAL_WAIT));
    let day = |bound: String| {
        let renewed = clock::now().plus(wait.unwrap_or(USUAL_WAIT)).rfc3339();
        let stored = "what is stored is still answered";
        format!("{bound}; {stored}. They are renewed in {seconds} s, at {renewed}.")
    };
    const WITH_KEY: &str =
        " With an API key, in x-internal-key or Authorization, this is answered now.";
    let words = match (failure.kind, failure.bound) {
        (FailureKind::ShareSpent, Some(Bound::Day { calls, of })) => {
            day(format!(
                "This client has had its share of the upstream's calls of today, {calls} of {of}"
            )) + WITH_KEY
        }
        (FailureKind::KeptForKeys, Some(Bound::Day { calls, of })) => {
            day(format!(
                "What is left of the upstream's calls of today, {calls} of {of}, is kept for API keys"
            )) + WITH_KEY
        }
        (_, Some(Bound::Day { of, .. })) => day(format!(
            "The upstream's calls of today are spent, all {of} of them, with an API key and without"
        )),
        (_, Some(Bound::Pace)) => format!(
            "The upstream service is called only so often a second, and this call's turn would come too \
             late; come back in {seconds} s."
        ),
        (_, Some(Bound::SlowStart)) => format!(
            "The upstream service has just come back and gets few calls at first; come back in \
             {seconds} s."
        ),
        (_, Some(Bound::Banned)) => format!(
            "The upstream service told us to make no calls for now; come back in {seconds} s."
        ),
        (_, Some(Bound::HeldOpen)) => format!(
            "An admin has stopped calls to the upstream service, and it is not known for how long; what \
             is stored is still answered. Ask again in {seconds} s at the earliest."
        ),
        (_, Some(Bound::Unusable(why))) => format!(
            "What the upstream service sent about this cannot be used ({why}); it may exist. Ask again in \
             {seconds} s at the earliest."
        ),
        (FailureKind::Overloaded, None) => format!(
            "As many calls to the upstream service as it takes at once are under way; come back in \
             {seconds} s."
        ),
        (_, None) => return None,
    };
    Some(words.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../docs/errors.md");

    #[test]
    fn the_page_of_errors_names_every_code_as_it_is() {
        for code in ErrorCode::ALL {
            let begin = format!("| `{}` | {} |", code.as_str(), code.status().as_u16());
            let row = PAGE.lines().find(|line| line.starts_with(&begin));
            let row = row.unwrap_or_else(|| panic!("there is no row {begin}"));
            let retry = row.split('|').nth(4).map(str::trim);
            assert_eq!(retry, Some(if code.is_retryable() { "yes" } else { "no" }), "{row}");
        }
        let (_, codes) = PAGE.split_once("## Codes").unwrap();
        let (codes, _) = codes.split_once("\n## ").unwrap();
        let rows = codes.lines().filter(|line| line.starts_with("| `"));
        assert_eq!(rows.count(), ErrorCode::ALL.len());
    }

    #[test]
    fn the_page_of_errors_has_the_sentence_of_every_bound() {
        let day = Some(Bound::Day { calls: 1, of: 4 });
        for (name, kind, bound) in [
            ("pace", FailureKind::Overloaded, Some(Bound::Pace)),
            ("calls at once", FailureKind::Overloaded, None),
            ("slow start", FailureKind::Overloaded, Some(Bound::SlowStart)),
            ("day", FailureKind::UpstreamUnavailable, day),
            ("share of the day", FailureKind::ShareSpent, day),
            ("kept for keys", FailureKind::KeptForKeys, day),
            ("ban", FailureKind::UpstreamUnavailable, Some(Bound::Banned)),
            ("held open", FailureKind::CircuitOpen, Some(Bound::HeldOpen)),
            ("unfit", FailureKind::UpstreamUnavailable, Some(Bound::Unusable(""))),
        ] {
            let error = ApiError::from(Failure::new(kind, "").bound_by(bound));
            let begin = format!("| {name} | `{}` | ", error.code.as_str());
            let row = PAGE.lines().find_map(|line| line.strip_prefix(&begin));
            let sentence = row.and_then(|row| row.split(" |").next());
            let sentence = sentence.unwrap_or_else(|| panic!("there is no row {begin}"));
            assert!(error.message.starts_with(sentence), "{sentence}: {}", error.message);
        }
    }
}
