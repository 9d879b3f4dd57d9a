//! The whole surface on one screen.
//!
//! Owns: which address leads to which handler, under which route class. What is not here does not
//! exist: an unknown path is a 404, a known one with another method a 405 with `Allow`. The OpenAPI
//! document is held against the same tables.

use actix_web::dev::HttpServiceFactory;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Resource, guard};
use actix_web_lab::middleware::CatchPanic;

use super::handlers::{
    admin, chaos, documents, health, method_not_allowed, not_found, products, references, status,
};
use super::pipeline::Pipeline;
use super::route::{AuthScope, Route, is_always_open};
use super::state::Worker;
use crate::limits::Class::{self, Exempt, General, Search};

/// One address of the surface.
pub struct Address {
    /// The path template.
    pub template: &'static str,
    /// The class its requests are limited in.
    pub class: Class,
    /// The methods it takes, as in `Allow`. Whoever answers GET also answers HEAD.
    pub allow: &'static str,
    /// Leads each method to its handler.
    lead: fn(Resource) -> Resource,
}

impl Address {
    #[must_use]
    pub fn is_always_open(&self) -> bool {
        is_always_open(self.template, self.class)
    }
}

/// A table of addresses: `path, class: method handler, …;`.
macro_rules! addresses {
    ($($template:literal, $class:ident: $($method:ident $handler:path),+;)+) => {
        &[$(Address {
            template: $template,
            class: $class,
            allow: allow!($($method)+),
            lead: |resource| resource$(.route(route!($method).to($handler)))+,
        }),+]
    };
}

macro_rules! allow {
    (get) => {
        "GET, HEAD"
    };
    (post) => {
        "POST"
    };
    (get post) => {
        "GET, HEAD, POST"
    };
    (get post delete) => {
        "GET, HEAD, POST, DELETE"
    };
}

macro_rules! route {
    (get) => {
        web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
    };
    (post) => {
        web::post()
    };
    (delete) => {
        web::delete()
    };
}

/// Every address that is always there.
#[rustfmt::skip]
pub const ADDRESSES: &[Address] = addresses! {
    "/api/products/search", Search: get products::search, post products::search_posted;
    "/api/products/search/no-cache", Search: post products::search_uncached;
    "/api/products/smart-search", Search: get products::smart_search, post products::smart_search_posted;
    "/api/products/hot", Search: get products::hot, post products::hot_posted;
    "/api/products/details", General: post products::products;
    "/api/products/details/{product_id}", General: get products::product;
    "/api/categories", General: get references::categories;
    "/api/categories/{id}/children", General: get references::children;
    "/api/affiliate/link", General: get references::link;
    "/api/affiliate/links", General: post references::links;
    "/api/smart-match", General: get products::smart_match;
    "/api/orders", General: get references::orders;

    "/health", Exempt: get health::health;
    "/health/live", Exempt: get health::live;
    "/health/ready", Exempt: get health::ready;
    "/health/detailed", Exempt: get health::detailed;
    "/metrics", Exempt: get status::metrics;
    "/api/status", General: get status::status;
    "/api/cache/stats", General: get status::cache_stats;
    "/openapi.json", General: get documents::openapi;
    "/openapi-gpt.json", General: get documents::openapi_gpt;
    "/docs", General: get documents::page;

    "/api/cache/clear", General: post admin::cache::clear_cache;
    "/admin/cache/invalidate", General: post admin::cache::invalidate;
    "/admin/cache/warm", General: post admin::cache::warm;
    "/admin/actors", General: get admin::actors;
    "/admin/breakers", General: get admin::breakers;
    "/admin/breakers/{name}/{action}", General: post admin::move_breaker;
    "/admin/rate-limit/status", General: get admin::limits;
    "/admin/rate-limit/whitelist", General: get admin::lists::allowed, post admin::lists::allow, delete admin::lists::remove_allowed;
    "/admin/rate-limit/blacklist", General: get admin::lists::denied, post admin::lists::deny, delete admin::lists::remove_denied;
    "/admin/keys", General: get admin::keys::list, post admin::keys::create, delete admin::keys::revoke;
    "/admin/audit", General: get admin::audit::audit;
    "/admin/config", General: get admin::config::show;
    "/admin/config/reload", General: post admin::config::reload;
    "/api/monitoring/metrics", General: get admin::monitoring;
    "/admin/monitoring/recent-requests", General: get admin::recent_requests;
    "/admin/monitoring/slow-requests", General: get admin::slow_requests;
    "/admin/monitoring/reset", General: post admin::reset_monitoring;
};

/// Faults on request: there with `CHAOS_ENABLED` only.
#[rustfmt::skip]
pub const CHAOS: &[Address] = addresses! {
    "/admin/chaos/actors/{name}/{fault}", General: post chaos::strike;
};

/// An address with a fault, for the test that sees what a client gets then; in no binary.
#[cfg(test)]
const FAULTY: &[Address] = addresses! {
    "/panics", General: get panics;
};

#[cfg(test)]
async fn panics() -> actix_web::HttpResponse {
    panic!("a secret of the inside");
}

/// Every address there can be.
pub fn all() -> impl Iterator<Item = &'static Address> {
    ADDRESSES.iter().chain(CHAOS)
}

/// Leads every address that is there to its handlers.
pub fn configure(cfg: &mut ServiceConfig, worker: &web::Data<Worker>) {
    let chaos = if worker.shared.settings.chaos_enabled { CHAOS } else { &[] };
    for address in ADDRESSES.iter().chain(chaos) {
        cfg.service(resource(address, worker));
    }
    #[cfg(test)]
    for address in FAULTY {
        cfg.service(resource(address, worker));
    }
    let unmatched = pipeline("unmatched", General, "", worker);
    cfg.default_service(web::route().to(not_found).wrap(unmatched));
}

/// A panic in a handler is caught inside the pipeline, where it becomes an answer.
fn resource(address: &Address, worker: &web::Data<Worker>) -> impl HttpServiceFactory + use<> {
    (address.lead)(web::resource(address.template))
        .default_service(web::to(method_not_allowed))
        .wrap(CatchPanic::default())
        .wrap(pipeline(address.template, address.class, address.allow, worker))
}

fn pipeline(
    template: &'static str,
    class: Class,
    allow: &'static str,
    worker: &web::Data<Worker>,
) -> Pipeline {
    let scope = AuthScope::of(template);
    let always_open = is_always_open(template, class);
    let metrics = worker.shared.metrics.http().route(template);
    Pipeline::new(worker.clone(), Route { template, class, scope, always_open, allow, metrics })
}
