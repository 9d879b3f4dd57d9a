//! Who is asking, and whether they may.
//!
//! Owns: finding out who asks, what the lists say of it, asking RateLimiterActor before a handler runs,
//! and the headers that tell a client how it stands. Refuses: who is on the deny list (403), keyless
//! requests where keys are required (401), and what is over a limit (429).
//! When the worker's limiter is down the same decision is made on the accounts directly: nobody is
//! let through because an actor died.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use super::{admin, limit_fields};
use crate::access::{Held, PresentedKey, Verdict};
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::tag::{Gate, RouteTag};
use crate::http::watch;
use crate::limits::abuse::Asking;
use crate::limits::{
    Admission, Admit, Class, Decision, ForwardingHeaders, Principal, bypass, client_address,
    is_trusted,
};

const INTERNAL_KEY: HeaderName = HeaderName::from_static("x-internal-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Longest wait for the limiter; its handler takes a microsecond.
const PATIENCE: Duration = Duration::from_millis(500);

/// Lets a request through or refuses it. Whatever fails behind it, a caught panic included, comes
/// out as a response: the outermost layer needs one to write its body and headers on.
pub(in crate::http) async fn limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let tag = request.app_data::<RouteTag>();
    let (class, gate) = tag.map_or((Class::General, Gate::Clients), |tag| (tag.class, tag.gate));
    let Some(worker) = request.app_data::<web::Data<Worker>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let caller = Caller::of(&worker, &request);
    if let Some(context) = RequestContext::of(&request) {
        caller.tell(&context);
    }
    if let Err(refused) = caller.pass(&worker, class, gate) {
        return Ok(request.error_response(refused));
    }
    let opened = gate == Gate::Admin && admin::knock(&worker, &request, caller.address);
    let unlimited = opened || caller.verdict == Verdict::Allowed;
    let is_open = request.app_data::<RouteTag>().is_some_and(|tag| tag.always_open);
    if !is_open
        && let Some(context) = RequestContext::of(&request)
        && let Err(throttled) = watch::gate(&worker, &context, caller.asking(), std::iter::empty())
    {
        return Ok(request.error_response(throttled));
    }
    if class == Class::Exempt || unlimited || !worker.shared.settings.limits.enabled {
        return Ok(go_on(request, next).await);
    }
    let own = caller.held.and_then(|held| held.per_minute);
    let admission = admit(&worker, Admit { own, ..Admit::one(class, caller.principal) }).await;
    if admission.alone {
        worker.shared.metrics.limits().decided_alone();
    }
    let mut response = match admission.decision {
        Decision::Admitted => go_on(request, next).await,
        Decision::Refused { retry_after, rule } => {
            worker.shared.metrics.limits().refused(class.as_str(), rule.as_str());
            let refused = ApiError::new(ErrorCode::RateLimited).retry_after(retry_after);
            request.error_response(refused)
        }
    };
    limit_fields::dress(response.headers_mut(), &admission);
    Ok(response)
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
    match worker.limiter.ask(request, PATIENCE).await {
        Ok(admission) => admission,
        Err(_) => bypass(&worker.shared.accounts, request, clock::monotonic()),
    }
}

/// Who asks.
struct Caller {
    address: IpAddr,
    held: Option<Held>,
    principal: Principal,
    verdict: Verdict,
}

impl Caller {
    fn of(worker: &Worker, request: &ServiceRequest) -> Self {
        let address = address_of(worker, request).to_canonical();
        let shown = |name: HeaderName| request.headers().get(name).map(HeaderValue::as_bytes);
        let presented = PresentedKey {
            internal: shown(INTERNAL_KEY),
            authorization: shown(header::AUTHORIZATION),
        };
        let access = &worker.shared.access;
        let held = access.held(presented, address);
        let verdict = access.judge(address, held.map(|held| held.id));
        let by_address =
            || Principal::of_address(address, worker.shared.settings.limits.ipv6_prefix);
        let principal = held.map_or_else(by_address, |held| Principal::Key(held.id));
        Self { address, held, principal, verdict }
    }

    fn asking(&self) -> Asking {
        let own = self.held.and_then(|held| held.per_minute);
        Asking { principal: self.principal, own, exempt: self.verdict == Verdict::Allowed }
    }

    /// Notes it for whoever comes after.
    fn tell(&self, context: &RequestContext) {
        context.client.set(self.principal.stable_number().into());
        context.address.set(self.address);
        context.keyed.set(self.held.is_some());
        context.unlimited.set(self.verdict == Verdict::Allowed);
    }

    /// May it come in at all? The deny list comes first: it tells nothing about keys.
    fn pass(&self, worker: &Worker, class: Class, gate: Gate) -> Result<(), ApiError> {
        if gate != Gate::Clients {
            return Ok(());
        }
        if let Verdict::Denied(by) = self.verdict {
            worker.shared.metrics.access().blocked(by.label());
            return Err(
                ApiError::new(ErrorCode::Blocked).because(format!("denied by {}", by.label()))
            );
        }
        let required = worker.shared.settings.access.require_key && class != Class::Exempt;
        if required && self.held.is_none() {
            return Err(ApiError::new(ErrorCode::KeyRequired));
        }
        Ok(())
    }
}

/// The client's address: the peer's, unless the peer is a proxy we trust.
fn address_of(worker: &Worker, request: &ServiceRequest) -> IpAddr {
    let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let peer = request.peer_addr().map_or(unknown, |peer| peer.ip());
    let trusted = &worker.shared.settings.limits.trusted_proxies;
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    let all = |name: HeaderName| -> Vec<&[u8]> {
        request.headers().get_all(name).map(HeaderValue::as_bytes).collect()
    };
    let headers = ForwardingHeaders {
        forwarded: all(header::FORWARDED),
        x_forwarded_for: all(FORWARDED_FOR),
    };
    client_address(peer, &headers, trusted)
}
