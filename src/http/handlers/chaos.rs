//! Faults on request, so that operators and tests can see the service survive them.
//!
//! Owns: nothing; the supervisor puts the fault where a real one would happen. Without
//! `CHAOS_ENABLED` these addresses do not exist.

use std::time::Duration;

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::admin::audit::Audited;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::Check;
use crate::http::openapi::NOT_FOUND;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;
use crate::supervision::Chaos;

/// Longest hang that may be asked for.
const LONGEST_HANG: u32 = 60_000;

/// How long to hang.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
struct HangForm {
    /// Milliseconds; 1000 when absent.
    #[schema(value_type = Option<u64>, maximum = 60000)]
    ms: Option<Value>,
}

/// Faults that were dealt out.
#[derive(Debug, Serialize, ToSchema)]
struct Struck {
    /// The actors' name.
    actor: String,
    /// How many of that name were struck.
    struck: usize,
}

pub const ROUTES: &[Route] = &[Route::at("/admin/chaos/actors/{name}/{fault}", Class::General)
    .post(|| to(strike))
    .says(|doc| {
        let summary = "Has every actor of a name panic, stop or hang once.";
        doc.says("Chaos", "strikeActors", summary, "There with `CHAOS_ENABLED` only.")
            .path("name", "The actors' name, as `/admin/actors` lists it.", None)
            .path_word("fault", "What befalls them.", &["panic", "stop", "hang"])
            .query::<HangForm>()
            .reports::<Struck>("How many actors were struck.")
            .fails(NOT_FOUND);
    })];

async fn strike(admin: Admin, call: Call) -> Answer {
    let (actor, fault) = call.path::<(String, String)>()?;
    let chaos = match fault.as_str() {
        "panic" => Chaos::Panic,
        "stop" => Chaos::Stop,
        "hang" => Chaos::Hang(hang_time(&call.query_form()?)?),
        _ => return Err(ApiError::new(ErrorCode::NotFound)),
    };
    let audited = Audited::begin(&call, &admin, &format!("chaos.{fault}"), &actor);
    let struck = call.worker.shared.supervisor.strike(&actor, chaos);
    let nobody = || {
        let message = "There is no such actor, or its inbox is full; see /admin/actors.";
        ApiError::with_message(ErrorCode::NotFound, message)
    };
    audited.end((struck > 0).then_some(()).ok_or_else(nobody))?;
    call.report(&Struck { actor, struck })
}

fn hang_time(form: &HangForm) -> Result<Duration, ApiError> {
    let mut check = Check::default();
    let ms = check.whole("ms", form.ms.as_ref(), 0..=LONGEST_HANG).unwrap_or(1_000);
    Ok(Duration::from_millis(check.finish(ms)?.into()))
}
