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

use super::routes;
use super::service::{Method, Surface};
pub use doc::Doc;
use doc::{ADMIN_KEY, AUTHORIZATION, INTERNAL_KEY};
use schemas::Schemas;
pub use schemas::{
    BAD_INPUT, DATABASE_AWAY, Failures, NOT_FOUND, NOT_IN_TIME, RESTARTING, UNPROCESSABLE, UPSTREAM,
};

const ABOUT: &str = "A resilient gateway. Every JSON answer has `success`, `data` or `error`, and \
    `metadata`; no failure is ever a success with an empty list. Every address that takes GET takes \
    HEAD as well. Every answer carries `X-Request-ID`; a request may bring its own, or a \
    `traceparent`. Where a limit applies, every answer carries the rate-limit fields. With `METRICS_LISTEN` \
    metrics, health and admin are served at that address only; `/health/live` and `/health/ready` at both.";

/// Tags of the gateway's own operations.
const TAGS: [(&str, &str); 5] = [
    ("Health", "Never limited"),
    ("Status", "What the process says about itself"),
    ("Documents", "This description"),
    ("Admin", "What an operator sees and does"),
    ("Chaos", "Faults on request; there with `CHAOS_ENABLED` only"),
];

/// Whom a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Anybody,
    /// GPT Actions take at most one security scheme, want short descriptions, and ask the user
    /// before every call that is not marked as being without consequences.
    Gpt,
}

/// The complete document.
pub fn complete(surfaces: &[&Surface]) -> String {
    document(surfaces, Reader::Anybody)
}

/// The operations that are meant for GPT Actions only.
pub fn for_gpt(surfaces: &[&Surface]) -> String {
    document(surfaces, Reader::Gpt)
}

fn document(surfaces: &[&Surface], reader: Reader) -> String {
    let mut schemas = Schemas::default();
    schemas.insert("Error", schemas::error());
    let mut paths = json!({});
    for route in routes::all(surfaces.iter().copied()) {
        for operation in route.operations() {
            // A page for people is no part of the interface.
            let Some(describe) = operation.describe else { continue };
            let (method, by_body) = (operation.method, operation.by_body);
            let mut doc = Doc::new(route.template, route.class, method, by_body, &mut schemas);
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
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Breakwater",
            "description": ABOUT,
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "components": {"schemas": schemas.needed_by(&paths).0},
        "paths": paths,
    });
    let tags = surfaces.iter().flat_map(|surface| surface.tags.iter().copied()).chain(TAGS);
    let tags = tags.map(|(name, what)| json!({"name": name, "description": what}));
    document["tags"] = tags.collect();
    let components = &mut document["components"];
    let bearer = "The same key as `Bearer KEY`.";
    components["securitySchemes"][AUTHORIZATION] =
        json!({"type": "http", "scheme": "bearer", "description": bearer});
    if reader == Reader::Anybody {
        components["headers"] = schemas::headers();
        for (name, what) in [
            (INTERNAL_KEY, "A client's key: higher limits of its own."),
            (
                ADMIN_KEY,
                "The admin's key, or in its place the cookie of a session; without one configured, closed.",
            ),
        ] {
            components["securitySchemes"][name] =
                json!({"type": "apiKey", "in": "header", "name": name, "description": what});
        }
    } else {
        document["security"] = json!([{}, {AUTHORIZATION: []}]);
    }
    document.to_string()
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
    operation["x-openai-isConsequential"] = false.into();
}
