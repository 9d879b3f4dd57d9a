//! What the document says of one operation.
//!
//! Owns: the words in which an endpoint describes its input and its answers, and what is the same
//! for all operations of a kind: keys, limits, bodies and header fields, which follow from the route.
//! Has no neighbours.

use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::schemas::{
    self, BAD_INPUT, Failures, KNOWN, LIMITS, Schemas, UPSTREAM, add_header, also_as_text,
    description, envelope, one_of, without_null,
};
use crate::http::error::ErrorCode;
use crate::http::forms::BODY_LIMIT;
use crate::http::route::{AuthScope, Method, is_always_open, is_keyed, is_lenient};
use crate::limits::Class;

const OK: &str = "200";

/// Names of the security schemes.
pub(super) const INTERNAL_KEY: &str = "x-internal-key";
pub(super) const AUTHORIZATION: &str = "authorization";
pub(super) const ADMIN_KEY: &str = "x-admin-key";
pub(super) const SESSION: &str = "session";

/// What is said of one operation.
pub struct Doc<'a> {
    operation: Value,
    parameters: Vec<Value>,
    responses: Map<String, Value>,
    schemas: &'a mut Schemas,
    template: &'static str,
    class: Class,
    method: Method,
    by_body: bool,
    key_required: bool,
    for_gpt: bool,
    lasts: bool,
}

impl<'a> Doc<'a> {
    pub(super) fn new(
        template: &'static str,
        class: Class,
        method: Method,
        by_body: bool,
        key_required: bool,
        schemas: &'a mut Schemas,
    ) -> Self {
        Self {
            operation: json!({}),
            parameters: Vec::new(),
            responses: Map::new(),
            schemas,
            template,
            class,
            method,
            by_body,
            key_required: key_required && is_keyed(template, class),
            for_gpt: false,
            lasts: false,
        }
    }

    /// Tag, id, summary and description. Where one description serves a GET and a POST, the POST is
    /// told apart by its id and says that it is the same.
    pub fn says(&mut self, tag: &str, id: &str, summary: &str, details: &str) -> &mut Self {
        let operation = &mut self.operation;
        operation["tags"] = json!([tag]);
        if self.by_body {
            operation["operationId"] = format!("{id}ByBody").into();
            let summary = summary.trim_end_matches('.');
            operation["summary"] = format!("{summary}, with a body.").into();
            operation["description"] =
                "The same as with a query string; both share their cache entries.".into();
            return self;
        }
        operation["operationId"] = id.into();
        operation["summary"] = summary.into();
        if !details.is_empty() {
            operation["description"] = details.into();
        }
        self
    }

    /// It is among the operations for GPT Actions, once.
    pub fn for_gpt(&mut self) -> &mut Self {
        self.for_gpt = !self.by_body;
        self
    }

    /// The form it takes: in the query string of a GET, the body of a POST, either of a DELETE.
    pub fn form<T: ToSchema>(&mut self) -> &mut Self {
        match self.method {
            Method::Get => self.query::<T>(),
            Method::Post => self.body::<T>(),
            Method::Delete => self.query::<T>().body::<T>(),
        }
    }

