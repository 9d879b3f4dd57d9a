//! What the document says of one operation.
//!
//! Owns: the words in which an endpoint describes its input and its answers, and what is the same
//! for all operations of a kind: keys, limits, bodies and header fields, which follow from the route.
//! Has no neighbours.

use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Ref, RefOr, Required, ResponseBuilder, Schema};

use super::answers::{self, FetchedMetadata, ReportedMetadata, always_true, header_reference};
use super::failures::{Failures, answer};
use super::schemas::{Schemas, description, without_null};
use crate::http::error::ErrorCode;
use crate::http::forms::BODY_LIMIT;
use crate::http::route::{AuthScope, Method, is_always_open};
use crate::limits::Class;

const OK: &str = "200";
const JSON: &str = "application/json";

/// Names of the security schemes.
pub(super) const INTERNAL_KEY: &str = "x-internal-key";
pub(super) const AUTHORIZATION: &str = "authorization";
pub(super) const ADMIN_KEY: &str = "x-admin-key";

/// What is said of one operation.
pub struct Doc<'a> {
    operation: Operation,
    schemas: &'a mut Schemas,
    template: &'static str,
    class: Class,
    method: Method,
    by_body: bool,
    for_gpt: bool,
}

impl<'a> Doc<'a> {
    pub(super) fn new(
        template: &'static str,
        class: Class,
        method: Method,
        by_body: bool,
        schemas: &'a mut Schemas,
    ) -> Self {
        let operation = Operation::new();
        Self { operation, schemas, template, class, method, by_body, for_gpt: false }
    }

    /// Tag, id, summary and description. Where one description serves a GET and a POST, the POST is
    /// told apart by its id and says that it is the same.
    pub fn says(&mut self, tag: &str, id: &str, summary: &str, details: &str) -> &mut Self {
        let operation = &mut self.operation;
        operation.tags = Some(vec![tag.to_owned()]);
        let (id, summary, details) = if self.by_body {
            (
                format!("{id}ByBody"),
                format!("{}, with a body.", summary.trim_end_matches('.')),
                "The same as with a query string; both share their cache entries.".to_owned(),
            )
        } else {
            (id.to_owned(), summary.to_owned(), details.to_owned())
        };
        operation.operation_id = Some(id);
        operation.summary = Some(summary);
        operation.description = Some(details).filter(|details| !details.is_empty());
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
        let form = self.schemas.form::<T>();
        for (name, schema) in form.properties {
            let is_required = self.method != Method::Delete && form.required.contains(&name);
            let what = description(&schema);
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .description(what)
                .required(if is_required { Required::True } else { Required::False })
                .schema(Some(without_null(schema)))
                .build();
            self.parameter(parameter);
        }
        self
    }

    fn body<T: ToSchema>(&mut self) -> &mut Self {
        let mut form = self.schemas.form::<T>();
        form.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        let form = self.schemas.insert(&T::name(), RefOr::T(Schema::Object(form)));
        let is_required = self.method == Method::Post;
        let body = RequestBodyBuilder::new()
            .content(JSON, Content::new(Some(form)))
            .required(is_required.then_some(Required::True))
            .build();
        self.operation.request_body = Some(RefOr::T(body));
        self
    }

    /// A text in the path.
    pub fn path(&mut self, name: &str, what: &str, pattern: Option<&str>) -> &mut Self {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(pattern);
        self.in_path(name, what, text.build())
    }

