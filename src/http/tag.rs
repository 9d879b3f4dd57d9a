//! What is known about a route when a request has found it.
//!
//! Owns: the label that metrics, logs and limits go by. Lies at the route's resource, so that no
//! layer has to look the path up again.

use crate::limits::Class;
use crate::metrics::RouteMetrics;

/// Who is let in by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Everybody, always: health.
    Open,
    /// Clients, unless they are on the deny list; with a key where keys are required.
    Clients,
    /// Who holds the admin's key, whatever the lists say: whoever turned himself away by mistake
    /// could not take it back otherwise. No client's key is asked for.
    Admin,
}

impl Gate {
    /// The gate before an address.
    #[must_use]
    pub fn of(template: &str) -> Self {
        let begins = |with: &[&str]| with.iter().any(|prefix| template.starts_with(prefix));
        if begins(&["/health"]) {
            Self::Open
        } else if begins(&["/admin", "/api/cache/clear", "/api/monitoring"]) {
            Self::Admin
        } else {
            Self::Clients
        }
    }
}

/// What a route is called and how it is limited; lies at its resource.
pub struct RouteTag {
    /// The path template: the label in metrics and logs.
    pub template: &'static str,
    /// The class its requests are limited in.
    pub class: Class,
    /// Who is let in.
    pub gate: Gate,
    /// Whether it answers also who is throttled for abuse: what an operator needs.
    pub always_open: bool,
    /// The methods it takes, for `Allow`.
    pub allow: &'static str,
    /// Its metrics, found once.
    pub metrics: RouteMetrics,
}
