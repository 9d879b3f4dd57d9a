//! The schemas of a document.
//!
//! Owns: registering what operations use, forms in one flat object each, leaving out what no operation
//! needs; and, by hand, what [`crate::http::envelope`] writes by hand: envelopes, errors and header
//! fields, which a test holds against what is written. Has no neighbours.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::http::error::ErrorCode;

/// Where a reference to a schema leads.
const SCHEMAS: &str = "#/components/schemas/";

/// Schemas by name.
#[derive(Default)]
pub(super) struct Schemas {
    pub(super) all: BTreeMap<String, Value>,
    /// As their types declare them, before a form is made flat.
    declared: BTreeMap<String, Value>,
}

impl Schemas {
    /// Registers a type with all that it refers to; gives the reference.
    pub(super) fn register<T: ToSchema>(&mut self) -> Value {
        self.children::<T>();
        let schema = json!(T::schema());
        self.declare(&T::name(), &schema);
        self.insert(&T::name(), schema)
    }

    /// Two types of one name would be described as one of them, without a word.
    fn declare(&mut self, name: &str, schema: &Value) {
        let first = self.declared.entry(name.to_owned()).or_insert_with(|| schema.clone());
        debug_assert_eq!(first, schema, "two types have the schema name {name}");
    }

    pub(super) fn insert(&mut self, name: &str, schema: Value) -> Value {
        self.all.insert(name.to_owned(), schema);
        json!({"$ref": format!("{SCHEMAS}{name}")})
    }

    /// A form as one object, whatever other forms it contains.
    pub(super) fn form<T: ToSchema>(&mut self) -> Value {
        self.children::<T>();
        let form = json!(T::schema());
        self.declare(&T::name(), &form);
        let (mut properties, mut required) = (Map::new(), BTreeSet::new());
        self.flatten(&form, &mut properties, &mut required);
        let mut flat = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            flat["required"] = json!(required);
        }
        if let Some(description) = form.get("description") {
            flat["description"] = description.clone();
        }
        flat
    }

    fn children<T: ToSchema>(&mut self) {
        let mut all = Vec::new();
        T::schemas(&mut all);
        // A form that is registered already stays flat, whichever route comes first.
        for (name, schema) in all {
            let schema = json!(schema);
            self.declare(&name, &schema);
            self.all.entry(name).or_insert(schema);
        }
    }

    fn flatten(
        &self,
        schema: &Value,
        properties: &mut Map<String, Value>,
        required: &mut BTreeSet<String>,
    ) {
        let referred = target(schema).and_then(|name| self.all.get(name));
        for part in referred.into_iter().chain(schema["allOf"].as_array().into_iter().flatten()) {
            self.flatten(part, properties, required);
        }
        let own = schema["properties"].as_object().cloned();
        properties.extend(own.into_iter().flatten());
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.filter_map(Value::as_str).map(str::to_owned));
    }

    /// Those that the operations need, directly or through others.
    pub(super) fn needed_by(mut self, paths: &Value) -> Self {
        let mut needed = BTreeSet::new();
        let mut open = references(paths);
        while let Some(name) = open.pop() {
            if let Some(schema) = self.all.get(&name).filter(|_| needed.insert(name)) {
                open.extend(references(schema));
            }
        }
        self.all.retain(|name, _| needed.contains(name));
        self
    }
}

fn target(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(SCHEMAS)
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = target(value).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// A field of a form as a query parameter: without `null`, which no query string can hold.
pub(super) fn without_null(mut schema: Value) -> Value {
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    if let Some(choice) = choices.into_iter().find(|choice| choice["type"] != "null") {
        return choice.clone();
    }
    let mut types = schema["type"].as_array().into_iter().flatten();
    if let Some(only) = types.find(|kind| **kind != "null").cloned() {
        schema["type"] = only;
    }
    schema
}

/// A field of a form in a body, where a number and a flag may be a text as well.
pub(super) fn also_as_text(schema: &mut Value) {
    let own = &schema["type"];
    let types = own.as_array().cloned().unwrap_or_else(|| vec![own.clone()]);
    let may_be_text =
        ["integer", "number", "boolean"].iter().any(|kind| types.contains(&json!(kind)));
    if may_be_text && !types.contains(&json!("string")) {
        schema["type"] = types.into_iter().chain([json!("string")]).collect();
    }
}

/// What a schema says about itself, or the first of its choices.
pub(super) fn description(schema: &Value) -> Option<&str> {
    let own = schema["description"].as_str();
    own.or_else(|| schema["oneOf"].as_array()?.iter().find_map(description))
}

/// Ways to fail: codes that share a status, and when.
pub type Failures = [(&'static [ErrorCode], &'static str)];

/// The input is not as described.
pub(super) const BAD_INPUT: &Failures = &[(
    &[ErrorCode::InvalidRequest],
    "The input is not as described; the sentence names every field that is not, and what is allowed.",
)];

pub const NOT_FOUND: &Failures = &[(&[ErrorCode::NotFound], "There is no such thing.")];

/// The input is as described, and the answer is that there can be none.
pub const UNPROCESSABLE: &Failures =
    &[(&[ErrorCode::Unprocessable], "Nothing can be made of this input; the sentence says why.")];

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

/// An object that always has all of these fields.
fn object(properties: Value) -> Value {
    let required: Vec<_> = properties.as_object().into_iter().flat_map(|all| all.keys()).collect();
    let required = json!(required);
    json!({"type": "object", "properties": properties, "required": required})
}

pub(super) fn one_of(codes: &[ErrorCode]) -> Value {
    let words: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    json!({"type": "string", "enum": words})
}

/// The envelope of an answer that succeeds.
pub(super) fn envelope(data: Value, metadata: Value) -> Value {
    let success = json!({"type": "boolean", "enum": [true]});
    object(json!({"success": success, "data": data, "metadata": metadata}))
}

/// Every error, whatever its status.
pub(super) fn error() -> Value {
    let mut error = object(json!({
        "success": {"type": "boolean", "enum": [false]},
        "error": {"type": "string", "description": "A sentence for a person."},
        "code": one_of(&ErrorCode::ALL),
        "retryable": {
            "type": "boolean",
            "description": "Whether the same request may succeed later.",
        },
        "metadata": object(common()),
    }));
    error["properties"]["retry_after"] = json!({
        "type": "integer",
        "minimum": 1,
        "description": "When to come back, in seconds; absent where nobody knows.",
    });
    error
}

/// What is said about every answer.
fn common() -> Value {
    json!({
        "request_id": {"type": "string", "description": "As in `X-Request-ID`."},
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "When it was answered: RFC 3339, UTC, to the millisecond.",
        },
        "api_version": {
            "type": "string",
            "description": "Version of the envelope.",
            "example": "1",
        },
    })
}

