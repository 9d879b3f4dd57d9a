//! Faults of the simulator, where one stands in for an upstream.
//!
//! Owns: the form and the answer; the rules are the simulator's own and it checks them. Without a
//! simulator inside this process there is nothing to misbehave: 404.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::Audited;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::openapi::NOT_FOUND;
use crate::http::service::{Route, Simulated};
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

pub(super) const FAULTS: Route = Route::at("/admin/simulator/faults", Class::General)
    .get(|| to(show))
    .says(|doc| {
        let details = "There only while the simulator inside is the upstream.";
        doc.says("Admin", "listSimulatorFaults", "Lists the simulator's faults.", details)
            .reports::<FaultsShown>("The rules in force.")
            .fails(NOT_FOUND);
    })
    .post(|| to(replace))
    .says(|doc| {
        let details = "In place of all others; an empty list heals it. There only while the \
             simulator inside is the upstream.";
        doc.says("Admin", "setSimulatorFaults", "Has the simulator misbehave.", details)
            .form::<FaultsForm>()
            .reports::<FaultsShown>("The rules in force now.")
            .fails(NOT_FOUND);
    });

/// How the simulator is to misbehave.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(super) struct FaultsForm {
    /// The rules, the first that matches wins; see docs/simulator.md.
    #[schema(value_type = Vec<Object>, example = json!([{"method": "*", "share": 1.0, "fault": "status", "status": 503}]))]
    pub rules: Option<Value>,
}

/// The faults of the simulator.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FaultsShown {
    /// The rules in force, as they were sent.
    #[schema(value_type = Vec<Object>)]
    pub rules: Value,
}

fn simulator(call: &Call) -> Result<&dyn Simulated, ApiError> {
    let mut services = call.worker.shared.services.iter();
    services.find_map(|service| service.simulator()).ok_or_else(|| {
        let message = "No simulator of this process stands in for an upstream.";
        ApiError::with_message(ErrorCode::NotFound, message)
    })
}

async fn show(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    call.report(&FaultsShown { rules: simulator(&call)?.faults() })
}

async fn replace(admin: Admin, call: Call) -> Answer {
    let form = call.form::<FaultsForm>().await?.read(Ok)?;
    let rules = form.rules.unwrap_or_default();
    let simulator = simulator(&call)?;
    let audited = Audited::begin(&call, &admin, "simulator.faults", "");
    let replaced = simulator.replace_faults(&rules).map_err(|mistakes| {
        let message = format!("rules: {}.", mistakes.join("; "));
        ApiError::with_message(ErrorCode::InvalidRequest, message)
    });
    audited.detailed(faults(&rules)).end(replaced)?;
    call.report(&FaultsShown { rules: simulator.faults() })
}

/// The kinds of fault in a list, for the audit table.
fn faults(rules: &Value) -> String {
    let kinds = rules.as_array().into_iter().flatten().filter_map(|rule| rule["fault"].as_str());
    match kinds.collect::<Vec<_>>().join(", ") {
        kinds if kinds.is_empty() => "none".to_owned(),
        kinds => kinds,
    }
}
