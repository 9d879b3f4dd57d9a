//! The admin's door.
//!
//! Owns: the check of `x-admin-key`, in constant time over digests, and what is told of those who fail
//! it. Refuses: everyone when no key is configured, and everyone without the right one; both look the
//! same from outside. Refuses to compare anything more from an address that was wrong too often
//! ([`crate::access::guesses`]): 429 until it may be wrong once more.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use slog::warn;

use crate::access::guesses::Guessed;
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::{Shared, Worker};

const ADMIN_KEY: &str = "x-admin-key";

/// Proof that the request carries the admin's key. A handler that takes it is closed to others.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    address: IpAddr,
}

impl Admin {
    /// Where the admin is.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// What the admin is called where it is noted who did something: by a fingerprint of the key.
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
        std::future::ready(check(request))
    }
}

/// What came of the key that a request shows; lies at the request.
#[derive(Debug, Clone, Copy)]
struct Knocked(Result<Admin, Refusal>);

/// Why nobody is let in.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// No key is configured.
    Closed,
    /// None is shown.
    Missing,
    /// It is another one.
    Wrong,
    /// There were too many wrong ones; how long to wait.
    Locked(Duration),
}

impl Refusal {
    const fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::Locked(_) => "locked",
        }
    }
}

/// Looks at the key of a request to an admin's address, once; whether it opens the door. Who holds it
/// is not subject to the limits of clients: he has to act while somebody else spends them.
pub(super) fn knock(worker: &Worker, request: &ServiceRequest, address: IpAddr) -> bool {
    let shown = request.headers().get(ADMIN_KEY).map(|value| value.as_bytes());
    let compared = compare(&worker.shared, shown, address).map(|()| Admin { address });
    request.extensions_mut().insert(Knocked(compared));
    compared.is_ok()
}

fn check(request: &HttpRequest) -> Result<Admin, ApiError> {
    let closed = || {
        let message = "This needs the admin's key in x-admin-key.";
        ApiError::with_message(ErrorCode::Forbidden, message)
    };
    let worker = request.app_data::<web::Data<Worker>>().ok_or_else(closed)?;
    let context = RequestContext::of_handler(request).ok_or_else(closed)?;
    // An address that is not behind the door has no admin.
    let Knocked(outcome) = request.extensions().get().copied().ok_or_else(closed)?;
    let refusal = match outcome {
        Ok(admin) => return Ok(admin),
        Err(refusal) => refusal,
    };
    let shared = &worker.shared;
    shared.metrics.access().admin_refused(refusal.label());
    warn!(shared.log, "admin request refused"; "path" => request.path(),
        "client" => %context.address.get(), "reason" => refusal.label(),
        "request_id" => &*context.id);
    Err(match refusal {
        Refusal::Locked(wait) => {
            let message = "Too many wrong admin keys came from this address; come back later.";
            ApiError::with_message(ErrorCode::RateLimited, message).retry_after(wait)
        }
        Refusal::Closed | Refusal::Missing | Refusal::Wrong => closed(),
    })
}

fn compare(shared: &Shared, shown: Option<&[u8]>, address: IpAddr) -> Result<(), Refusal> {
    let known = shared.admin_key.as_ref().ok_or(Refusal::Closed)?;
    let shown = shown.filter(|key| !key.is_empty()).ok_or(Refusal::Missing)?;
    let now = clock::monotonic();
    match shared.guesses.guess(address, now, || known.matches(shown)) {
        Guessed::Right => Ok(()),
        Guessed::Wrong => Err(Refusal::Wrong),
        Guessed::Locked(wait) => Err(Refusal::Locked(wait)),
    }
}
