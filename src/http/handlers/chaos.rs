//! Faults on request, so that operators and tests can see the service survive them.
//!
//! Owns: nothing; the supervisor puts the fault where a real one would happen. Without
//! `CHAOS_ENABLED` these addresses do not exist.

use std::time::Duration;

use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slog::warn;
use utoipa::IntoParams;

use super::Answer;
use super::admin::audit::Begun;
use crate::http::context::Context;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::QueryForm;
use crate::http::openapi::answers::{Reported, Struck};
use crate::http::openapi::failures::{BadInput, NotFound};
use crate::http::openapi::parameters::Fault;
use crate::http::state::Worker;
use crate::http::stops::admin_key::Admin;
use crate::services::products::input::RawForm;
use crate::supervision::Chaos;

/// Longest hang that may be asked for.
const LONGEST_HANG: u64 = 60_000;

/// How long to hang.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HangForm {
    /// Milliseconds; 1000 when absent.
    #[param(value_type = Option<u64>, maximum = 60000)]
    pub ms: Option<Value>,
}

impl RawForm for HangForm {}

/// Has every actor of a name panic, stop or hang once.
///
/// There with `CHAOS_ENABLED` only.
#[utoipa::path(
    post,
    path = "/admin/chaos/actors/{name}/{fault}",
    tag = "Chaos",
    operation_id = "strikeActors",
    params(
        ("name" = String, Path, description = "The actors' name, as `/admin/actors` lists it."),
        ("fault" = inline(Fault), Path, description = "What befalls them."),
        HangForm,
    ),
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "How many actors were struck.", body = Reported<Struck>),
        BadInput,
        NotFound,
    ),
)]
pub async fn strike(
    admin: Admin,
    worker: Data<Worker>,
    context: Context,
    path: Path<(String, String)>,
    form: QueryForm<HangForm>,
) -> Answer {
    let (name, fault) = path.into_inner();
    let chaos = match fault.as_str() {
        "panic" => Chaos::Panic,
        "stop" => Chaos::Stop,
        "hang" => Chaos::Hang(hang_time(&form.0)?),
        _ => return Err(ApiError::new(ErrorCode::NotFound)),
    };
    let deed = Begun::new(&worker, &admin, &context, &format!("chaos.{fault}"), &name);
    let struck = worker.shared.supervisor.strike(&name, chaos);
    let nobody = || {
        let message = "There is no such actor, or its inbox is full; see /admin/actors.";
        ApiError::with_message(ErrorCode::NotFound, message)
    };
    deed.end((struck > 0).then_some(()).ok_or_else(nobody))?;
    warn!(worker.shared.log, "chaos was asked for"; "actor" => &name, "fault" => &fault,
        "request_id" => &*context.0.id);
    envelope::own(&context.0, &serde_json::json!({"actor": name, "struck": struck}))
}

fn hang_time(form: &HangForm) -> Result<Duration, ApiError> {
    let ms = match &form.ms {
        None => Some(1_000),
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_u64(),
    };
    ms.filter(|ms| *ms <= LONGEST_HANG).map(Duration::from_millis).ok_or_else(|| {
        let message = format!("ms: is not allowed; allowed: 0 to {LONGEST_HANG}");
        ApiError::with_message(ErrorCode::InvalidRequest, message)
    })
}
