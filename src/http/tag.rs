//! What is known about a route when a request has found it.
//!
//! Owns: the label that metrics, logs and limits go by. Lies at the route's resource, so that no
//! layer has to look the path up again.

use crate::limits::Class;
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
