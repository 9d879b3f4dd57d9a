//! The settings, as an admin sees them and has them read again.
//!
//! Owns: the answers. Refuses: a configuration with a mistake; the answer names all of them.

use std::sync::Arc;

use actix_web::web::to;

use super::audit::Audited;
use crate::config::{Described, Reloaded};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::openapi::failures::BAD_INPUT;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

pub const SHOW: Route = Route::at("/admin/config", Class::General).get(|| to(show)).says(|doc| {
    doc.says("Admin", "getConfig", "Lists the settings in force, secrets hidden.", "")
        .reports_list::<Described>("Every setting, its value and what gave it.");
});

pub const RELOAD: Route =
    Route::at("/admin/config/reload", Class::General).post(|| to(reload)).says(|doc| {
        let details = "The file and the environment of the process, as SIGHUP does. What cannot \
             change while running is named; it counts from the next start. With a \
             mistake anywhere nothing changes.";
        doc.says("Admin", "reloadConfig", "Reads the configuration again.", details)
            .reports::<Reloaded>("What has changed.")
            .fails(BAD_INPUT);
    });

async fn show(_: Admin, call: Call) -> Answer {
    call.report(&call.worker.shared.in_force.describe())
}

async fn reload(admin: Admin, call: Call) -> Answer {
    let audited = Audited::begin(&call, &admin, "config.reload", "");
    let shared = Arc::clone(&call.worker.shared);
    // It reads a file.
    let reloaded = tokio::task::spawn_blocking(move || shared.reload()).await;
    let reloaded = reloaded.map_err(|died| ApiError::new(ErrorCode::Internal).because(died))?;
    match reloaded {
        Ok(reloaded) => {
            audited.detailed(reloaded.to_string()).end(Ok(()))?;
            call.report(&reloaded)
        }
        Err(mistakes) => {
            let told = mistakes.to_string();
            let refused = ApiError::with_message(ErrorCode::InvalidRequest, told.clone());
            audited.detailed(told).end(Err(refused))
        }
    }
}
