//! Who asks.
//!
//! Owns: finding out who sent a request, and what the lists and the watch for abuse say of it. Refuses:
//! who is on the deny list (403), and who is throttled for abuse (429).
//!
//! Where forwarding headers leave in doubt who the client is, it is counted under the proxy, and
//! neither list nor key may conclude anything good from that: denied is who may be denied.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use slog::warn;

use crate::access::{Held, PresentedKey, Verdict};
use crate::config::AddressHeader;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::tag::{Gate, RouteTag};
use crate::http::watch;
use crate::limits::abuse::Asking;
use crate::limits::{Class, ForwardingHeaders, Principal, Whence, client_address, is_trusted};

const INTERNAL_KEY: HeaderName = HeaderName::from_static("x-internal-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Where nobody comes from: no list and no key knows it.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is known of the address that is asked for.
pub(super) struct Entrance {
    pub(super) class: Class,
    pub(super) gate: Gate,
    always_open: bool,
}

impl Entrance {
    pub(super) fn of(request: &ServiceRequest) -> Self {
        request.app_data::<RouteTag>().map_or(
            Self { class: Class::General, gate: Gate::Clients, always_open: false },
            |tag| Self { class: tag.class, gate: tag.gate, always_open: tag.always_open },
        )
    }
}

/// Who asks.
pub(super) struct Caller {
    pub(super) whence: Whence,
    pub(super) held: Option<Held>,
    pub(super) principal: Principal,
    verdict: Verdict,
}

impl Caller {
    /// Finds out, and notes it for whoever comes after.
    pub(super) fn of(
        worker: &Worker,
        request: &ServiceRequest,
        context: Option<&RequestContext>,
    ) -> Self {
        let whence = whence(worker, request);
        let shown = |name: HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
        let presented = PresentedKey {
            internal: shown(INTERNAL_KEY),
            authorization: shown(header::AUTHORIZATION),
        };
        let (held, verdict) = if whence.is_sure() {
            worker.shared.access.meet(presented, whence.counted)
        } else {
            in_doubt(worker, presented, &whence, context)
        };
        let by_address = || principal_at(worker, whence.counted);
        let principal = held.map_or_else(by_address, |held| Principal::Key(held.id));
        let caller = Self { whence, held, principal, verdict };
        if let Some(context) = context {
            caller.tell(worker, context);
        }
        caller
    }

    fn tell(&self, worker: &Worker, context: &RequestContext) {
        if worker.shared.settings.features.depend_on_clients() {
            context.client.set(self.principal.stable_number().into());
        }
        context.address.set(self.whence.counted);
        context.keyed.set(self.held.is_some());
        context.unlimited.set(self.is_exempt());
    }

    /// Whether no limit applies.
    pub(super) fn is_exempt(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    /// Why it may not come in at all. The deny list comes first: it tells nothing about keys.
    pub(super) fn stopped(
        &self,
        worker: &Worker,
        entrance: &Entrance,
        context: Option<&RequestContext>,
    ) -> Result<(), ApiError> {
        if entrance.gate == Gate::Clients
            && let Verdict::Denied(by) = self.verdict
        {
            worker.shared.metrics.access().blocked(by.label());
            return Err(
                ApiError::new(ErrorCode::Blocked).because(format!("denied by {}", by.label()))
            );
        }
        let Some(context) = context.filter(|_| !entrance.always_open) else { return Ok(()) };
        let own = self.held.and_then(|held| held.per_minute);
        let asking = Asking { principal: self.principal, own, exempt: self.is_exempt() };
        // Whoever holds a key is judged by it, wherever he is.
        let suspects = self.whence.suspects().filter(|_| self.held.is_none());
        watch::gate(worker, context, asking, suspects.map(|one| principal_at(worker, one)))
    }

    /// Whether a key is needed and there is none.
    pub(super) fn lacks_key(&self, worker: &Worker, entrance: &Entrance) -> bool {
        let required = worker.shared.settings.access.require_key
            && entrance.gate == Gate::Clients
            && entrance.class != Class::Exempt;
        required && self.held.is_none()
    }
}

/// Who is asked about where his address is in doubt: denied if he may be, at home nowhere.
fn in_doubt(
    worker: &Worker,
    presented: PresentedKey<'_>,
    whence: &Whence,
    context: Option<&RequestContext>,
) -> (Option<Held>, Verdict) {
    let access = &worker.shared.access;
    let (held, verdict) = access.meet(presented, NOWHERE);
    let key = held.map(|held| held.id);
    let mut verdicts = std::iter::once(whence.counted)
        .chain(whence.suspects())
        .map(|address| access.judge(address, key));
    let denied = verdicts.find(|verdict| matches!(verdict, Verdict::Denied(_)));
    let line = context.and_then(|context| {
        let left_out = worker.doubts.borrow_mut().line(context.started)?;
        Some((context, left_out))
    });
    if let Some((context, left_out)) = line {
        let named: Vec<_> = whence.suspects().map(|address| address.to_string()).collect();
        warn!(worker.shared.log, "forwarding headers do not tell who the client is";
            "proxy" => %whence.counted, "named" => named.join(", "), "left_out" => left_out,
            "request_id" => &*context.id);
    }
    (held, denied.unwrap_or(verdict))
}

fn principal_at(worker: &Worker, address: IpAddr) -> Principal {
    Principal::of_address(address, worker.shared.settings.limits.ipv6_prefix)
}

/// Where a request comes from: its peer, unless that is a proxy we trust.
fn whence(worker: &Worker, request: &ServiceRequest) -> Whence {
    let peer = request.peer_addr().map_or(NOWHERE, |peer| peer.ip());
    let limits = &worker.shared.settings.limits;
    let trusted = &limits.trusted_proxies;
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return Whence::sure(peer);
    }
    let all = |name: HeaderName, unless: AddressHeader| -> Vec<&[u8]> {
        if limits.client_address_header == unless {
            return Vec::new();
        }
        request.headers().get_all(name).map(HeaderValue::as_bytes).collect()
    };
    let headers = ForwardingHeaders {
        forwarded: all(header::FORWARDED, AddressHeader::XForwardedFor),
        x_forwarded_for: all(FORWARDED_FOR, AddressHeader::Forwarded),
    };
    client_address(peer, &headers, trusted)
}
