//! The documents hold what is served, and what is served is described as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::to_bytes;
use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Doc, Stated, schemas};
use crate::clock;
use crate::http::context::{Fields, RequestContext};
use crate::http::envelope::{self, Integration};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::Call;
use crate::http::route::{AuthScope, is_always_open, is_keyed};
use crate::http::routes;
use crate::http::served::Served;
use crate::http::service::{Route, Surface};
use crate::limits::Class;

/// What a service could bring: a form by query string and by body, and an answer.
const SURFACE: Surface = Surface {
    operations: &[],
    about: &[],
    settings: &[],
    name: "things",
    example: "/things/1",
    routes: &[&[Route::at("/things/{id}", Class::Search)
        .get(|| actix_web::web::to(thing))
        .same_by_post(|| actix_web::web::to(thing))
        .says(describe)]],
    tags: &[("Things", "What there is")],
};

#[derive(Default, Serialize, Deserialize, ToSchema)]
struct ThingForm {
    /// A word.
    #[schema(value_type = Option<String>)]
    word: Option<Value>,
    /// A number.
    #[schema(value_type = Option<u32>, minimum = 0)]
    least: Option<Value>,
    /// A flag.
    #[schema(value_type = Option<bool>)]
    fresh: Option<Value>,
}

#[derive(Serialize, ToSchema)]
struct Thing {
    id: u64,
}

async fn thing(_: Call) -> HttpResponse {
    HttpResponse::Ok().finish()
}

fn describe(doc: &mut Doc<'_>) {
    doc.says("Things", "getThing", "Gets a thing.", "Of all there are.")
        .for_gpt()
        .path("id", "Its number.", None)
        .form::<ThingForm>()
        .fetches::<Thing>("The thing.");
}

const OPEN: Stated = Stated { key_required: false, admin_port: 8080 };

fn describe_post(doc: &mut Doc<'_>) {
    doc.says("Things", "makeThing", "Makes a thing.", "").for_gpt().fetches::<Thing>("The thing.");
}

fn complete() -> Value {
    complete_of(OPEN)
}

fn complete_of(stated: Stated) -> Value {
    serde_json::from_str(&super::complete(&[&SURFACE], stated)).unwrap()
}

fn for_gpt() -> Value {
    serde_json::from_str(&super::for_gpt(&[&SURFACE], OPEN)).unwrap()
}

#[test]
fn the_post_of_a_get_is_told_apart_and_not_for_gpt() {
    let both = &complete()["paths"]["/things/{id}"];
    assert_eq!(both["get"]["operationId"], "getThing");
    assert_eq!(both["post"]["operationId"], "getThingByBody");
    assert_eq!(both["get"]["parameters"].as_array().unwrap().len(), 5, "If-None-Match is one");
    assert_eq!(both["post"]["parameters"].as_array().unwrap().len(), 1);
    assert!(both["post"]["requestBody"].is_object() && both["get"]["requestBody"].is_null());
    let gpt = for_gpt();
    let operations = operations(&gpt);
    assert_eq!((operations.len(), operations[0].1.as_str()), (1, "GET"));
    const POST: Route =
        Route::at("/x", Class::General).post(|| actix_web::web::to(thing)).says(describe_post);
    let post = Surface { routes: const { &[&[POST]] }, ..SURFACE };
    let bare: Value = serde_json::from_str(&super::for_gpt(&[&post], OPEN)).unwrap();
    assert!(bare["paths"]["/x"]["post"].get("parameters").is_none(), "{bare}");
    assert_eq!(operations[0].2["parameters"].as_array().unwrap().len(), 4);
}

#[test]
fn numbers_of_a_body_may_be_texts_and_those_of_a_query_are_numbers() {
    let document = complete();
    let fields = &document["components"]["schemas"]["ThingForm"]["properties"];
    assert_eq!(fields["least"]["type"], json!(["integer", "null", "string"]));
    assert_eq!(fields["least"]["minimum"], 0);
    assert_eq!(fields["fresh"]["type"], json!(["boolean", "null", "string"]));
    assert_eq!(fields["word"]["type"], json!(["string", "null"]));
    let get = &document["paths"]["/things/{id}"]["get"]["parameters"];
    let least = get.as_array().unwrap().iter().find(|one| one["name"] == "least").unwrap();
    assert_eq!(least["schema"]["type"], "integer");
}

