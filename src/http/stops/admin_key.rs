//! The check of `x-admin-key`, in constant time over digests.
//!
//! Refuses everybody when no key is configured, and everybody without the right one; both look the
//! same from outside. An address that was wrong too often ([`crate::access::guesses`]) gets a 429
//! until it may try again.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use slog::warn;

use crate::access::guesses::{Guessed, Guesser};
use crate::clock;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::context_of;
use crate::http::headers::ADMIN_KEY;
use crate::http::state::{Shared, Worker};
use crate::http::stops::record;
use crate::limits::ClientAddress;

/// Proof that the request carries the admin's key. A handler that takes it is closed to others.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    address: IpAddr,
}

impl Admin {
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The admin's name in the audit log: a fingerprint of the key.
    #[must_use]
    pub fn name(&self, shared: &Shared) -> String {
        let fingerprint = shared.admin_key.as_ref().map(|key| key.fingerprint());
        format!("admin:{}", fingerprint.unwrap_or_default())
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
    const fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Locked(_) => "locked",
        }
    }
}

/// Checks the key of a request to an admin's route, once. Its holder is not subject to the limits of
/// clients: an admin has to act while somebody else spends them.
pub(in crate::http) fn check(
    worker: &Worker,
    request: &ServiceRequest,
    address: &ClientAddress,
) -> bool {
    let shown = request.headers().get(ADMIN_KEY).map(|value| value.as_bytes());
    let compared = compare(&worker.shared, shown, address);
    let compared = compared.map(|()| Admin { address: address.counted });
    request.extensions_mut().insert(AdminCheck(compared));
    compared.is_ok()
}

fn admin_of(request: &HttpRequest) -> Result<Admin, ApiError> {
    let closed = || {
        let message = "This needs the admin's key in x-admin-key.";
        ApiError::with_message(ErrorCode::Forbidden, message)
    };
    let worker = request.app_data::<web::Data<Worker>>().ok_or_else(closed)?;
    let context = context_of(request).ok_or_else(closed)?;
    // A route that is not the admin's has no admin.
    let AdminCheck(outcome) = request.extensions().get().copied().ok_or_else(closed)?;
    let refusal = match outcome {
        Ok(admin) => return Ok(admin),
        Err(refusal) => refusal,
    };
    let shared = &worker.shared;
    shared.metrics.access.admin_refused.at([refusal.label()]).inc();
    if let Some(left_out) = worker.lines.line("admin", clock::monotonic()) {
        warn!(shared.log, "admin request refused"; "path" => record::path(request),
            "client" => %context.address.get(), "reason" => refusal.label(),
            "request_id" => &*context.id, "left_out" => left_out);
    }
    Err(match refusal {
        NotAdmin::Locked(wait) => {
            let message = "Too many wrong admin keys came from this address; come back later.";
            ApiError::with_message(ErrorCode::RateLimited, message).retry_after(wait)
        }
        NotAdmin::Closed | NotAdmin::Missing | NotAdmin::Wrong => closed(),
    })
}

fn compare(shared: &Shared, shown: Option<&[u8]>, address: &ClientAddress) -> Result<(), NotAdmin> {
    let known = shared.admin_key.as_ref().ok_or(NotAdmin::Closed)?;
    let shown = shown.filter(|key| !key.is_empty()).ok_or(NotAdmin::Missing)?;
    let now = clock::monotonic();
    let from = Guesser { address: address.counted, is_sure: address.is_sure() };
    match shared.guesses.guess(from, now, || known.matches(shown)) {
        Guessed::Right => Ok(()),
        Guessed::Wrong => Err(NotAdmin::Wrong),
        Guessed::Locked(wait) => Err(NotAdmin::Locked(wait)),
    }
}
