//! What is known about one request from its first byte to its log line.
//!
//! Owns: the request id (the client's when it is a sane one, else a new one), its times, and what
//! handlers learn on the way. Refuses: ids that are long or hold anything but visible ASCII without
//! quotes; they would end up in logs, headers and JSON as they are.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::error::{ApiError, ErrorCode};
use crate::cache::Tier;
use crate::limits::abuse::Watched;
use crate::services::products::service::Scope;

/// Longest id taken from a client.
const LONGEST_ID: usize = 128;

/// One request.
#[derive(Debug)]
pub struct RequestContext {
    /// Its id.
    pub id: Arc<str>,
    /// When it came.
    pub started: Instant,
    /// When its answer is of no use any more.
    pub deadline: Instant,
    /// A number that stays the same for its client; set by the limiter.
    pub client: Cell<u64>,
    /// Where it comes from, as far as trusted proxies tell; set by the limiter.
    pub address: Cell<IpAddr>,
    /// Whether it holds a client's key that is known; set by the limiter.
    pub keyed: Cell<bool>,
    /// Whether it is on the allow list, so that nothing it does counts; set by the limiter.
    pub unlimited: Cell<bool>,
    /// Its client, where he is watched for abuse; set by the limiter.
    pub watched: Cell<Option<Watched>>,
    /// Whether its client takes gzip; set by the layer that packs.
    pub gzip: Cell<bool>,
    /// The tier that answered, if one did.
    pub tier: Cell<Option<Tier>>,
    /// Whether it waited for somebody else: its client's body, a flight, or Redis about its limits.
    pub waited: Cell<bool>,
}

impl RequestContext {
    /// The context of a request that came at `now`.
    pub(super) fn begin(headers: &HeaderMap, now: Instant, timeout: Duration) -> Rc<Self> {
        let given = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let id = given("x-request-id")
            .filter(|id| is_sane(id))
            .map(Arc::from)
            .or_else(|| given("traceparent").and_then(trace_id).map(Arc::from))
            .unwrap_or_else(new_id);
        Rc::new(Self {
            id,
            started: now,
            deadline: now + timeout,
            client: Cell::new(0),
            address: Cell::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            keyed: Cell::new(false),
            unlimited: Cell::new(false),
            watched: Cell::new(None),
            gzip: Cell::new(false),
            tier: Cell::new(None),
            waited: Cell::new(false),
        })
    }

    /// What the products room needs of it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            request_id: Arc::clone(&self.id),
            deadline: self.deadline,
            client: self.client.get(),
        }
    }

    /// The context of a request that has reached its handler.
    pub(super) fn of_handler(request: &HttpRequest) -> Option<Rc<Self>> {
        request.extensions().get::<Rc<Self>>().cloned()
    }

    /// The context of a request on its way through the middleware.
    pub(super) fn of(request: &ServiceRequest) -> Option<Rc<Self>> {
        request.extensions().get::<Rc<Self>>().cloned()
    }
}

/// The context of the request a handler serves.
#[derive(Debug, Clone)]
pub struct Context(pub Rc<RequestContext>);

impl FromRequest for Context {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let context = RequestContext::of_handler(request);
        std::future::ready(
            context.map(Self).ok_or_else(|| {
                ApiError::new(ErrorCode::Internal).because("request without context")
            }),
        )
    }
}

fn is_sane(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(allowed)
}

/// The trace id of a W3C `traceparent` (version 00): 32 hex digits, not all zero.
fn trace_id(header: &str) -> Option<&str> {
    let mut parts = header.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let hex = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit());
    (version.len() == 2 && version != "ff" && hex && trace.bytes().any(|byte| byte != b'0'))
        .then_some(trace)
}

/// An id for what the client gave none.
pub(super) fn new_id() -> Arc<str> {
    format!("{:032x}", fastrand::u128(..)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn id_of(pairs: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let now = crate::clock::monotonic();
        RequestContext::begin(&headers, now, Duration::from_secs(1)).id.to_string()
    }

    #[test]
    fn a_sane_id_is_kept_and_others_are_replaced() {
        assert_eq!(id_of(&[("x-request-id", "abc-123")]), "abc-123");
        for bad in ["", "a b", "a\"b", "a\\b", &"x".repeat(129)] {
            let id = id_of(&[("x-request-id", bad)]);
            assert_eq!(id.len(), 32, "{bad:?} became {id}");
        }
        assert_ne!(id_of(&[]), id_of(&[]));
    }

    #[test]
    fn a_trace_id_is_used_when_there_is_no_request_id() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(id_of(&[("traceparent", &parent)]), trace);
        assert_eq!(id_of(&[("traceparent", &parent), ("x-request-id", "mine")]), "mine");
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        assert_ne!(id_of(&[("traceparent", &zero)]), "0".repeat(32));
    }
}
