//! The check of `x-admin-key`, in constant time over digests, and of the cookie of a session.
//!
//! Refuses everybody when no key is configured, and everybody without the right one; both look the
//! same from outside. An address that was wrong too often ([`crate::access::guesses`]) gets a 429
//! until it may try again. A cookie that is no session in force is as no key. Refuses changes to who may
//! only look, and to a cookie that was sent by a page of another host: browsers add cookies by
//! themselves.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::{Method, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use slog::warn;

use crate::access::guesses::{Guessed, Guesser};
use crate::access::session::Role;
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::context_of;
use crate::http::headers::ADMIN_KEY;
use crate::http::public_address::public_address;
use crate::http::state::{Shared, Worker};
use crate::http::stops::{caller, record};
use crate::limits::ClientAddress;

/// Proof that the request carries the admin's key or a session's cookie, and may do what it asks for. A
/// handler that takes it is closed to others.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    address: IpAddr,
    role: Role,
    by_cookie: bool,
}

impl Admin {
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The admin's name in the audit log: a fingerprint of the key.
    #[must_use]
    pub fn name(&self, shared: &Shared) -> String {
        let keys = &shared.admin_keys;
        let key = match self.role {
            Role::Full => &keys.full,
            Role::Read => &keys.read,
        };
        let fingerprint = key.as_ref().map(|key| key.fingerprint());
        format!("admin:{}", fingerprint.unwrap_or_default())
    }

    /// The admin of a request that was checked.
    ///
    /// # Errors
    /// There is none, or it may not do what it asks for.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        admin_of(request)
    }
}

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(admin_of(request))
    }
}

/// The result of the check; kept in the request's extensions.
#[derive(Debug, Clone, Copy)]
struct AdminCheck(Result<Admin, NotAdmin>);

#[derive(Debug, Clone, Copy)]
enum NotAdmin {
    /// No key is configured.
    Closed,
    Missing,
    Wrong,
    /// There were too many wrong ones; how long to wait.
    Locked(Duration),
}

impl NotAdmin {
    const ALL: [Self; 4] = [Self::Closed, Self::Missing, Self::Wrong, Self::Locked(Duration::ZERO)];

    const fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Locked(_) => "locked",
        }
    }
}

/// What an admin is refused for.
pub fn refusal_labels() -> [&'static str; 4] {
    NotAdmin::ALL.map(|refusal| refusal.label())
}

/// Checks the key of a request to an admin's route, once. Its holder is not subject to the limits of
/// clients: an admin has to act while somebody else spends them.
pub(in crate::http) fn check(
    worker: &Worker,
    request: &ServiceRequest,
    address: &ClientAddress,
) -> bool {
    let (shared, request_of) = (&worker.shared, request.request());
    let compared = match request.headers().get(ADMIN_KEY) {
        Some(shown) => {
            let shown = Some(Shown::Key(shown.as_bytes()));
            compare(shared, shown, address).map(|role| (role, false))
        }
        None => match session(shared, request_of)
            .and_then(|text| shared.admin_keys.sessions.role(&text, clock::now()))
        {
            Some(role) => Ok((role, true)),
            None => compare(shared, None, address).map(|role| (role, false)),
        },
    };
    let compared =
        compared.map(|(role, by_cookie)| Admin { address: address.counted, role, by_cookie });
    request.extensions_mut().insert(AdminCheck(compared));
    compared.is_ok()
}

fn closed() -> ApiError {
    let message = "This needs the admin's key in x-admin-key.";
    ApiError::with_message(ErrorCode::Forbidden, message)
}

const NONE_IS_SET: &str =
    "No admin key is configured: set ADMIN_API_KEY, restart, and show it in x-admin-key.";

fn admin_of(request: &HttpRequest) -> Result<Admin, ApiError> {
    let worker = request.app_data::<web::Data<Worker>>().ok_or_else(closed)?;
    let context = context_of(request).ok_or_else(closed)?;
    // A route that is not the admin's has no admin.
    let AdminCheck(outcome) = request.extensions().get().copied().ok_or_else(closed)?;
    match outcome {
        Ok(admin) => may(&worker.shared, request, admin),
        Err(refusal) => Err(refused(worker, request, &context, refusal)),
    }
}

/// Whether an admin may do what the request asks for.
fn may(shared: &Shared, request: &HttpRequest, admin: Admin) -> Result<Admin, ApiError> {
    if [Method::GET, Method::HEAD].contains(request.method()) {
        return Ok(admin);
    }
    if admin.by_cookie {
        check_origin(shared, request, true)?;
    }
    let ends_session = request.method() == Method::DELETE && request.path() == SESSION;
    if admin.role == Role::Read && !ends_session {
        let message = "This key may look and change nothing; changes need ADMIN_API_KEY.";
        return Err(ApiError::with_message(ErrorCode::Forbidden, message));
    }
    Ok(admin)
}

const SESSION: &str = "/admin/session";

