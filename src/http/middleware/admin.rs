//! The admin's door.
//!
//! Owns: the check of `x-admin-key`, in constant time over digests. Refuses: everyone when no key is
//! configured, and everyone without the right one; both look the same from outside.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use slog::warn;

use crate::http::error::{ApiError, ErrorCode};
use crate::http::state::Worker;

const ADMIN_KEY: &str = "x-admin-key";

/// Proof that the request carries the admin's key. A handler that takes it is closed to others.
#[derive(Debug, Clone, Copy)]
pub struct Admin(());

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(check(request))
    }
}

fn check(request: &HttpRequest) -> Result<Admin, ApiError> {
    let refused = || {
        let message = "This needs the admin's key in x-admin-key.";
        ApiError::with_message(ErrorCode::Forbidden, message)
    };
    let worker = request.app_data::<web::Data<Worker>>().ok_or_else(refused)?;
    let shown = request.headers().get(ADMIN_KEY).map(|value| value.as_bytes());
    let known = worker.shared.admin_key.as_ref();
    if known.zip(shown).is_some_and(|(known, shown)| known.matches(shown)) {
        return Ok(Admin(()));
    }
    warn!(worker.shared.log, "admin request refused"; "path" => request.path(),
        "client" => request.peer_addr().map(|peer| peer.ip().to_string()));
    Err(refused())
}
