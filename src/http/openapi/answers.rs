//! The envelopes and header fields of answers, as the document describes them.
//!
//! Owns: the names and types of what [`crate::http::envelope`] writes by hand; a test holds the two
//! against each other. Nothing is written with these. Header fields are described once, in the
//! document's components, and responses refer to them.

use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{Components, Header, HeaderBuilder, Ref, RefOr};

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

/// Every answer has it.
pub(super) const REQUEST_ID: &str = "X-Request-ID";
/// Where an answer came from.
pub(super) const CACHE_STATUS: &str = "Cache-Status";
/// How old an answer is.
pub(super) const AGE: &str = "Age";
/// When to come back.
pub(super) const RETRY_AFTER: &str = "Retry-After";
/// How the client stands, on every limited answer.
pub(super) const LIMITS: [&str; 5] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
];

const TEXTS: [(&str, &str, &str); 4] = [
    (
        REQUEST_ID,
        "Id of the request: the client's own when it sent a sane one, else the trace id of its \
         `traceparent`, else a new one.",
        "9f3c51a7d2e84b06a1c5e0f7b3d94826",
    ),
    (
        CACHE_STATUS,
        "Where the answer came from (RFC 9211).",
        "breakwater; hit; ttl=3510; detail=memory",
    ),
    (
        "RateLimit",
        "What is left under every rule that applies (draft-ietf-httpapi-ratelimit-headers).",
        "\"search-minute\";r=99;t=60",
    ),
    ("RateLimit-Policy", "The rules that apply.", "\"search-minute\";q=100;w=60"),
];

const NUMBERS: [(&str, &str, u64); 5] = [
    (AGE, "Seconds since the data was fetched (RFC 9111); absent when it is new.", 90),
    (RETRY_AFTER, "Seconds after which trying again may help.", 3),
    (
        "X-RateLimit-Limit",
        "Requests that the rule nearest to its end allows; 0 during a throttle for abuse.",
        100,
    ),
    ("X-RateLimit-Remaining", "Requests that may still come at once.", 99),
    ("X-RateLimit-Reset", "Seconds until the whole limit is there again.", 60),
];

/// A reference to the description of a header.
pub(super) fn header_reference(name: &str) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

/// Adds every description.
pub(super) fn describe_headers(components: &mut Components) {
    let texts = TEXTS.map(|(name, what, example)| {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        (name, header(schema.examples([example]), what))
    });
    let numbers = NUMBERS.map(|(name, what, example)| {
        let schema = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        (name, header(schema.examples([example]), what))
    });
    for (name, header) in texts.into_iter().chain(numbers) {
        components.headers.insert(name.to_owned(), header.into());
    }
}

fn header(schema: ObjectBuilder, what: &str) -> Header {
    HeaderBuilder::new().schema(Some(schema)).description(Some(what)).build()
}
