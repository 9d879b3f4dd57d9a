//! The client of a request: its address, its key, and what the access lists and the abuse watch say.
//!
//! A client is judged for abuse twice: before anything is read of its request, and when it is known what
//! it asks for. What is known lies in a table of the process.
//!
//! Refuses clients on the deny list (403), throttled ones (429), and those without a key where one is
//! needed (401). Where forwarding headers leave in doubt who the client is, it is counted with
//! all such clients of the proxy, and no list and no key may conclude anything good from that: if any of the addresses that
//! it may have is denied, it is denied.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use slog::warn;

use crate::access::{Held, ListStatus, NoKey, PresentedKey};
use crate::http::context::{Fields, RequestContext};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::headers::FORWARDED_FOR;
use crate::http::route::{AuthScope, Route};
use crate::http::state::Worker;
use crate::limits::abuse::{AbuseCheck, Asking, Flagged, Pattern, Seen};
use crate::limits::{
    AddressHeader, ClientAddress, ForwardingHeaders, Principal, client_address, is_trusted,
};

/// In metrics: what was refused for abuse, and what would have been but for shadow mode.
const REFUSED: &str = "on";
const SHADOWED: &str = "shadow";
/// The address of no client: no list and no key knows it.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(in crate::http) struct Caller {
    pub(in crate::http) address: ClientAddress,
    pub(in crate::http) held: Option<Held>,
    pub(in crate::http) principal: Principal,
    verdict: ListStatus,
}

impl Caller {
    /// Finds the client, and notes it in the context for later stops.
    pub(in crate::http) fn find(
        worker: &Worker,
        request: &ServiceRequest,
        fields: &Fields<'_>,
        context: &RequestContext,
    ) -> Self {
        let address = address(worker, request.request());
        let presented = PresentedKey {
            internal: fields.internal_key.map(HeaderValue::as_bytes),
            authorization: fields.authorization.map(HeaderValue::as_bytes),
        };
        let (held, verdict) = if address.is_sure() {
            worker.shared.access.meet(presented, address.counted)
        } else {
            in_doubt(worker, request, presented, (&address, context))
        };
        context.no_key.set(held.err().unwrap_or_default());
        let held = held.ok();
        let by_address = || address.principal(worker.shared.settings.limits.ipv6_prefix);
        let principal = held.map_or_else(by_address, |held| Principal::Key(held.id));
        let caller = Self { address, held, principal, verdict };
        if worker.shared.settings.features.depend_on_clients() {
            context.client.set(principal.stable_number().into());
        }
        context.address.set(caller.address.counted);
        context.principal.set(principal);
        caller
    }

    pub(in crate::http) fn is_exempt(&self) -> bool {
        self.verdict == ListStatus::Allowed
    }

    /// The deny list comes first: its answer tells nothing about keys.
    pub(in crate::http) fn check_lists(
        &self,
        worker: &Worker,
        route: &Route,
    ) -> Result<(), ApiError> {
        if route.scope == AuthScope::Clients
            && let ListStatus::Denied(by) = self.verdict
        {
            worker.shared.metrics.access.blocked.at([by.label()]).inc();
            let cause = format!("its {} is on the deny list", by.label());
            return Err(ApiError::new(ErrorCode::Blocked).because(cause));
        }
        Ok(())
    }

    pub(in crate::http) fn check_abuse(
        &self,
        worker: &Worker,
        route: &Route,
        context: &RequestContext,
    ) -> Result<(), ApiError> {
        if route.always_open {
            return Ok(());
        }
        let own = self.held.and_then(|held| held.per_minute);
        let asking = Asking { principal: self.principal, own, exempt: self.is_exempt() };
        let (abuse, metrics) = (&worker.shared.abuse, &worker.shared.metrics.limits);
        let wait = match abuse.check(asking, context.started) {
            AbuseCheck::Unwatched => None,
            AbuseCheck::Watched(watched) => {
                context.watched.set(Some(watched));
                context.suspects.set(self.suspects(worker));
                wait_of_suspects(worker, context, None)
            }
            AbuseCheck::Shadowed => {
                metrics.abuse_refused.at([SHADOWED]).inc();
                None
            }
            AbuseCheck::Throttled(wait, pattern) => Some((wait, pattern)),
        };
        let Some((wait, pattern)) = wait else { return Ok(()) };
        metrics.abuse_refused.at([REFUSED]).inc();
        Err(throttled(wait, pattern))
    }

    /// Where its address is in doubt: who it may be. A client with a key is judged by its key,
    /// wherever it is.
    fn suspects(&self, worker: &Worker) -> [Option<Principal>; 2] {
        let mut suspects = self.address.suspects().filter(|_| self.held.is_none());
        [(); 2].map(|()| suspects.next().map(|one| principal_at(worker, one)))
    }

    pub(in crate::http) fn check_key(
        &self,
        worker: &Worker,
        route: &Route,
        context: &RequestContext,
    ) -> Result<(), ApiError> {
        let required = worker.shared.settings.access.require_key && route.keyed;
        if required && self.held.is_none() {
            return Err(key_required(context.no_key.get()));
        }
        Ok(())
    }
}

