//! The envelopes, as the document describes them.
//!
//! Owns: the names and types of what [`crate::http::envelope`] writes by hand; a test holds the two
//! against each other. Nothing is written with these.

use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::http::error::ErrorCode;

/// About an answer of the process itself.
#[derive(Debug, ToSchema)]
pub struct ReportedMetadata {
    /// As in `X-Request-ID`.
    pub request_id: String,
    /// When it was answered: RFC 3339, UTC, to the millisecond.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Version of the envelope.
    #[schema(example = "1")]
    pub api_version: String,
    /// From the first byte of the request to the answer.
    #[schema(minimum = 0)]
    pub processing_time_ms: f64,
}

/// About an answer that came through the cache, or past it.
#[derive(Debug, ToSchema)]
pub struct FetchedMetadata {
    /// As in `X-Request-ID`.
    pub request_id: String,
    /// When it was answered: RFC 3339, UTC, to the millisecond.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Version of the envelope.
    #[schema(example = "1")]
    pub api_version: String,
    /// From the first byte of the request to the answer.
    #[schema(minimum = 0)]
    pub processing_time_ms: f64,
    /// Whose data it is: the real service's or the simulator's.
    pub api_integration: ApiIntegration,
    /// Whether the cache took part.
    pub cache_enabled: bool,
    /// Whether a tier answered.
    pub cache_hit: bool,
    /// Which one.
    pub cache_tier: CacheTier,
    /// Whether the data is past its fresh time; it is being fetched anew or cannot be.
    pub stale: bool,
    /// Age of the data.
    pub age_seconds: u64,
    /// What is missing or second best: `stale`, `affiliate_links`, `validation`, `last_resort` (made
    /// from a catalogue file because everything else failed), `upstream` (a part could not be had),
    /// or the tiers that do not answer now, `redis` and `database`. Empty when all is well.
    pub degraded: Vec<String>,
}

/// Whose data an answer holds.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ApiIntegration {
    /// The real service's.
    Live,
    /// The simulator's.
    Simulator,
}

/// The tier that answered.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CacheTier {
    /// Memory of the process.
    Memory,
    /// Redis.
    Redis,
    /// The database.
    Database,
    /// None: the upstream.
    None,
}

/// Every error, whatever its status.
#[derive(Debug, ToSchema)]
pub struct Error {
    /// Always `false`.
    #[schema(schema_with = always_false)]
    pub success: bool,
    /// A sentence for a person.
    pub error: String,
    /// What kind of error, for programs.
    #[schema(schema_with = any_code)]
    pub code: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to come back, in seconds; absent where nobody knows.
    #[schema(value_type = u64, required = false, minimum = 1)]
    pub retry_after: Option<u64>,
    /// About the answer.
    pub metadata: ErrorMetadata,
}

/// About an answer that is an error.
#[derive(Debug, ToSchema)]
pub struct ErrorMetadata {
    /// As in `X-Request-ID`.
    pub request_id: String,
    /// When it was answered: RFC 3339, UTC, to the millisecond.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Version of the envelope.
    #[schema(example = "1")]
    pub api_version: String,
}

/// `true` and nothing else.
pub(in crate::http) fn always_true() -> Object {
    always(true)
}

fn always_false() -> Object {
    always(false)
}

fn always(value: bool) -> Object {
    ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([value])).build()
}

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

/// The schema of `code` in any error.
fn any_code() -> Object {
    one_of(&ALL)
}

pub(super) fn one_of(codes: &[ErrorCode]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.as_str())))
        .build()
}
