//! What happens at each address; [`super::routes`] says which.

pub mod admin;
pub mod chaos;
pub mod documents;
pub mod health;
pub mod products;
pub mod references;
pub mod status;

use actix_web::HttpResponse;

use super::context::RequestContext;
use super::envelope;
use super::error::{ApiError, ErrorCode};
use super::state::Worker;
use crate::services::products::service::Served;

/// What a handler gives back.
pub type Answer = Result<HttpResponse, ApiError>;

fn data(worker: &Worker, context: &RequestContext, served: Served) -> HttpResponse {
    if served.last_resort {
        worker.shared.metrics.cache().answered_last_resort();
    }
    let down = worker.degraded();
    envelope::answer(context, served, worker.shared.integration, &down)
}

/// For addresses that do not exist.
pub(super) async fn not_found() -> Answer {
    Err(ApiError::new(ErrorCode::NotFound))
}

/// For addresses that exist, but not with this method.
pub(super) async fn method_not_allowed() -> Answer {
    Err(ApiError::new(ErrorCode::MethodNotAllowed))
}
