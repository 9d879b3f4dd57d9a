//! Who is asking, and whether they may.
//!
//! Owns: asking RateLimiterActor before a handler runs, and the headers that tell a client how it
//! stands. Refuses: what is over a limit (429), and keyless requests where keys are required (401).
//! When the worker's limiter is down the same decision is made on the accounts directly: nobody is
//! let through because an actor died.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};

use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;
use crate::http::tag::RouteTag;
use crate::limits::headers::{self as fields, headers};
use crate::limits::{
    Access, Admission, Admit, Class, Decision, ForwardingHeaders, PresentedKey, Principal, bypass,
    client_address, is_trusted,
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
    let class = request.app_data::<RouteTag>().map_or(Class::General, |tag| tag.class);
    let Some(worker) = request.app_data::<web::Data<Worker>>().cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let principal = match principal_of(&worker, &request, class) {
        Ok(principal) => principal,
        Err(required) => return Ok(request.error_response(required)),
    };
    if let Some(context) = RequestContext::of(&request) {
        context.client.set(principal.stable_number().into());
    }
    if class == Class::Exempt || !worker.shared.settings.limits.enabled {
        return Ok(go_on(request, next).await);
    }
    let admission = admit(&worker, Admit::one(class, principal)).await;
    let mut response = match admission.decision {
        Decision::Admitted => go_on(request, next).await,
        Decision::Refused { retry_after, rule } => {
            worker.shared.metrics.limits().refused(class.as_str(), rule.as_str());
            let refused = ApiError::new(ErrorCode::RateLimited).retry_after(retry_after);
            request.error_response(refused)
        }
    };
    dress(response.headers_mut(), &admission);
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

fn dress(headers_of: &mut HeaderMap, admission: &Admission) {
    for (name, value) in headers(admission) {
        if let (Some(name), Ok(value)) = (field(name), HeaderValue::try_from(value)) {
            headers_of.insert(name, value);
        }
    }
}

/// The header field of a name; made at compile time, because checking a name costs more than
/// writing its value.
fn field(name: &str) -> Option<HeaderName> {
    const FIELDS: [HeaderName; 6] = [
        HeaderName::from_static(fields::LIMIT),
        HeaderName::from_static(fields::REMAINING),
        HeaderName::from_static(fields::RESET),
        HeaderName::from_static(fields::RATE_LIMIT),
        HeaderName::from_static(fields::RATE_LIMIT_POLICY),
        HeaderName::from_static(fields::RETRY_AFTER),
    ];
    FIELDS.into_iter().find(|known| known.as_str() == name)
}

/// The key a request shows, or else the network it comes from.
fn principal_of(
    worker: &Worker,
    request: &ServiceRequest,
    class: Class,
) -> Result<Principal, ApiError> {
    let required = worker.shared.settings.access.require_key && class != Class::Exempt;
    match access_of(worker, request.headers(), required) {
        Access::Keyed(id) => Ok(Principal::Key(id)),
        Access::Anonymous => {
            let prefix = worker.shared.settings.limits.ipv6_prefix;
            Ok(Principal::of_address(address_of(worker, request), prefix))
        }
        Access::Required => Err(ApiError::new(ErrorCode::KeyRequired)),
    }
}

fn access_of(worker: &Worker, headers: &HeaderMap, required: bool) -> Access {
    let shown = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    let presented =
        PresentedKey { internal: shown(INTERNAL_KEY), authorization: shown(header::AUTHORIZATION) };
    worker.shared.keys.access(presented, required)
}

/// Whether the request shows a known key, for what is never open to strangers.
pub(in crate::http) fn holds_key(worker: &Worker, request: &HttpRequest) -> bool {
    matches!(access_of(worker, request.headers(), true), Access::Keyed(_))
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
