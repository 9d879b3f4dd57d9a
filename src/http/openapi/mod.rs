//! The OpenAPI documents, made of the route tables.
//!
//! Owns: everything that is the same for all operations. Each operation describes its own input and
//! answers beside its code, with [`Doc`]. Made once at the start; has no neighbour that could be
//! down.

#![expect(
    clippy::indexing_slicing,
    reason = "only JSON objects made here are indexed, at the start: what is missing is null or added"
)]

mod doc;
mod schemas;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::public_address::written_into;
use super::routes;
use super::service::{Method, Surface};
use super::settings::Server;
use crate::access::AccessSettings;
pub use doc::Doc;
use doc::{ADMIN_KEY, AUTHORIZATION, INTERNAL_KEY, SESSION};
use schemas::Schemas;
pub use schemas::{
    DATABASE_AWAY, Failures, NOT_FOUND, NOT_IN_TIME, RESTARTING, UNPROCESSABLE, UPSTREAM,
};

const ABOUT: &str = "A resilient gateway. Every JSON answer has `success`, `data` or `error`, and \
    `metadata`; no failure is ever a success with an empty list. A parameter, a field or a body that an \
    operation does not describe is answered 400.";

/// The rest, for whoever writes a client or runs the gateway.
const MORE: &str = " Only health, metrics, `/`, these documents, pictures and the files of `/admin` take no \
    notice of it, for the `?t=123` of load balancers and monitors. Every address that takes GET takes HEAD as \
    well. Every answer carries `X-Request-ID`; a request may bring its own, or a `traceparent`. What cannot be \
    read as HTTP is answered by a bare 400 or 431, without a body and an id. Where a limit applies, every answer \
    carries the rate-limit fields. With `METRICS_LISTEN` metrics, health and admin are served at that address \
    only; `/health/live` and `/health/ready` at both.";

/// Tags of the gateway's own operations.
const TAGS: [(&str, &str); 5] = [
    ("Health", "Whether it runs and what is wrong; not counted in the limits of clients"),
    ("Status", "What the process says about itself"),
    ("Documents", "This description"),
    ("Admin", "What an operator sees and does"),
    ("Chaos", "Faults on request; there with `CHAOS_ENABLED` only"),
];

/// What of the settings the documents state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// `REQUIRE_API_KEY`.
    pub key_required: bool,
    /// The port of the admin's listener, after which the cookie of a session is named.
    pub admin_port: u16,
}

impl Stated {
    pub fn of(server: &Server, access: &AccessSettings) -> Self {
        let inside = server.metrics_listen.map(|address| address.port());
        Self { key_required: access.require_key, admin_port: inside.unwrap_or(server.port) }
    }
}

/// Whom a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Anybody,
    /// GPT Actions take at most one security scheme, want short descriptions, and ask the user
    /// before every call that is not marked as being without consequences.
    Gpt,
}

/// The complete document.
pub fn complete(surfaces: &[&Surface], stated: Stated) -> String {
    document(surfaces, stated, Reader::Anybody)
}

/// The operations that are meant for GPT Actions only.
pub fn for_gpt(surfaces: &[&Surface], stated: Stated) -> String {
    document(surfaces, stated, Reader::Gpt)
}

/// A document for clients that reach the gateway at `address`.
pub fn at(document: String, address: &str) -> String {
    let written = written_into(&document.clone().into(), address.trim_end_matches('/'));
    String::from_utf8(written.into()).unwrap_or(document)
}

fn document(surfaces: &[&Surface], stated: Stated, reader: Reader) -> String {
    let (schemas, paths) = operations(surfaces, stated, reader);
    let more = if reader == Reader::Anybody { MORE } else { "" };
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Breakwater",
            "description": format!("{ABOUT}{more}"),
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "components": {"schemas": schemas.needed_by(&paths).all},
        "paths": paths,
    });
    document["tags"] = tags(surfaces, &document["paths"]);
    let components = &mut document["components"];
    components["securitySchemes"] = security_schemes(stated, reader);
    if reader == Reader::Anybody {
        components["headers"] = schemas::headers();
        components["parameters"][schemas::KNOWN] = schemas::known();
    } else if stated.key_required {
        document["security"] = json!([{AUTHORIZATION: []}]);
    } else {
        document["security"] = json!([{}, {AUTHORIZATION: []}]);
    }
    document.to_string()
}

/// The tags that an operation has, with their descriptions.
fn tags(surfaces: &[&Surface], paths: &Value) -> Value {
    let items = paths.as_object().into_iter().flatten().flat_map(|(_, item)| item.as_object());
    let used: Vec<_> = items.flatten().map(|(_, operation)| &operation["tags"][0]).collect();
    let known = surfaces.iter().flat_map(|surface| surface.tags.iter().copied()).chain(TAGS);
    let known = known.filter(|(name, _)| used.iter().any(|tag| *tag == name));
    known.map(|(name, what)| json!({"name": name, "description": what})).collect()
}

fn security_schemes(stated: Stated, reader: Reader) -> Value {
    let in_header = |name: &str, what: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": what});
    let bearer = "The same key as `Bearer KEY`.";
    let mut schemes = json!({
        AUTHORIZATION: {"type": "http", "scheme": "bearer", "description": bearer},
    });
    if reader == Reader::Gpt {
        return schemes;
    }
    schemes[INTERNAL_KEY] = in_header(INTERNAL_KEY, "A client's key: higher limits of its own.");
    let admin =
        "The admin's key, or in its place the cookie of a session; without one configured, closed.";
    schemes[ADMIN_KEY] = in_header(ADMIN_KEY, admin);
    schemes[SESSION] = json!({
        "type": "apiKey",
        "in": "cookie",
        "name": format!("breakwater_session_{}", stated.admin_port),
        "description": "The cookie that `POST /admin/session` gives; its name ends with the port that the \
            gateway listens on. Changes made with it need an `Origin` of this host.",
    });
    schemes
}

/// The operations by address and method, with the schemas that they and others have registered.
fn operations(surfaces: &[&Surface], stated: Stated, reader: Reader) -> (Schemas, Value) {
    let mut schemas = Schemas::default();
    schemas.insert("Error", schemas::error());
    let mut paths = json!({});
    for route in routes::all(surfaces.iter().copied()) {
        for operation in route.operations() {
            // A page for people is no part of the interface.
            let Some(describe) = operation.describe else { continue };
            let (method, by_body) = (operation.method, operation.by_body);
            let required = stated.key_required;
            let mut doc =
                Doc::new(route.template, route.class, method, by_body, required, &mut schemas);
            describe(&mut doc);
            let (mut described, for_gpt) = doc.finish();
            match reader {
                Reader::Gpt if !for_gpt => continue,
                Reader::Gpt => simplify(&mut described),
                Reader::Anybody => {}
            }
            let method = match method {
                Method::Get => "get",
                Method::Post => "post",
                Method::Delete => "delete",
            };
            paths[route.template][method] = described;
        }
    }
    (schemas, paths)
}

fn simplify(operation: &mut Value) {
    if let Some(fields) = operation.as_object_mut() {
        fields.remove("security");
    }
    for response in
        operation["responses"].as_object_mut().into_iter().flat_map(|all| all.values_mut())
    {
        if let Some(fields) = response.as_object_mut() {
            fields.remove("headers");
        }
    }
    // A program that keeps answers sends header fields; the assistant has no use for them.
    if let Some(Value::Array(parameters)) = operation.get_mut("parameters") {
        parameters.retain(|parameter| parameter["$ref"].is_null());
    }
    operation["x-openai-isConsequential"] = false.into();
}
