//! The whole surface on one screen.
//!
//! Owns: which address leads to which handler, under which route class. What is not here does not
//! exist: an unknown path is a 404, a known one with another method a 405 with `Allow`.

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig, get, head, post};
use actix_web_lab::middleware::CatchPanic;

use super::handlers::{
    admin, chaos, documents, health, method_not_allowed, not_found, products, references, status,
};
use super::middleware::limit::limit;
use super::state::Worker;
use crate::limits::Class::{self, Exempt, General, Search};
use crate::metrics::RouteMetrics;

/// What a route is called and how it is limited; lies at its resource.
pub struct RouteTag {
    /// The path template: the label in metrics and logs.
    pub template: &'static str,
    /// The class its requests are limited in.
    pub class: Class,
    /// The methods it takes, for `Allow`.
    pub allow: &'static str,
    /// Its metrics, found once.
    pub metrics: RouteMetrics,
}

/// One resource: GET also answers HEAD; a panic in a handler is caught inside the limit.
macro_rules! at {
    ($cfg:ident, $worker:ident, $template:literal, $class:expr, $allow:literal,
     $($method:ident => $handler:path),+) => {
        $cfg.service(
            web::resource($template)
                .app_data(RouteTag {
                    template: $template,
                    class: $class,
                    allow: $allow,
                    metrics: $worker.shared.metrics.http().route($template),
                })
                $(.route($method().to($handler)))+
                .default_service(web::to(method_not_allowed))
                .wrap(CatchPanic::default())
                .wrap(from_fn(limit)),
        );
    };
}

/// Every address.
#[rustfmt::skip]
pub fn configure(cfg: &mut ServiceConfig, worker: &Worker) {
    public(cfg, worker);
    at!(cfg, worker, "/health", Exempt, "GET, HEAD", get => health::live, head => health::live);
    at!(cfg, worker, "/health/live", Exempt, "GET, HEAD", get => health::live, head => health::live);
    at!(cfg, worker, "/health/ready", Exempt, "GET, HEAD", get => health::ready, head => health::ready);
    at!(cfg, worker, "/health/detailed", Exempt, "GET, HEAD", get => health::detailed, head => health::detailed);
    at!(cfg, worker, "/metrics", Exempt, "GET, HEAD", get => status::metrics, head => status::metrics);
    at!(cfg, worker, "/api/status", General, "GET, HEAD", get => status::status, head => status::status);
    at!(cfg, worker, "/api/cache/stats", General, "GET, HEAD", get => status::cache_stats, head => status::cache_stats);
    at!(cfg, worker, "/openapi.json", General, "GET, HEAD", get => documents::openapi, head => documents::openapi);
    at!(cfg, worker, "/openapi-gpt.json", General, "GET, HEAD", get => documents::openapi_gpt, head => documents::openapi_gpt);
    at!(cfg, worker, "/docs", General, "GET, HEAD", get => documents::page, head => documents::page);
    for_admin(cfg, worker);
    if worker.shared.settings.chaos_enabled {
        at!(cfg, worker, "/admin/chaos/actors/{name}/{fault}", General, "POST", post => chaos::strike);
    }
    cfg.default_service(web::route().to(not_found).wrap(from_fn(limit)));
}

#[rustfmt::skip]
fn public(cfg: &mut ServiceConfig, worker: &Worker) {
    at!(cfg, worker, "/api/products/search", Search, "GET, HEAD, POST",
        get => products::search, head => products::search, post => products::search_posted);
    at!(cfg, worker, "/api/products/search/no-cache", Search, "POST", post => products::search_uncached);
    at!(cfg, worker, "/api/products/smart-search", Search, "GET, HEAD, POST",
        get => products::smart_search, head => products::smart_search, post => products::smart_search_posted);
    at!(cfg, worker, "/api/products/hot", Search, "GET, HEAD, POST",
        get => products::hot, head => products::hot, post => products::hot_posted);
    at!(cfg, worker, "/api/products/details", General, "POST", post => products::products);
    at!(cfg, worker, "/api/products/details/{product_id}", General, "GET, HEAD",
        get => products::product, head => products::product);
    at!(cfg, worker, "/api/categories", General, "GET, HEAD", get => references::categories, head => references::categories);
    at!(cfg, worker, "/api/categories/{id}/children", General, "GET, HEAD", get => references::children, head => references::children);
    at!(cfg, worker, "/api/affiliate/link", General, "GET, HEAD", get => references::link, head => references::link);
    at!(cfg, worker, "/api/affiliate/links", General, "POST", post => references::links);
    at!(cfg, worker, "/api/smart-match", General, "GET, HEAD", get => products::smart_match, head => products::smart_match);
    at!(cfg, worker, "/api/orders", General, "GET, HEAD", get => references::orders, head => references::orders);
}

#[rustfmt::skip]
fn for_admin(cfg: &mut ServiceConfig, worker: &Worker) {
    at!(cfg, worker, "/api/cache/clear", General, "POST", post => admin::clear_cache);
    at!(cfg, worker, "/admin/cache/invalidate", General, "POST", post => admin::invalidate);
    at!(cfg, worker, "/admin/actors", General, "GET, HEAD", get => admin::actors, head => admin::actors);
    at!(cfg, worker, "/admin/breakers", General, "GET, HEAD", get => admin::breakers, head => admin::breakers);
    at!(cfg, worker, "/admin/breakers/{name}/{action}", General, "POST", post => admin::move_breaker);
    at!(cfg, worker, "/admin/rate-limit/status", General, "GET, HEAD", get => admin::limits, head => admin::limits);
    at!(cfg, worker, "/admin/config", General, "GET, HEAD", get => admin::config, head => admin::config);
    at!(cfg, worker, "/api/monitoring/metrics", General, "GET, HEAD", get => admin::monitoring, head => admin::monitoring);
    at!(cfg, worker, "/admin/monitoring/recent-requests", General, "GET, HEAD", get => admin::recent_requests, head => admin::recent_requests);
    at!(cfg, worker, "/admin/monitoring/slow-requests", General, "GET, HEAD", get => admin::slow_requests, head => admin::slow_requests);
    at!(cfg, worker, "/admin/monitoring/reset", General, "POST", post => admin::reset_monitoring);
}