#[test]
fn what_may_be_stored_names_the_304_and_its_fields() {
    let document = complete();
    let mut stored = Vec::new();
    for (path, method, operation) in operations(&document) {
        let known = &operation["responses"]["304"];
        let parameters = operation["parameters"].to_string();
        assert_eq!(parameters.contains("IfNoneMatch"), known.is_object(), "{method} {path}");
        let whole = &operation["responses"]["200"];
        assert_eq!(whole["headers"]["ETag"].is_object(), known.is_object(), "{method} {path}");
        if known.is_object() {
            assert!(known["content"].is_null());
            for name in ["ETag", "Cache-Control", "Vary"] {
                assert!(known["headers"][name].is_object(), "{method} {path}: {name}");
            }
            assert_eq!(method, "GET");
            stored.push(path);
        }
    }
    assert!(stored.contains(&"/things/{id}".to_owned()) && stored.contains(&"/docs".to_owned()));
    // Nobody stores what is for one key alone.
    let keyed = complete_of(Stated { key_required: true, ..OPEN });
    assert!(keyed["paths"]["/things/{id}"]["get"]["responses"]["304"].is_null());
    assert!(keyed["paths"]["/docs"]["get"]["responses"]["304"].is_object());
}

#[test]
fn a_key_is_required_where_the_settings_say_so() {
    let needed = json!([{"x-internal-key": []}, {"authorization": []}]);
    for key_required in [false, true] {
        let stated = Stated { key_required, ..OPEN };
        for (path, method, operation) in operations(&complete_of(stated)) {
            let place = format!("{method} {path}");
            let address = routes::all([&SURFACE]).find(|one| one.template == path).unwrap();
            let required = key_required && is_keyed(&path, address.class);
            assert_eq!(operation["security"] == needed, required, "{place}");
            assert_eq!(operation["responses"]["401"].is_object(), required, "{place}");
        }
        let gpt: Value = serde_json::from_str(&super::for_gpt(&[&SURFACE], stated)).unwrap();
        let optional = gpt["security"].as_array().unwrap().contains(&json!({}));
        assert_eq!(optional, !key_required, "{}", gpt["security"]);
    }
}

#[test]
fn admin_operations_take_the_key_or_the_cookie_and_a_login_neither() {
    let document = complete_of(Stated { admin_port: 9_001, ..OPEN });
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["x-admin-key"]["in"], "header");
    let cookie = (&schemes["session"]["in"], &schemes["session"]["name"]);
    assert_eq!(cookie, (&json!("cookie"), &json!("breakwater_session_9001")));
    let security = |path: &str, method: &str| document["paths"][path][method]["security"].clone();
    let either = json!([{"x-admin-key": []}, {"session": []}]);
    assert_eq!(security("/admin/actors", "get"), either);
    // The cookie is not sent there.
    assert_eq!(security("/api/cache/clear", "post"), json!([{"x-admin-key": []}]));
    assert_eq!(security("/admin/session", "post"), json!([]));
    assert_eq!(security("/admin/session", "delete"), json!([{"session": []}, {}]));
}

#[test]
fn only_tags_that_are_used_are_listed() {
    for document in [complete(), for_gpt()] {
        let used: BTreeSet<_> = operations(&document)
            .into_iter()
            .map(|(_, _, operation)| operation["tags"][0].as_str().unwrap().to_owned())
            .collect();
        let tags = document["tags"].as_array().unwrap();
        let listed: BTreeSet<_> =
            tags.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed, used);
    }
}

mod namesake {
    /// Another type with the name of [`super::Thing`].
    #[derive(utoipa::ToSchema)]
    #[expect(dead_code, reason = "only its schema is looked at")]
    pub(super) struct Thing {
        name: String,
    }
}

#[test]
#[should_panic(expected = "two types have the schema name Thing")]
fn two_types_of_one_name_are_noticed() {
    let mut schemas = schemas::Schemas::default();
    schemas.register::<Thing>();
    schemas.register::<Thing>();
    schemas.register::<namesake::Thing>();
}

#[test]
fn a_document_names_the_address_it_is_told() {
    let named = super::at(super::complete(&[&SURFACE], OPEN), "https://api.shop.example/x/");
    let document: Value = serde_json::from_str(&named).unwrap();
    assert_eq!(document["servers"][0]["url"], "https://api.shop.example/x");
    assert_eq!(document["servers"].as_array().unwrap().len(), 1);
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().unwrap()
}

/// Path, method and operation of everything in a document.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

/// Every reference anywhere in `value`.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn every_operation_is_complete() {
    let document = complete();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert!(ids.insert(id), "{place}: the operation id stands twice");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{place}");
        let tag = &operation["tags"][0];
        let tags = document["tags"].as_array().unwrap();
        assert!(tags.iter().any(|known| known["name"] == *tag), "{place}: {tag}");
        let placeholders = path.matches('{').count();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, placeholders, "{place}");
        for parameter in parameters {
            let target = parameter["$ref"].as_str().map(|target| target.trim_start_matches('#'));
            let parameter = target.map_or(&parameter, |target| document.pointer(target).unwrap());
            assert!(parameter["description"].is_string(), "{place}: {parameter}");
            assert!(!parameter["schema"].to_string().contains("null"), "{place}: {parameter}");
        }
        let responses = &operation["responses"];
        let nothing = responses["204"].is_object();
        assert!(responses["200"]["content"].is_object() != nothing, "{place}");
        assert!(operation["responses"]["500"].is_object(), "{place}");
    }
}

