//! Header fields of answers, as the document describes them.
//!
//! Owns: one description for each, in the document's components; responses refer to it.

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Components, Header, HeaderBuilder, Ref, RefOr};

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
pub(super) fn reference(name: &str) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{name}")))
}

/// Adds every description.
pub(super) fn describe(components: &mut Components) {
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
