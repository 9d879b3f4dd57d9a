//! What is known about one request from its first byte to its log line.
//!
//! The request id is the client's if it is short and holds only visible ASCII without quotes (it goes
//! into logs, headers and JSON as it is), else a new one. The stops of the pipeline note here what
//! later stops and the handler need.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::accept_encoding::prefers_gzip;
use super::served::{Lasting, Source};
use crate::access::NoKey;
use crate::limits::abuse::Watched;
use crate::limits::{Network, Principal};
use crate::origin::Payer;
use crate::steps::Steps;
use crate::trace::{TRACEPARENT, TRACESTATE, Trace};

const LONGEST_ID: usize = 128;

/// The header fields of a request that the stops read, found in one pass. The first of several counts.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    request_id: Option<&'a HeaderValue>,
    traceparent: Option<&'a HeaderValue>,
    accept_encoding: Option<&'a HeaderValue>,
    pub(super) origin: Option<&'a HeaderValue>,
    pub(super) internal_key: Option<&'a HeaderValue>,
    pub(super) authorization: Option<&'a HeaderValue>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let field = match name.as_str() {
                "x-request-id" => &mut fields.request_id,
                TRACEPARENT => &mut fields.traceparent,
                "accept-encoding" => &mut fields.accept_encoding,
                "origin" => &mut fields.origin,
                "x-internal-key" => &mut fields.internal_key,
                "authorization" => &mut fields.authorization,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        fields
    }
}

/// What a service is told of a request.
#[derive(Debug, Clone)]
pub struct Scope {
    /// For the log of upstream calls.
    pub request_id: Arc<str>,
    /// When the answer is of no use any more.
    pub deadline: Instant,
    /// A number that stays the same for a client: its share of percentage rollouts.
    pub client: u64,
    /// Whose share of the upstream's calls what is loaded comes from; known where something is.
    pub payer: Option<Payer>,
    /// Where the steps of what is loaded are noted.
    pub steps: Steps,
    /// Redis was asked about its limits in vain: it is not waited for again.
    pub redis_silent: bool,
}

#[derive(Debug)]
pub struct RequestContext {
    pub id: Arc<str>,
    pub started: Instant,
    pub deadline: Instant,
    pub client: Cell<u64>,
    /// Where it comes from, as far as trusted proxies tell.
    pub address: Cell<IpAddr>,
    /// Who it is counted under.
    pub principal: Cell<Principal>,
    /// Why it has no key, if it has none.
    pub no_key: Cell<NoKey>,
    /// Its client, if that is watched for abuse.
    pub watched: Cell<Option<Watched>>,
    /// Whom it may come from where its address is in doubt: their throttles hold for it as well.
    pub suspects: Cell<[Option<Principal>; 2]>,
    pub gzip: bool,
    /// Where the answer came from, if the cache was asked.
    pub source: Cell<Option<Source>>,
    /// When its limit was known, if others were asked about it.
    pub limited_at: Cell<Option<Instant>>,
    /// What happened on a way that waits for something; made with the first step.
    pub steps: OnceCell<Steps>,
    /// Its place in its trace, which most answers from memory need not know; made when somebody asks.
    trace: OnceCell<Box<Trace>>,
    /// What its answer says about how long its data lasts.
    pub lasting: RefCell<Option<Lasting>>,
    /// Whether it waited for others: the client's body, the upstream, or Redis about its limits.
    pub waited: Cell<bool>,
    /// Whether Redis was asked about its limits in vain.
    pub redis_silent: Cell<bool>,
}

impl RequestContext {
    /// The context of a request that came at `now`.
    pub(super) fn begin<'a>(
        headers: &HeaderMap,
        fields: &Fields<'a>,
        now: Instant,
        timeout: Duration,
    ) -> Rc<Self> {
        let text = |value: &'a HeaderValue| value.to_str().ok();
        let id = fields.request_id.and_then(text).filter(|id| is_sane(id));
        let id = id.or_else(|| fields.traceparent.and_then(text).and_then(trace_id));
        Rc::new(Self {
            id: id.map_or_else(new_id, Arc::from),
            started: now,
            deadline: now + timeout,
            client: Cell::new(0),
            address: Cell::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            principal: Cell::new(Principal::Network(Network::V4(Ipv4Addr::UNSPECIFIED))),
            no_key: Cell::default(),
            watched: Cell::new(None),
            suspects: Cell::new([None; 2]),
            gzip: fields.accept_encoding.is_some_and(|first| takes_gzip(first, headers)),
            source: Cell::new(None),
            limited_at: Cell::new(None),
            steps: OnceCell::new(),
            trace: OnceCell::new(),
            lasting: RefCell::new(None),
            waited: Cell::new(false),
            redis_silent: Cell::new(false),
        })
    }

    pub(super) fn steps(&self, trace: &Trace) -> &Steps {
        self.steps.get_or_init(|| Steps::of(&self.id, trace))
    }

    /// Its trace, as its `headers` say; `exports`: whether there is a collector.
    pub(super) fn trace(&self, headers: &HeaderMap, exports: bool) -> &Trace {
        self.trace.get_or_init(|| {
            let lines = |name| headers.get_all(name).map(HeaderValue::as_bytes);
            let (parents, states) = (lines(TRACEPARENT), lines(TRACESTATE));
            Box::new(Trace::begin(parents, states, &self.id, exports, || fastrand::u64(..)))
        })
    }

    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            request_id: Arc::clone(&self.id),
            deadline: self.deadline,
            client: self.client.get(),
            payer: None,
            steps: Steps::default(),
            redis_silent: self.redis_silent.get(),
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
fn takes_gzip(first: &HeaderValue, headers: &HeaderMap) -> bool {
    // As nearly all clients write it, without weights.
    if first.as_bytes() == b"gzip" || first.as_bytes().starts_with(b"gzip, deflate") {
        return true;
    }
    prefers_gzip(headers.get_all(header::ACCEPT_ENCODING).map(|line| line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;

    fn id_of(pairs: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let now = crate::clock::monotonic();
        let fields = Fields::of(&headers);
        RequestContext::begin(&headers, &fields, now, Duration::from_secs(1)).id.to_string()
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

    fn gzip_of(headers: &HeaderMap) -> bool {
        let (fields, now) = (Fields::of(headers), crate::clock::monotonic());
        RequestContext::begin(headers, &fields, now, Duration::from_secs(1)).gzip
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
            assert_eq!(gzip_of(&headers), wanted, "{accept:?}");
        }
        assert!(!gzip_of(&HeaderMap::new()));
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