    /// One of several words in the path.
    pub fn path_word(&mut self, name: &str, what: &str, words: &[&str]) -> &mut Self {
        let text =
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().copied()));
        self.in_path(name, what, text.build())
    }

    fn in_path(&mut self, name: &str, what: &str, schema: impl Into<Schema>) -> &mut Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .description(Some(what))
            .required(Required::True)
            .schema(Some(schema.into()))
            .build();
        self.parameter(parameter)
    }

    fn parameter(&mut self, parameter: Parameter) -> &mut Self {
        self.operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
        self
    }

    /// It answers with data that came through the cache, or past it.
    pub fn fetches<T: ToSchema>(&mut self, what: &str) -> &mut Self {
        let data = self.schemas.register::<T>();
        let metadata = self.schemas.register::<FetchedMetadata>();
        let name = format!("Fetched_{}", T::name());
        self.envelope(OK, &name, data.into(), metadata, what);
        if let Some(RefOr::T(response)) = self.operation.responses.responses.get_mut(OK) {
            for name in [answers::CACHE_STATUS, answers::AGE] {
                response.headers.insert(name.to_owned(), header_reference(name));
            }
        }
        self
    }

    /// It answers with data of the gateway itself.
    pub fn reports<T: ToSchema>(&mut self, what: &str) -> &mut Self {
        self.reports_as::<T>(OK, what)
    }

    /// The same under another status.
    pub fn reports_as<T: ToSchema>(&mut self, status: &str, what: &str) -> &mut Self {
        let data = self.schemas.register::<T>();
        self.report(status, &T::name(), data.into(), what)
    }

    /// It answers with a list of the gateway itself.
    pub fn reports_list<T: ToSchema>(&mut self, what: &str) -> &mut Self {
        let item = self.schemas.register::<T>();
        let list = Schema::Array(ArrayBuilder::new().items(item).build());
        self.report(OK, &format!("Vec_{}", T::name()), RefOr::T(list), what)
    }

    fn report(&mut self, status: &str, name: &str, data: RefOr<Schema>, what: &str) -> &mut Self {
        let metadata = self.schemas.register::<ReportedMetadata>();
        self.envelope(status, &format!("Reported_{name}"), data, metadata, what)
    }

    fn envelope(
        &mut self,
        status: &str,
        name: &str,
        data: RefOr<Schema>,
        metadata: Ref,
        what: &str,
    ) -> &mut Self {
        let mut envelope = ObjectBuilder::new();
        let fields = [
            ("success", RefOr::T(Schema::Object(always_true()))),
            ("data", data),
            ("metadata", RefOr::Ref(metadata)),
        ];
        for (field, schema) in fields {
            envelope = envelope.property(field, schema).required(field);
        }
        let envelope = self.schemas.insert(name, RefOr::T(Schema::Object(envelope.build())));
        self.response(status, what, &[(JSON, Some(envelope.into()))])
    }

    /// It answers with something that has no envelope, in one of these types.
    pub fn answers(&mut self, types: &[&str], what: &str) -> &mut Self {
        let text = |kind: &str| {
            ObjectBuilder::new().schema_type(match kind {
                JSON => Type::Object,
                _ => Type::String,
            })
        };
        let contents: Vec<_> = types
            .iter()
            .map(|kind| (*kind, Some(RefOr::T(Schema::Object(text(kind).build())))))
            .collect();
        self.response(OK, what, &contents)
    }

    fn response(
        &mut self,
        status: &str,
        what: &str,
        contents: &[(&str, Option<RefOr<Schema>>)],
    ) -> &mut Self {
        let mut response = ResponseBuilder::new().description(what);
        for (kind, schema) in contents {
            response = response.content(*kind, Content::new(schema.clone()));
        }
        let response = RefOr::T(response.build());
        self.operation.responses.responses.insert(status.to_owned(), response);
        self
    }

    /// It can fail so.
    pub fn fails(&mut self, failures: &Failures) -> &mut Self {
        for (codes, what) in failures {
            self.refuses(codes, what);
        }
        self
    }

    /// It needs a client's key, whether or not keys are required elsewhere.
    pub fn needs_key(&mut self) -> &mut Self {
        self.operation.security = Some(vec![requirement(INTERNAL_KEY), requirement(AUTHORIZATION)]);
        self
    }

    /// What is said already of a status stays.
    fn refuses(&mut self, codes: &[ErrorCode], what: &str) {
        let (status, refusal) = answer(codes, what);
        self.operation.responses.responses.entry(status).or_insert(refusal);
    }

    /// The operation with all that follows from its route, and whether it is for GPT Actions.
    pub(super) fn finish(mut self) -> (Operation, bool) {
        let (class, scope) = (self.class, AuthScope::of(self.template));
        let is_limited = class != Class::Exempt;
        self.refuses(
            &[ErrorCode::Internal],
            "A fault of ours; the request id tells where to look.",
        );
        if scope == AuthScope::Clients {
            self.refuses(&[ErrorCode::Blocked], "The address or the key is on the deny list.");
        }
        if scope == AuthScope::Admin {
            self.operation.security = Some(vec![requirement(ADMIN_KEY)]);
            let closed = "The admin's key is missing or wrong, or none is configured.";
            self.refuses(&[ErrorCode::Forbidden], closed);
        } else if is_limited {
            let key = "There is no known key where one is required.";
            self.refuses(&[ErrorCode::KeyRequired], key);
            let optional = || {
                let keys = [INTERNAL_KEY, AUTHORIZATION].map(requirement);
                [utoipa::openapi::SecurityRequirement::default()].into_iter().chain(keys).collect()
            };
            self.operation.security.get_or_insert_with(optional);
        }
        if self.operation.request_body.is_some() {
            let large = format!("The body is larger than {BODY_LIMIT} bytes.");
            self.refuses(&[ErrorCode::BodyTooLarge], &large);
            let other = "The body is not `application/json`.";
            self.refuses(&[ErrorCode::UnsupportedMediaType], other);
        }
        if is_limited {
            self.too_many();
        }
        if !self.is_always_open() {
            // Where a handler has 503s of its own, `overloaded` is among them.
            self.refuses(&[ErrorCode::Overloaded], "There are too many requests.");
        }
        self.header_fields(is_limited);
        (self.operation, self.for_gpt)
    }

    fn is_always_open(&self) -> bool {
        is_always_open(self.template, self.class)
    }

    /// Clients that are throttled for abuse still reach what is always open.
    fn too_many(&mut self) {
        if self.is_always_open() {
            let slow = "Too many requests; a client that waits as told is not refused.";
            self.refuses(&[ErrorCode::RateLimited], slow);
        } else {
            let abuse = "Too many requests, or a pattern of abuse; a client that waits as told is not \
                         refused. A throttle for abuse is told as a limit of 0 that lasts as long.";
            self.refuses(&[ErrorCode::RateLimited, ErrorCode::AbuseThrottled], abuse);
        }
    }

    fn header_fields(&mut self, is_limited: bool) {
        for (status, response) in &mut self.operation.responses.responses {
            let RefOr::T(response) = response else { continue };
            let mut add = |name: &str| {
                response.headers.insert(name.to_owned(), header_reference(name));
            };
            add(answers::REQUEST_ID);
            // Refusals behind the limit carry them as well; saying so everywhere would say nothing.
            if is_limited && matches!(status.as_str(), "200" | "429") {
                answers::LIMITS.into_iter().for_each(&mut add);
            }
        }
    }
}

pub(super) fn requirement(name: &str) -> SecurityRequirement {
    SecurityRequirement::new(name, Vec::<String>::new())
}