/// What is shown to become an admin.
#[derive(Clone, Copy)]
pub(in crate::http) enum Shown<'a> {
    Key(&'a [u8]),
    /// The token of a link, which is spent by it.
    Link(&'a str),
}

/// The role of a key, or of a link's token, that was posted to log in.
///
/// # Errors
/// It is wrong, there were too many wrong ones, or no key is configured.
pub(in crate::http) fn log_in(
    worker: &Worker,
    request: &HttpRequest,
    context: &RequestContext,
    shown: Shown<'_>,
) -> Result<Admin, ApiError> {
    let address = caller::address(worker, request);
    match compare(&worker.shared, Some(shown), &address) {
        Ok(role) => Ok(Admin { address: address.counted, role, by_cookie: true }),
        Err(refusal) => {
            let error = refused(worker, request, context, refusal);
            let message = match (refusal, shown) {
                (NotAdmin::Missing | NotAdmin::Wrong, Shown::Key(_)) => {
                    "This is not the admin's key."
                }
                (NotAdmin::Missing | NotAdmin::Wrong, Shown::Link(_)) => {
                    "This link was used before or is too old; sign in with the admin's key."
                }
                (NotAdmin::Closed | NotAdmin::Locked(_), _) => return Err(error),
            };
            Err(ApiError { message: message.into(), ..error })
        }
    }
}

/// Counts and logs a refusal.
fn refused(
    worker: &Worker,
    request: &HttpRequest,
    context: &RequestContext,
    refusal: NotAdmin,
) -> ApiError {
    let shared = &worker.shared;
    shared.metrics.access.admin_refused.at([refusal.label()]).inc();
    if let Some(left_out) = worker.lines.line("admin", clock::monotonic()) {
        warn!(shared.log, "admin request refused"; "path" => record::path(request),
            "client" => %context.address.get(), "reason" => refusal.label(),
            "left_out" => left_out, shared.ids(context, request.headers()));
    }
    match refusal {
        NotAdmin::Locked(wait) => {
            let message = "Too many wrong admin keys came from this address; come back later.";
            ApiError::with_message(ErrorCode::RateLimited, message).retry_after(wait)
        }
        NotAdmin::Closed => ApiError::with_message(ErrorCode::Forbidden, NONE_IS_SET),
        NotAdmin::Missing | NotAdmin::Wrong => closed(),
    }
}

fn compare(
    shared: &Shared,
    shown: Option<Shown<'_>>,
    address: &ClientAddress,
) -> Result<Role, NotAdmin> {
    let keys = &shared.admin_keys;
    if keys.full.is_none() && keys.read.is_none() {
        return Err(NotAdmin::Closed);
    }
    let shown = shown.filter(|shown| !matches!(shown, Shown::Key([]))).ok_or(NotAdmin::Missing)?;
    let now = clock::monotonic();
    let from = Guesser { address: address.counted, is_sure: address.is_sure() };
    let mut role = None;
    let guessed = shared.guesses.guess(from, now, || {
        role = match shown {
            Shown::Key(key) => keys.role(key),
            Shown::Link(token) => keys.sessions.redeem(token, clock::now()),
        };
        role.is_some()
    });
    match (guessed, role) {
        (Guessed::Locked(wait), _) => Err(NotAdmin::Locked(wait)),
        (Guessed::Right, Some(role)) => Ok(role),
        (Guessed::Right | Guessed::Wrong, _) => Err(NotAdmin::Wrong),
    }
}

/// The port that a connection came in by, as the connection has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct BoundPort(pub(in crate::http) u16);

/// Several gateways of one host have a cookie each.
pub(in crate::http) fn cookie_name(request: &HttpRequest) -> String {
    let port = request.conn_data::<BoundPort>().map_or(0, |port| port.0);
    format!("breakwater_session_{port}")
}

/// The session that the request's cookies hold; of several of that name the one that is in force, as a
/// page of a neighbouring host may have set another.
pub(in crate::http) fn session(shared: &Shared, request: &HttpRequest) -> Option<String> {
    let name = cookie_name(request);
    let fields = request.headers().get_all(header::COOKIE).filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.split_once('='));
    let mut held = pairs.filter(|(of, _)| of.trim() == name).map(|(_, text)| text.trim());
    held.find(|text| shared.admin_keys.sessions.role(text, clock::now()).is_some())
        .map(str::to_owned)
}

/// Whether the request was sent by a page of this host. A name that somebody has led here (DNS rebinding) is a
/// host of its own for a browser: the cookie of another one does not come with it. So `Host` may be any that the
/// operator uses, beside `PUBLIC_URL`, which is the clients' name for the gateway and not always the operator's.
///
/// # Errors
/// By one of another host; or, where it is needed, nobody says.
pub(in crate::http) fn check_origin(
    shared: &Shared,
    request: &HttpRequest,
    is_needed: bool,
) -> Result<(), ApiError> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let origin = request.headers().get(header::ORIGIN);
    if origin.is_none() && !is_needed {
        return Ok(());
    }
    let public = public_address(shared, request);
    let own = [text(header::HOST), public.as_deref().map(host_of)];
    let from = text(header::ORIGIN).filter(|origin| origin.contains("://")).map(host_of);
    if from.is_some_and(|from| own.into_iter().flatten().any(|own| same_host(own, from))) {
        return Ok(());
    }
    let message = "A change by a page needs the Origin of this host. Behind a proxy, let it pass on \
         Host, or set PUBLIC_URL.";
    Err(ApiError::with_message(ErrorCode::Forbidden, message))
}

/// Host and port of an address.
fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Whether two hosts are the same; the ports that schemes stand for may be left out.
fn same_host(one: &str, other: &str) -> bool {
    let plain = |host: &str| {
        let host = host.strip_suffix(":443").or_else(|| host.strip_suffix(":80")).unwrap_or(host);
        host.to_ascii_lowercase()
    };
    !one.is_empty() && plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_with_their_ports() {
        for (one, other, same) in [
            ("shop.example", "shop.example", true),
            ("Shop.example:443", "shop.example", true),
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "127.0.0.1:8081", false),
            ("[::1]:8080", "[::1]:8080", true),
            ("shop.example", "evil.example", false),
            ("shop.example", "shop.example.evil", false),
            ("", "", false),
        ] {
            assert_eq!(same_host(one, other), same, "{one} {other}");
        }
        assert_eq!(host_of("https://shop.example:8443/ops/"), "shop.example:8443");
        assert_eq!(host_of("shop.example"), "shop.example");
    }
}
