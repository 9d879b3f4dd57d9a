//! The settings, as an admin sees them and has them read again.
//!
//! Owns: the answers. Refuses: a configuration with a mistake; the answer names all of them.

use actix_web::web::Data;

use super::super::Answer;
use super::audit::Begun;
use crate::config::{Described, Reloaded};
use crate::http::context::Context;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::openapi::answers::Reported;
use crate::http::openapi::failures::BadInput;
use crate::http::state::Worker;
use crate::http::stops::admin_key::Admin;

/// Lists the settings in force, secrets hidden.
#[utoipa::path(
    get,
    path = "/admin/config",
    tag = "Admin",
    operation_id = "getConfig",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "Every setting, its value and what gave it.", body = Reported<Vec<Described>>),
    ),
)]
pub async fn show(_: Admin, worker: Data<Worker>, context: Context) -> Answer {
    envelope::own(&context.0, &worker.shared.in_force.describe(&worker.shared.settings))
}

/// Reads the configuration again.
///
/// The file and the environment of the process, as SIGHUP does. What cannot change while running is
/// named; it counts from the next start. With a mistake anywhere nothing changes.
#[utoipa::path(
    post,
    path = "/admin/config/reload",
    tag = "Admin",
    operation_id = "reloadConfig",
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "What has changed.", body = Reported<Reloaded>),
        BadInput,
    ),
)]
pub async fn reload(admin: Admin, worker: Data<Worker>, context: Context) -> Answer {
    let deed = Begun::new(&worker, &admin, &context, "config.reload", "");
    let shared = std::sync::Arc::clone(&worker.shared);
    // It reads a file.
    let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
    let reloaded = reloaded.map_err(|died| ApiError::new(ErrorCode::Internal).because(died))?;
    match reloaded {
        Ok(reloaded) => {
            deed.detailed(reloaded.to_string()).end(Ok(()))?;
            envelope::own(&context.0, &reloaded)
        }
        Err(mistakes) => {
            let told = mistakes.to_string();
            deed.detailed(told.clone())
                .end(Err(ApiError::with_message(ErrorCode::InvalidRequest, told)))
        }
    }
}
