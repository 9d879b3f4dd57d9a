//! What is known about a route: its label, its limits, and who may use it.
//!
//! Made once a worker for every route, and held by the pipeline of that route. A leaf: it knows no
//! handler and cannot fail.

use crate::limits::Class;
use crate::metrics::RouteMetrics;

/// A method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Answers HEAD as well.
    Get,
    Post,
    Delete,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScope {
    /// Everybody, always: health, and the operator's page, which holds no data.
    Open,
    /// Clients that are not on the deny list; with a key where keys are required.
    Clients,
    /// The holder of the admin key, whatever the lists say: an admin who blocked itself by mistake
    /// must be able to undo that.
    Admin,
}

impl AuthScope {
    /// The scope of an address.
    pub fn of(template: &str) -> Self {
        let begins = |with: &[&str]| with.iter().any(|prefix| template.starts_with(prefix));
        if begins(&["/health", "/admin/assets/"]) || template == "/admin" {
            Self::Open
        } else if begins(&["/admin", "/api/cache/clear", "/api/monitoring"]) {
            Self::Admin
        } else {
            Self::Clients
        }
    }
}

/// What describes the gateway. It holds no data and is the same for everybody, and a browser can send no key.
const DOCUMENTS: [&str; 4] = ["/", "/docs", "/openapi.json", "/openapi-gpt.json"];

/// Whether a client needs a key on this route where `REQUIRE_API_KEY` is set.
pub fn is_keyed(template: &str, class: Class) -> bool {
    AuthScope::of(template) == AuthScope::Clients
        && class != Class::Exempt
        && !DOCUMENTS.contains(&template)
}

/// Whether a route takes no notice of a query string and a body that it has no use for. Others answer 400 to
/// them; but load balancers and monitors put `?t=123` behind an address to get past caches.
pub fn is_lenient(template: &str, class: Class) -> bool {
    class == Class::Exempt || DOCUMENTS.contains(&template)
}

/// Whether a route answers under overload and for throttled clients: what reports the state of the
/// service, and what an operator needs to repair it.
pub fn is_always_open(template: &str, class: Class) -> bool {
    class == Class::Exempt
        || template == "/api/status"
        || AuthScope::of(template) == AuthScope::Admin
}

#[derive(Debug)]
pub struct Route {
    /// The path template: the label in metrics and logs.
    pub template: &'static str,
    pub class: Class,
    pub scope: AuthScope,
    /// See [`is_always_open`].
    pub always_open: bool,
    /// See [`is_keyed`].
    pub keyed: bool,
    /// The methods it takes, for `Allow`.
    pub allow: &'static str,
    /// Looked up once.
    pub metrics: RouteMetrics,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_probes_need_no_key() {
        for (template, class, keyed) in [
            ("/things/search", Class::Search, true),
            ("/api/status", Class::General, true),
            ("unmatched", Class::General, true),
            ("/", Class::General, false),
            ("/docs", Class::General, false),
            ("/openapi.json", Class::General, false),
            ("/openapi-gpt.json", Class::General, false),
            ("/health/ready", Class::Exempt, false),
            ("/metrics", Class::Exempt, false),
            ("/admin/actors", Class::General, false),
        ] {
            assert_eq!(is_keyed(template, class), keyed, "{template}");
        }
    }

    #[test]
    fn what_operators_need_is_always_open() {
        for (template, class, always_open) in [
            ("/things/search", Class::Search, false),
            ("/openapi.json", Class::General, false),
            ("/health/ready", Class::Exempt, true),
            ("/metrics", Class::Exempt, true),
            ("/api/status", Class::General, true),
            ("/api/cache/clear", Class::General, true),
            ("/api/monitoring/metrics", Class::General, true),
            ("/admin/breakers/{name}/{action}", Class::General, true),
        ] {
            assert_eq!(is_always_open(template, class), always_open, "{template}");
        }
    }
}
