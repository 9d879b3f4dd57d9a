//! Who is asking, and whether they may.
//!
//! Owns: finding out who asks, what the lists say of it, asking RateLimiterActor before a handler runs,
//! and the headers that tell a client how it stands. Refuses: who is on the deny list (403), keyless
//! requests where keys are required (401, charged like any other), what is over a limit (429), and
//! what looks like abuse (429; a limit of nought until it is over, so that headers and wait agree).
//! When the worker's limiter is down the same decision is made on the accounts directly: nobody is
//! let through because an actor died.
//!
//! Where forwarding headers leave in doubt who the client is, it is counted under the proxy, and
//! neither list nor key may conclude anything good from that: denied is who may be denied.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use slog::warn;

use super::{admin, limit_fields};
use crate::access::{Held, PresentedKey, Verdict};
use crate::clock;
use crate::config::AddressHeader;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::tag::{Gate, RouteTag};
use crate::http::watch;
use crate::limits::abuse::Asking;
use crate::limits::{
    Admission, Admit, Class, Decision, ForwardingHeaders, Principal, Whence, bypass,
    client_address, is_trusted,
};

const INTERNAL_KEY: HeaderName = HeaderName::from_static("x-internal-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Longest wait for the limiter; its handler takes a microsecond.
const PATIENCE: Duration = Duration::from_millis(500);
/// Where nobody comes from: no list and no key knows it.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Lets a request through or refuses it. Whatever fails behind it, a caught panic included, comes
/// out as a response: the outermost layer needs one to write its body and headers on.
pub(in crate::http) async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(worker) = request.app_data::<web::Data<Worker>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let context = RequestContext::of(&request);
    let entrance = Entrance::of(&request);
    let caller = Caller::of(&worker, &request, context.as_deref());
    let opened =
        entrance.gate == Gate::Admin && admin::knock(&worker, &request, caller.whence.counted);
    let mut response = match caller.stopped(&worker, &entrance, context.as_deref()) {
        Err(refused) => request.error_response(refused),
        // No limit of clients' for who holds the admin's key.
        Ok(()) if opened => go_on(request, next).await,
        Ok(()) => pass(&worker, &entrance, &caller, request, next).await,
    };
    if let Some(wait) = throttled_for(response.response()) {
        limit_fields::dress_throttled(response.headers_mut(), wait);
    }
    Ok(response)
}

/// Charges a request to its client, and answers it.
async fn pass(
    worker: &Worker,
    entrance: &Entrance,
    caller: &Caller,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    let needs_key = caller.lacks_key(worker, entrance);
    if entrance.class == Class::Exempt
        || caller.is_exempt()
        || !worker.shared.settings.limits.enabled
    {
        return served_with_key(needs_key, request, next).await;
    }
    let own = caller.held.and_then(|held| held.per_minute);
    let admission =
        admit(worker, Admit { own, ..Admit::one(entrance.class, caller.principal) }).await;
    if admission.asked
        && let Some(context) = RequestContext::of(&request)
    {
        context.waited.set(true);
    }
    if admission.alone {
        worker.shared.metrics.limits().decided_alone();
    }
    let mut response = match admission.decision {
        Decision::Admitted => served_with_key(needs_key, request, next).await,
        Decision::Refused { retry_after, rule } => {
            worker.shared.metrics.limits().refused(entrance.class.as_str(), rule.as_str());
            let refused = ApiError::new(ErrorCode::RateLimited).retry_after(retry_after);
            request.error_response(refused)
        }
    };
    limit_fields::dress(response.headers_mut(), &admission);
    response
}

async fn served_with_key(
    needs_key: bool,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    if needs_key {
        return request.error_response(ApiError::new(ErrorCode::KeyRequired));
    }
    go_on(request, next).await
}

async fn go_on(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> ServiceResponse<BoxBody> {
    let bare = request.request().clone();
    match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => ServiceResponse::new(bare, HttpResponse::from_error(error)),
    }
}

async fn admit(worker: &Worker, request: Admit) -> Admission {
    let accounts = &worker.shared.accounts;
    // Who waits for Redis does not stand in this worker's line.
    let _waiting = accounts.is_shared().then(|| worker.products.cache().waiting().begin());
    match worker.limiter.ask(request, PATIENCE).await {
        Ok(admission) => admission,
        Err(_) => bypass(accounts, request, clock::monotonic()),
    }
}

/// The wait of an answer that refuses for abuse, at the gate or by a handler.
fn throttled_for(response: &HttpResponse) -> Option<Duration> {
    let refused = response.error()?.as_error::<ApiError>()?;
    if refused.code == ErrorCode::AbuseThrottled { refused.retry_after } else { None }
}

/// What is known of the address that is asked for.
struct Entrance {
    class: Class,
    gate: Gate,
    always_open: bool,
}

impl Entrance {
    fn of(request: &ServiceRequest) -> Self {
        request.app_data::<RouteTag>().map_or(
            Self { class: Class::General, gate: Gate::Clients, always_open: false },
            |tag| Self { class: tag.class, gate: tag.gate, always_open: tag.always_open },
        )
    }
}

/// Who asks.
struct Caller {
    whence: Whence,
    held: Option<Held>,
    principal: Principal,
    verdict: Verdict,
}

impl Caller {
    /// Finds out, and notes it for whoever comes after.
    fn of(worker: &Worker, request: &ServiceRequest, context: Option<&RequestContext>) -> Self {
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

    fn is_exempt(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    /// Why it may not come in at all. The deny list comes first: it tells nothing about keys.
    fn stopped(
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

    fn lacks_key(&self, worker: &Worker, entrance: &Entrance) -> bool {
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