/// Some answer with nothing.
fn headers_of_good(responses: &Value) -> &Value {
    let good = responses.get("200").or_else(|| responses.get("204"));
    &good.expect("a good answer")["headers"]
}

#[test]
fn limits_keys_and_bodies_are_described_where_they_apply() {
    let document = complete();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let address = routes::all([&SURFACE]).find(|address| address.template == path).unwrap();
        let responses = &operation["responses"];
        let limited = address.class != Class::Exempt;
        assert_eq!(responses["429"].is_object(), limited, "{place}");
        let clients = AuthScope::of(&path) == AuthScope::Clients;
        let headers = headers_of_good(responses);
        assert_eq!(headers["RateLimit"].is_object(), limited, "{place}");
        assert!(headers["X-Request-ID"].is_object(), "{place}");
        let sheds = responses["503"].to_string().contains("overloaded");
        assert!(sheds || is_always_open(address.template, address.class), "{place}");
        let for_admin = AuthScope::of(&path) == AuthScope::Admin;
        assert_eq!(responses["403"].is_object(), for_admin || clients, "{place}");
        assert_eq!(for_admin, matches!(operation["tags"][0].as_str(), Some("Admin" | "Chaos")));
        let body = operation["requestBody"].is_object();
        assert_eq!(responses["413"].is_object() && responses["415"].is_object(), body, "{place}");
    }
}

#[test]
fn a_throttle_is_described_where_it_applies() {
    let document = complete();
    for (path, method, operation) in operations(&document) {
        let address = routes::all([&SURFACE]).find(|address| address.template == path).unwrap();
        let throttles = operation["responses"]["429"].to_string().contains("abuse_throttled");
        assert_eq!(throttles, !is_always_open(address.template, address.class), "{method} {path}");
    }
}

#[test]
fn references_lead_somewhere_and_no_schema_is_left_over() {
    for document in [complete(), for_gpt()] {
        let references: BTreeSet<_> = references(&document).into_iter().collect();
        for reference in &references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for name in object(&document["components"]["schemas"]).keys() {
            let reference = format!("#/components/schemas/{name}");
            assert!(references.contains(&reference), "{reference} is not used");
        }
    }
}

#[test]
fn errors_are_described_by_their_own_codes() {
    let document = complete();
    let any = &document["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
    assert_eq!(any.as_array().unwrap().len(), ErrorCode::ALL.len());
    for (path, method, operation) in operations(&document) {
        for (status, response) in object(&operation["responses"]) {
            let body = &response["content"]["application/json"]["schema"];
            let Some(codes) = body["allOf"][1]["properties"]["code"]["enum"].as_array() else {
                continue;
            };
            for code in codes {
                let known = ErrorCode::ALL.into_iter().find(|known| known.as_str() == code);
                let right = known.map(|known: ErrorCode| known.status().as_str().to_owned());
                assert_eq!(right.as_ref(), Some(status), "{method} {path}: {code}");
            }
        }
    }
}

/// The names in a written envelope and in its metadata are exactly those its schema requires.
fn has_the_fields_of(response: HttpResponse, schema: &str, absent: &[&str]) {
    let body = to_bytes(response.into_body()).now_or_never().unwrap().unwrap();
    let written: Value = serde_json::from_slice(&body).unwrap();
    let document = complete();
    let envelope = &document["components"]["schemas"][schema];
    let metadata = &envelope["properties"]["metadata"];
    let target = metadata["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
    let metadata = target.map_or(metadata, |target| document.pointer(target).unwrap());
    for (written, schema) in [(&written, envelope), (&written["metadata"], metadata)] {
        let written: BTreeSet<_> = object(written).keys().cloned().collect();
        let described = object(&schema["properties"]).keys();
        let expected = described.filter(|name| !absent.contains(&name.as_str())).cloned();
        assert_eq!(written, expected.collect(), "{schema}");
    }
}

#[test]
fn envelopes_are_described_as_they_are_written() {
    let now = clock::monotonic();
    let context =
        RequestContext::begin(&HeaderMap::new(), &Fields::default(), now, Duration::from_secs(1));
    let own = envelope::own(&context, &serde_json::json!({})).unwrap();
    has_the_fields_of(own, "Reported_Status", &[]);
    let served = Served::live(Bytes::from_static(b"{}"), false);
    let integration = Integration { name: "simulator" };
    let fetched = envelope::answer(&context, served, integration, &[]);
    has_the_fields_of(fetched, "Fetched_Thing", &[]);
    let error = ApiError::new(ErrorCode::NotFound);
    has_the_fields_of(envelope::error(&context, &error), "Error", &["retry_after"]);
    let error = ApiError::new(ErrorCode::Overloaded).retry_after(Duration::from_secs(1));
    has_the_fields_of(envelope::error(&context, &error), "Error", &[]);
}