    /// A form in the query string.
    pub fn query<T: ToSchema>(&mut self) -> &mut Self {
        self.fails(BAD_INPUT);
        let form = self.schemas.form::<T>();
        let required = form["required"].as_array();
        for (name, schema) in form["properties"].as_object().into_iter().flatten() {
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == name));
            self.parameters.push(json!({
                "name": name,
                "in": "query",
                "description": description(schema),
                "required": is_required && self.method != Method::Delete,
                "schema": without_null(schema.clone()),
            }));
        }
        self
    }

    fn body<T: ToSchema>(&mut self) -> &mut Self {
        self.fails(BAD_INPUT);
        let mut form = self.schemas.form::<T>();
        form["additionalProperties"] = false.into();
        form["properties"]
            .as_object_mut()
            .into_iter()
            .flat_map(Map::values_mut)
            .for_each(also_as_text);
        let form = self.schemas.insert(&T::name(), form);
        self.operation["requestBody"] = json!({
            "content": {"application/json": {"schema": form}},
            "required": self.method == Method::Post,
        });
        self
    }

    /// A text in the path.
    pub fn path(&mut self, name: &str, what: &str, pattern: Option<&str>) -> &mut Self {
        let mut text = json!({"type": "string"});
        if let Some(pattern) = pattern {
            text["pattern"] = pattern.into();
        }
        self.in_path(name, what, text)
    }

    /// An example of the parameter that was described last.
    pub fn example(&mut self, example: &str) -> &mut Self {
        if let Some(parameter) = self.parameters.last_mut() {
            parameter["example"] = example.into();
        }
        self
    }

    /// One of several words in the path.
    pub fn path_word(&mut self, name: &str, what: &str, words: &[&str]) -> &mut Self {
        self.in_path(name, what, json!({"type": "string", "enum": words}))
    }

    fn in_path(&mut self, name: &str, what: &str, schema: Value) -> &mut Self {
        self.parameters.push(json!({
            "name": name,
            "in": "path",
            "description": what,
            "required": true,
            "schema": schema,
        }));
        self
    }

    /// It answers with data that came through the cache, or past it.
    pub fn fetches<T: ToSchema>(&mut self, what: &str) -> &mut Self {
        let data = self.schemas.register::<T>();
        let metadata = self.schemas.insert("FetchedMetadata", schemas::fetched());
        self.succeeds(OK, &format!("Fetched_{}", T::name()), data, metadata, what);
        self.fails(UPSTREAM);
        for name in ["Cache-Status", "Age"] {
            add_header(self.responses.entry(OK).or_insert_with(|| json!({})), name);
        }
        self.lasts()
    }

    /// It answers with data of the gateway itself.
    pub fn reports<T: ToSchema>(&mut self, what: &str) -> &mut Self {
        self.reports_as::<T>(OK, what)
    }

    /// The same under another status.
    pub fn reports_as<T: ToSchema>(&mut self, status: &str, what: &str) -> &mut Self {
        let data = self.schemas.register::<T>();
        let metadata = self.schemas.insert("ReportedMetadata", schemas::reported());
        self.succeeds(status, &format!("Reported_{}", T::name()), data, metadata, what)
    }

    /// It answers with a list of the gateway itself.
    pub fn reports_list<T: ToSchema>(&mut self, what: &str) -> &mut Self {
        let list = json!({"type": "array", "items": self.schemas.register::<T>()});
        let metadata = self.schemas.insert("ReportedMetadata", schemas::reported());
        self.succeeds(OK, &format!("Reported_Vec_{}", T::name()), list, metadata, what)
    }

    fn succeeds(
        &mut self,
        status: &str,
        name: &str,
        data: Value,
        metadata: Value,
        what: &str,
    ) -> &mut Self {
        let envelope = self.schemas.insert(name, envelope(data, metadata));
        let content = json!({"application/json": {"schema": envelope}});
        self.responses.insert(status.into(), json!({"description": what, "content": content}));
        self
    }

    /// It answers with something that has no envelope, in one of these types.
    pub fn answers(&mut self, types: &[&str], what: &str) -> &mut Self {
        let mut content = json!({});
        for kind in types {
            let is_json = *kind == "application/json";
            content[kind]["schema"]["type"] = if is_json { "object" } else { "string" }.into();
        }
        self.responses.insert(OK.into(), json!({"description": what, "content": content}));
        self
    }

    /// It answers 204, with nothing.
    pub fn does(&mut self, what: &str) -> &mut Self {
        self.responses.insert("204".into(), json!({"description": what}));
        self
    }

    /// It can fail so.
    pub fn fails(&mut self, failures: &Failures) -> &mut Self {
        for (codes, what) in failures {
            self.refuses(codes, what);
        }
        self
    }

    /// Its data stays the same for a while, and a client that has it already gets none.
    pub const fn lasts(&mut self) -> &mut Self {
        self.lasts = true;
        self
    }

    /// It needs a client's key, whether or not keys are required elsewhere.
    pub fn needs_key(&mut self) -> &mut Self {
        self.operation["security"] = json!([{INTERNAL_KEY: []}, {AUTHORIZATION: []}]);
        self
    }

    /// It is for everybody, whatever the scope of its address.
    pub fn needs_nothing(&mut self) -> &mut Self {
        self.operation["security"] = json!([]);
        self
    }

    /// It is about the session of a cookie, if there is one.
    pub fn of_session(&mut self) -> &mut Self {
        self.operation["security"] = json!([{SESSION: []}, {}]);
        self
    }

    /// What is said already of a status stays.
    fn refuses(&mut self, codes: &[ErrorCode], what: &str) {
        let status = codes.first().map_or(500, |code| code.status().as_u16());
        let names: Vec<_> = codes.iter().map(|code| format!("`{}`", code.as_str())).collect();
        let narrowed = json!({"type": "object", "properties": {"code": one_of(codes)}});
        let error = json!({"$ref": "#/components/schemas/Error"});
        let mut refusal = json!({
            "description": format!("{}: {what}", names.join(", ")),
            "content": {"application/json": {"schema": {"allOf": [error, narrowed]}}},
        });
        if codes.iter().any(|code| code.is_retryable()) {
            add_header(&mut refusal, "Retry-After");
        }
        self.responses.entry(status.to_string()).or_insert(refusal);
    }

    /// The operation with all that follows from its route, and whether it is for GPT Actions.
    pub(super) fn finish(mut self) -> (Value, bool) {
        let is_limited = self.class != Class::Exempt;
        self.not_modified();
        let is_always_open = is_always_open(self.template, self.class);
        self.refuses(
            &[ErrorCode::Internal],
            "A fault of ours; the request id tells where to look.",
        );
        if !is_lenient(self.template, self.class) {
            self.fails(BAD_INPUT);
        }
        self.access(is_limited);
        if self.operation["requestBody"].is_object() {
            let large = format!("The body is larger than {BODY_LIMIT} bytes.");
            self.refuses(&[ErrorCode::BodyTooLarge], &large);
            let other = "The body is not `application/json`.";
            self.refuses(&[ErrorCode::UnsupportedMediaType], other);
        }
        if is_limited && is_always_open {
            // Clients that are throttled for abuse still reach what is always open.
            let slow = "Too many requests; a client that waits for `Retry-After` is not refused.";
            self.refuses(&[ErrorCode::RateLimited], slow);
        } else if is_limited {
            let abuse = "Too many requests, a share of the upstream's day that is spent, or a \
                         pattern of abuse; a client that waits for `Retry-After` is not refused. A \
                         throttle for abuse is shown as a limit of 0 that lasts as long.";
            self.refuses(&[ErrorCode::RateLimited, ErrorCode::AbuseThrottled], abuse);
        }
        if !is_always_open {
            // Where a handler has 503s of its own, `overloaded` is among them.
            self.refuses(&[ErrorCode::Overloaded], "There are too many requests.");
        }
        self.header_fields(is_limited);
        self.operation["responses"] = self.responses.into();
        if !self.parameters.is_empty() {
            self.operation["parameters"] = self.parameters.into();
        }
        (self.operation, self.for_gpt)
    }

    /// Who may use it.
    fn access(&mut self, is_limited: bool) {
        let scope = AuthScope::of(self.template);
        if scope == AuthScope::Clients {
            self.refuses(&[ErrorCode::Blocked], "The address or the key is on the deny list.");
        }
        if scope == AuthScope::Admin {
            if self.operation["security"].is_null() {
                // The cookie is sent below the page's address only.
                self.operation["security"] = if self.template.starts_with("/admin") {
                    json!([{ADMIN_KEY: []}, {SESSION: []}])
                } else {
                    json!([{ADMIN_KEY: []}])
                };
            }
            let closed = "The admin's key is missing or wrong, or none is configured; or a change by a \
                cookie did not come from a page of this host.";
            self.refuses(&[ErrorCode::Forbidden], closed);
        } else if is_limited {
            if self.key_required {
                self.needs_key();
            }
            if self.operation["security"].is_null() {
                self.operation["security"] = json!([{}, {INTERNAL_KEY: []}, {AUTHORIZATION: []}]);
            } else {
                self.refuses(&[ErrorCode::KeyRequired], "There is no known key.");
            }
        } else {
            // Said, and not left out: whoever checks documents wants to know that it is meant.
            self.operation["security"] = json!([]);
        }
    }

    /// A client that has the data already gets none; of what needs a key nothing is stored.
    fn not_modified(&mut self) {
        let is_stored = self.operation["security"].is_null() && !self.key_required;
        if !self.lasts || self.method != Method::Get || !is_stored {
            return;
        }
        let known =
            "The client has it already, as `If-None-Match` says; only where answers may be stored.";
        self.responses.insert("304".into(), json!({"description": known}));
        for status in [OK, "304"] {
            let response = self.responses.entry(status).or_insert_with(|| json!({}));
            ["ETag", "Vary"].into_iter().for_each(|name| add_header(response, name));
        }
        self.parameters.push(json!({"$ref": format!("#/components/parameters/{KNOWN}")}));
    }

    fn header_fields(&mut self, is_limited: bool) {
        for (status, response) in &mut self.responses {
            add_header(response, "X-Request-ID");
            add_header(response, "Cache-Control");
            // Refusals behind the limit carry them as well; saying so everywhere would say nothing.
            if is_limited && matches!(status.as_str(), "200" | "204" | "429") {
                LIMITS.into_iter().for_each(|name| add_header(response, name));
            }
        }
    }
}
