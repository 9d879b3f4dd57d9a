//! Which address a path leads to, for who must know before the request has been routed.
//!
//! Owns: the route table once more, by pattern. Looked through only for requests that are about to be
//! refused at the door: everybody else learns it from the router.

use actix_web::dev::ResourceDef;

use super::routes::{self, Address};
use super::tag::Gate;
use crate::limits::Class;
use crate::metrics::{HttpMetrics, RouteMetrics};

/// What is known of an address.
pub struct Way {
    pattern: ResourceDef,
    /// Its metrics.
    pub metrics: RouteMetrics,
    /// Whether it answers however much there is.
    pub always_open: bool,
}

/// All addresses, in the order of the route table.
pub struct Ways(Box<[Way]>);

impl Ways {
    /// Those of the route table.
    #[must_use]
    pub fn new(metrics: &HttpMetrics) -> Self {
        let way = |address: &Address| Way {
            pattern: ResourceDef::new(address.template),
            metrics: metrics.route(address.template),
            always_open: is_always_open(address),
        };
        Self(routes::all().map(way).collect())
    }

    /// The address that a path leads to.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Way> {
        self.0.iter().find(|way| way.pattern.is_match(path))
    }
}

/// What tells how it is, and what an operator needs to put it right.
pub(super) fn is_always_open(address: &Address) -> bool {
    address.class == Class::Exempt
        || address.template == "/api/status"
        || Gate::of(address.template) == Gate::Admin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn paths_are_found_and_those_of_operators_are_always_open() {
        let metrics = Metrics::new();
        let ways = Ways::new(metrics.http());
        for (path, template, always_open) in [
            ("/api/products/search", "/api/products/search", false),
            ("/api/products/details/1005", "/api/products/details/{product_id}", false),
            ("/openapi.json", "/openapi.json", false),
            ("/health", "/health", true),
            ("/health/ready", "/health/ready", true),
            ("/metrics", "/metrics", true),
            ("/api/status", "/api/status", true),
            ("/api/cache/clear", "/api/cache/clear", true),
            ("/api/monitoring/metrics", "/api/monitoring/metrics", true),
            ("/admin/breakers/upstream/reset", "/admin/breakers/{name}/{action}", true),
        ] {
            let way = ways.find(path).unwrap();
            assert_eq!(
                (way.metrics.template(), way.always_open),
                (template, always_open),
                "{path}"
            );
        }
        assert!(ways.find("/api/products").is_none());
    }
}
