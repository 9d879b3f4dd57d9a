//! The OpenAPI documents, generated from the handlers.
//!
//! Owns: the list of operations and everything that is the same for all of them. Each handler
//! describes its own input and answers beside its code; a test holds the documents against the
//! route table in both directions. Made once at start; refuses nothing and has no neighbours.

pub mod answers;
pub mod failures;
mod gpt;
mod headers;
mod layers;
pub mod parameters;
mod plain;
mod prune;
#[cfg(test)]
mod tests;

use utoipa::OpenApi;
use utoipa::openapi::Components;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};

use super::handlers::{admin, chaos, documents, health, products, references, status};

/// Every operation.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Breakwater",
        description = "A resilient gateway to product search, details, categories and affiliate \
            links. Every JSON answer has `success`, `data` or `error`, and `metadata`; no failure \
            is ever a success with an empty list. Every address that takes GET takes HEAD as well. \
            Every answer carries `X-Request-ID`; a request may bring its own, or a `traceparent`. \
            Where a limit applies, every answer carries the rate-limit fields.",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "This gateway")),
    tags(
        (name = "Products", description = "Search and details"),
        (name = "Categories", description = "What products are sorted under"),
        (name = "Affiliate links", description = "Addresses that earn a commission"),
        (name = "Orders", description = "What was earned"),
        (name = "Health", description = "Never limited"),
        (name = "Status", description = "What the process says about itself"),
        (name = "Documents", description = "This description"),
        (name = "Admin", description = "What an operator sees and does"),
        (name = "Chaos", description = "Faults on request; there with `CHAOS_ENABLED` only"),
    ),
    paths(
        products::search, products::search_posted, products::search_uncached,
        products::smart_search, products::smart_search_posted,
        products::hot, products::hot_posted,
        products::product, products::products, products::smart_match,
        references::categories, references::children,
        references::link, references::links, references::orders,
        health::health, health::live, health::ready, health::detailed,
        status::metrics, status::status, status::cache_stats,
        documents::openapi, documents::openapi_gpt, documents::page,
        admin::cache::clear_cache, admin::cache::invalidate, admin::cache::warm, admin::actors, admin::breakers,
        admin::move_breaker, admin::limits, admin::config::show, admin::config::reload, admin::monitoring,
        admin::recent_requests, admin::slow_requests, admin::reset_monitoring,
        admin::keys::list, admin::keys::create, admin::keys::revoke,
        admin::lists::allowed, admin::lists::allow, admin::lists::remove_allowed,
        admin::lists::denied, admin::lists::deny, admin::lists::remove_denied,
        admin::audit::audit,
        chaos::strike,
    ),
    components(schemas(answers::Error)),
)]
struct Document;

/// The complete document.
#[must_use]
pub fn complete() -> String {
    text(&document())
}

/// The public operations only, for GPT Actions.
#[must_use]
pub fn for_gpt() -> String {
    text(&gpt::cut(document()))
}

fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    layers::dress(&mut document);
    let components = document.components.get_or_insert_default();
    headers::describe(components);
    keys(components);
    prune::prune(&mut document);
    document
}

/// The ways to show a key.
fn keys(components: &mut Components) {
    let header = |name, what| SecurityScheme::ApiKey(ApiKey::Header(described(name, what)));
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.description = Some("The same key as `Bearer KEY`.".to_owned());
    let schemes = [
        (
            layers::INTERNAL_KEY,
            header("x-internal-key", "A client's key: higher limits of its own."),
        ),
        (layers::AUTHORIZATION, SecurityScheme::Http(bearer)),
        (
            layers::ADMIN_KEY,
            header("x-admin-key", "The admin's key; without one configured, closed."),
        ),
    ];
    for (name, scheme) in schemes {
        components.security_schemes.insert(name.to_owned(), scheme.into());
    }
}

fn described(name: &str, what: &str) -> ApiKeyValue {
    ApiKeyValue::with_description(name, what)
}

/// All maps in it have texts as keys, so writing it cannot fail.
fn text(document: &utoipa::openapi::OpenApi) -> String {
    document.to_json().unwrap_or_default()
}
