//! The OpenAPI documents, made of the route tables.
//!
//! Owns: everything that is the same for all operations. Each operation describes its own input and
//! answers beside its code, with [`Doc`]. Made once at the start; has no neighbour that could be
//! down.

pub mod answers;
pub mod doc;
pub mod failures;
mod schemas;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, ComponentsBuilder, Info, License, OpenApi, OpenApiBuilder, Paths, RefOr, Server,
};

use super::routes;
use super::service::{Method, Surface};
use answers::Error;
pub use doc::Doc;
use doc::{ADMIN_KEY, AUTHORIZATION, INTERNAL_KEY, requirement};
use schemas::Schemas;

const ABOUT: &str = "A resilient gateway. Every JSON answer has `success`, `data` or `error`, and \
    `metadata`; no failure is ever a success with an empty list. Every address that takes GET takes \
    HEAD as well. Every answer carries `X-Request-ID`; a request may bring its own, or a \
    `traceparent`. Where a limit applies, every answer carries the rate-limit fields.";

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
#[must_use]
pub fn complete(surfaces: &[&Surface]) -> String {
    text(&document(surfaces, Reader::Anybody))
}

/// The operations that are meant for GPT Actions only.
#[must_use]
pub fn for_gpt(surfaces: &[&Surface]) -> String {
    text(&document(surfaces, Reader::Gpt))
}

fn document(surfaces: &[&Surface], reader: Reader) -> OpenApi {
    let mut schemas = Schemas::default();
    schemas.register::<Error>();
    let mut paths = Paths::new();
    for route in routes::all(surfaces.iter().copied()) {
        for operation in route.operations() {
            let mut doc = Doc::new(
                route.template,
                route.class,
                operation.method,
                operation.by_body,
                &mut schemas,
            );
            operation.describe(&mut doc);
            let (mut described, for_gpt) = doc.finish();
            match reader {
                Reader::Gpt if !for_gpt => continue,
                Reader::Gpt => simplify(&mut described),
                Reader::Anybody => {}
            }
            let method = match operation.method {
                Method::Get => HttpMethod::Get,
                Method::Post => HttpMethod::Post,
                Method::Delete => HttpMethod::Delete,
            };
            paths.add_path_operation(route.template, vec![method], described);
        }
    }
    let used = used_tags(&paths);
    let tags = surfaces.iter().flat_map(|surface| surface.tags.iter().copied()).chain(TAGS);
    let tags = tags
        .filter(|(name, _)| used.contains(*name))
        .map(|(name, what)| TagBuilder::new().name(name).description(Some(what)).build());
    let mut license = License::new("MIT");
    license.identifier = Some("MIT".to_owned());
    let mut info = Info::new("Breakwater", env!("CARGO_PKG_VERSION"));
    (info.description, info.license) = (Some(ABOUT.to_owned()), Some(license));
    let mut server = Server::new("/");
    server.description = Some("This gateway".to_owned());
    let security = (reader == Reader::Gpt)
        .then(|| vec![SecurityRequirement::default(), requirement(AUTHORIZATION)]);
    let components = components(schemas.needed_by(&paths), reader);
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .tags(Some(tags.collect::<Vec<_>>()))
        .paths(paths)
        .components(Some(components))
        .security(security)
        .build()
}

fn simplify(operation: &mut Operation) {
    operation.security = None;
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.headers.clear();
        }
    }
    let harmless = ExtensionsBuilder::new().add("x-openai-isConsequential", false).build();
    operation.extensions = Some(harmless);
}

fn used_tags(paths: &Paths) -> BTreeSet<String> {
    let items = paths.paths.values().flat_map(|item| [&item.get, &item.post, &item.delete]);
    items.flatten().flat_map(|operation| operation.tags.iter().flatten().cloned()).collect()
}

fn components(schemas: Schemas, reader: Reader) -> Components {
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("The same key as `Bearer KEY`.".to_owned());
    let bearer = SecurityScheme::Http(bearer);
    let header = |name, what| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, what)))
    };
    let mut built = ComponentsBuilder::new()
        .schemas_from_iter(schemas.0)
        .security_scheme(AUTHORIZATION, bearer)
        .build();
    if reader == Reader::Anybody {
        answers::describe_headers(&mut built);
        let client = header(INTERNAL_KEY, "A client's key: higher limits of its own.");
        let admin = header(ADMIN_KEY, "The admin's key; without one configured, closed.");
        for (name, scheme) in [(INTERNAL_KEY, client), (ADMIN_KEY, admin)] {
            built.security_schemes.insert(name.to_owned(), scheme.into());
        }
    }
    built
}

/// All maps in it have texts as keys, so writing it cannot fail.
fn text(document: &OpenApi) -> String {
    document.to_json().unwrap_or_default()
}
