//! What is known about one request from its first byte to its log line.
//!
//! The request id is the client's if it is short and holds only visible ASCII without quotes (it goes
//! into logs, headers and JSON as it is), else a new one. The stops of the pipeline note here what
//! later stops and the handler need.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, AcceptEncoding, Encoding, HeaderMap, HeaderName};

use super::headers::{REQUEST_ID, TRACEPARENT};
use crate::cache::Tier;
use crate::limits::abuse::Watched;

const LONGEST_ID: usize = 128;

/// What a service is told of a request.
#[derive(Debug, Clone)]
pub struct Scope {
    /// For the log of upstream calls.
    pub request_id: Arc<str>,
    /// When the answer is of no use any more.
    pub deadline: Instant,
    /// A number that stays the same for a client: its share of percentage rollouts.
    pub client: u64,
}

#[derive(Debug)]
pub struct RequestContext {
    pub id: Arc<str>,
    pub started: Instant,
    pub deadline: Instant,
    pub client: Cell<u64>,
    /// Where it comes from, as far as trusted proxies tell.
    pub address: Cell<IpAddr>,
    /// Whether it carries a known client key.
    pub keyed: Cell<bool>,
    /// Its client, if that is watched for abuse.
    pub watched: Cell<Option<Watched>>,
    pub gzip: bool,
    /// The tier that answered, if one did.
    pub tier: Cell<Option<Tier>>,
    /// Whether it waited for others: the client's body, the upstream, or Redis about its limits.
    pub waited: Cell<bool>,
}

impl RequestContext {
    /// The context of a request that came at `now`.
    pub(super) fn begin(headers: &HeaderMap, now: Instant, timeout: Duration) -> Rc<Self> {
        let given = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let id = given(REQUEST_ID)
            .filter(|id| is_sane(id))
            .map(Arc::from)
            .or_else(|| given(TRACEPARENT).and_then(trace_id).map(Arc::from))
            .unwrap_or_else(new_id);
        Rc::new(Self {
            id,
            started: now,
            deadline: now + timeout,
            client: Cell::new(0),
            address: Cell::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            keyed: Cell::new(false),
            watched: Cell::new(None),
            gzip: takes_gzip(headers),
            tier: Cell::new(None),
            waited: Cell::new(false),
        })
    }

    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            request_id: Arc::clone(&self.id),
            deadline: self.deadline,
            client: self.client.get(),
        }
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

/// 32 random hex digits.
pub(super) fn new_id() -> Arc<str> {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' - 10 + half };
    let random = fastrand::u128(..).to_le_bytes();
    // In two blocks and not in pairs: so the compiler makes many digits with one instruction.
    let text = [random.map(|byte| digit(byte >> 4)), random.map(|byte| digit(byte & 0xf))];
    std::str::from_utf8(text.as_flattened()).unwrap_or_default().into()
}

/// Whether gzip is what the client likes best (RFC 9110 section 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(header::ACCEPT_ENCODING).peekable();
    given.peek().is_some()
        && header::from_comma_delimited(given).is_ok_and(|accepted: Vec<_>| {
            let ours = [Encoding::gzip(), Encoding::identity()];
            AcceptEncoding(accepted).negotiate(ours.iter()) == Some(Encoding::gzip())
        })
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
    fn gzip_is_chosen_only_when_it_is_wanted() {
        for (accept, wanted) in [
            ("gzip", true),
            ("gzip, deflate, br", true),
            ("br", false),
            ("gzip;q=0", false),
            ("identity, gzip;q=0.5", false),
            ("", false),
            ("%%%", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_str(accept).unwrap());
            assert_eq!(takes_gzip(&headers), wanted, "{accept:?}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
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