/// The refusal of a request without a key that is known and may be used; a key that was shown is not called
/// missing.
pub(in crate::http) fn key_required(no_key: NoKey) -> ApiError {
    let message = match no_key {
        NoKey::Missing => return ApiError::new(ErrorCode::KeyRequired),
        NoKey::Unknown => "This API key is not known: it is wrong or was revoked.",
        NoKey::Expired => "This API key has expired.",
        NoKey::Elsewhere => {
            "This API key may not be used from the address that this request comes from."
        }
    };
    ApiError::with_message(ErrorCode::KeyRequired, message)
}

/// Says of any answer that the key of its request counted as none, in the words of RFC 6750. Where no key is
/// needed that is no reason to refuse: `Authorization` may be meant for a proxy in front.
pub(in crate::http) const fn challenge(no_key: NoKey) -> Option<HeaderValue> {
    Some(HeaderValue::from_static(match no_key {
        NoKey::Missing => return None,
        NoKey::Unknown => {
            r#"Bearer error="invalid_token", error_description="the key is not known and counts as none""#
        }
        NoKey::Expired => {
            r#"Bearer error="invalid_token", error_description="the key has expired and counts as none""#
        }
        NoKey::Elsewhere => {
            r#"Bearer error="invalid_token", error_description="the key may not be used from this address and counts as none""#
        }
    }))
}

/// A client whose address is in doubt: denied if it may be, and on no allow list.
fn in_doubt(
    worker: &Worker,
    request: &ServiceRequest,
    presented: PresentedKey<'_>,
    (address, context): (&ClientAddress, &RequestContext),
) -> (Result<Held, NoKey>, ListStatus) {
    let access = &worker.shared.access;
    let (held, verdict) = access.meet(presented, NOWHERE);
    let key = held.ok().map(|held| held.id);
    let mut verdicts = std::iter::once(address.counted)
        .chain(address.suspects())
        .map(|one| access.evaluate(one, key));
    let denied = verdicts.find(|verdict| matches!(verdict, ListStatus::Denied(_)));
    if let Some(left_out) = worker.doubts.borrow_mut().line(context.started) {
        let named: Vec<_> = address.suspects().map(|address| address.to_string()).collect();
        warn!(worker.shared.log, "forwarding headers do not tell who the client is";
            "proxy" => %address.counted, "named" => named.join(", "), "left_out" => left_out,
            worker.shared.ids(context, request.headers()));
    }
    (held, denied.unwrap_or(verdict))
}

fn principal_at(worker: &Worker, address: IpAddr) -> Principal {
    Principal::of_address(address, worker.shared.settings.limits.ipv6_prefix)
}

/// Where a request comes from: its peer, unless that is a trusted proxy.
pub(super) fn address(worker: &Worker, request: &HttpRequest) -> ClientAddress {
    let peer = request.peer_addr().map_or(NOWHERE, |peer| peer.ip());
    let limits = &worker.shared.settings.limits;
    let trusted = &limits.trusted_proxies;
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return ClientAddress::sure(peer);
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

/// Where the address is in doubt, none that it may be may be throttled.
fn wait_of_suspects(
    worker: &Worker,
    context: &RequestContext,
    query: Option<u64>,
) -> Option<(Duration, Pattern)> {
    let abuse = &worker.shared.abuse;
    let suspects = context.suspects.get().into_iter().flatten();
    let longest = suspects.filter_map(|one| abuse.wait_of(one, query, context.started)).max();
    if longest.is_some() {
        abuse.count_refused();
    }
    longest
}

fn throttled(wait: Duration, pattern: Pattern) -> ApiError {
    ApiError::with_message(ErrorCode::AbuseThrottled, pattern.advice())
        .because(pattern.in_words())
        .retry_after(wait)
}

/// Looks at what a request asks for; `what` is called only where its client is watched.
pub(in crate::http) fn observe<'a>(
    worker: &Worker,
    request: &HttpRequest,
    context: &RequestContext,
    what: impl FnOnce() -> Seen<'a>,
) -> Result<(), ApiError> {
    let Some(watched) = context.watched.get() else { return Ok(()) };
    let (seen, metrics) = (what(), &worker.shared.metrics.limits);
    if let Some(query) = seen.query
        && let Some((wait, pattern)) = wait_of_suspects(worker, context, Some(query))
    {
        metrics.abuse_refused.at([REFUSED]).inc();
        return Err(throttled(wait, pattern));
    }
    let Some(flagged) = worker.shared.abuse.observe(watched, &seen, context.started) else {
        return Ok(());
    };
    metrics.abuse_refused.at([if flagged.refused { REFUSED } else { SHADOWED }]).inc();
    if flagged.fresh {
        metrics.abuse_detected.at([flagged.pattern.as_str()]).inc();
        log_abuse(worker, request, context, &flagged);
    }
    if !flagged.refused {
        return Ok(());
    }
    Err(throttled(flagged.throttled_for, flagged.pattern))
}

fn log_abuse(worker: &Worker, request: &HttpRequest, context: &RequestContext, flagged: &Flagged) {
    let Some(left_out) = worker.lines.line("abuse", context.started) else { return };
    warn!(worker.shared.log, "client found abusive"; "principal" => %flagged.principal,
        "pattern" => flagged.pattern.as_str(), "seen" => flagged.seen, "flags" => flagged.flags,
        "throttled_for_s" => flagged.throttled_for.as_secs(), "refused" => flagged.refused,
        "left_out" => left_out, worker.shared.ids(context, request.headers()));
}