fn success() -> Value {
    let mut fields = common();
    fields["processing_time_ms"] = json!({
        "type": "number",
        "minimum": 0,
        "description": "From the first byte of the request to the answer.",
    });
    fields
}

/// About an answer of the process itself.
pub(super) fn reported() -> Value {
    object(success())
}

/// About an answer that came through the cache, or past it.
pub(super) fn fetched() -> Value {
    let flag = |what: &str| json!({"type": "boolean", "description": what});
    let mut fields = success();
    fields["api_integration"] = json!({
        "type": "string",
        "enum": ["live", "simulator"],
        "description": "Whose data it is: the real service's or the simulator's.",
    });
    fields["cache_enabled"] = flag("Whether the cache took part.");
    fields["cache_hit"] = flag("Whether a tier answered.");
    fields["cache_tier"] = json!({
        "type": "string",
        "enum": ["memory", "redis", "database", "none"],
        "description": "Which one; `none`: the upstream.",
    });
    fields["stale"] =
        flag("Whether the data is past its fresh time; it is being fetched anew or cannot be.");
    fields["age_seconds"] = json!({
        "type": "integer",
        "minimum": 0,
        "description": "Age of the data.",
    });
    fields["degraded"] = json!({
        "type": "array",
        "items": {"type": "string"},
        "description": "What is missing or second best: words of the service, `stale`, `validation`, \
            `last_resort` (made from a catalogue file because everything else failed), `upstream` \
            (a part could not be had), or the tiers that do not answer now, `redis` and \
            `database`. Empty when all is well.",
    });
    object(fields)
}

/// How the client stands, on every limited answer.
pub(super) const LIMITS: [&str; 5] = [
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit",
    "RateLimit-Policy",
];

const TEXTS: [(&str, &str, &str); 7] = [
    (
        "X-Request-ID",
        "Id of the request: the client's own when it sent a sane one, else the trace id of its \
         `traceparent`, else a new one.",
        "9f3c51a7d2e84b06a1c5e0f7b3d94826",
    ),
    (
        "Cache-Control",
        "What may be stored (RFC 9111): `no-store`, or for whom and how long, counted from the answer.",
        "private, max-age=3510",
    ),
    (
        "ETag",
        "A weak tag of the data, for `If-None-Match`. Only where the answer may be stored: for a client without a \
         key, with `PUBLIC_CACHING` or where no limit applies.",
        "W/\"1-9f3c51a7d2e84b06\"",
    ),
    (
        "Vary",
        "What the answer depends on beside its address.",
        "Origin, authorization, x-internal-key, x-admin-key",
    ),
    (
        "Cache-Status",
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
    (
        "Age",
        "Seconds since the data was fetched (RFC 9111); absent when it is new, or where `max-age` is given.",
        90,
    ),
    ("Retry-After", "Seconds after which trying again may help.", 3),
    (
        "X-RateLimit-Limit",
        "Requests that the rule nearest to its end allows; 0 during a throttle for abuse.",
        100,
    ),
    ("X-RateLimit-Remaining", "Requests that may still come at once.", 99),
    ("X-RateLimit-Reset", "Seconds until the whole limit is there again.", 60),
];

/// Name of the description of the header by which a client says what it has already.
pub(super) const KNOWN: &str = "IfNoneMatch";

/// The description of that header.
pub(super) fn known() -> Value {
    json!({
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of an answer that the client has: where the data is still the same, the \
            answer is 304 without a body. Answers have one, and 304 comes, only for a client without a key, \
            with `PUBLIC_CACHING` or where no limit applies.",
        "required": false,
        "schema": {"type": "string"},
    })
}

/// Refers to the description of a header in a response.
pub(super) fn add_header(response: &mut Value, name: &str) {
    response["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
}

/// Every description of a header.
pub(super) fn headers() -> Value {
    let mut headers = json!({});
    for (name, what, example) in TEXTS {
        let schema = json!({"type": "string", "examples": [example]});
        headers[name] = json!({"description": what, "schema": schema});
    }
    for (name, what, example) in NUMBERS {
        let schema = json!({"type": "integer", "minimum": 0, "examples": [example]});
        headers[name] = json!({"description": what, "schema": schema});
    }
    headers
}
