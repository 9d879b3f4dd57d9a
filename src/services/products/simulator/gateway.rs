//! The gateway's one door: `/sync`.
//!
//! Owns: the order of things. Read, count, verify, answer; then a fault may spoil the answer. All
//! refusals travel with HTTP status 200, as upstream. Refuses: bodies beyond 256 KiB, before this.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpRequest, HttpResponse, web};

use super::faults::{Exchange, Faults, flatten_lists};
use super::methods::{Call, Method};
use super::parameters::Parameters;
use super::refusal::Refusal;
use super::settings::Credentials;
use super::stats::Stats;
use super::verify;
use crate::clock::{self, Timestamp};
use crate::services::products::catalogue::Catalogue;

/// Everything the simulator knows; shared by all its threads.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// What is served.
    pub(crate) catalogue: Catalogue,
    /// Who may call.
    pub(crate) credentials: Vec<Credentials>,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// What was called.
    pub(crate) stats: Stats,
    /// Number of the next answer.
    pub(crate) answers: AtomicU64,
}

impl Gateway {
    /// Answers `/sync`.
    pub(crate) async fn sync(
        request: HttpRequest,
        body: web::Bytes,
        gateway: web::Data<Self>,
    ) -> HttpResponse {
        let parameters = Parameters::read(request.query_string(), &body);
        let named = parameters.get("method").unwrap_or_default();
        let method = Method::named(named);
        let app_key = parameters.get("app_key").unwrap_or_default();
        gateway.stats.count_call(method, app_key);
        let request_id = gateway.next_request_id();
        let body = gateway.body(&parameters, method, &request_id, clock::now());
        let fault = gateway.faults.meet(named, app_key, clock::monotonic());
        Exchange { request: &request, method, request_id: &request_id, body }.under(fault).await
    }

    fn next_request_id(&self) -> String {
        format!("0ba2{:019}", self.answers.fetch_add(1, Ordering::Relaxed))
    }

    fn body(
        &self,
        parameters: &Parameters,
        method: Option<Method>,
        request_id: &str,
        now: Timestamp,
    ) -> Vec<u8> {
        let answered = self.answer(parameters, method, request_id, now);
        match answered {
            Ok(body) if parameters.get("simplify") == Some("true") => flatten_lists(body),
            Ok(body) => body,
            Err(refusal) => refusal.body(request_id, false),
        }
    }

    fn answer(
        &self,
        parameters: &Parameters,
        method: Option<Method>,
        request_id: &str,
        now: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        let caller = verify::caller(parameters, &self.credentials, now).inspect_err(|refusal| {
            if *refusal == Refusal::signature() {
                self.stats.count_bad_signature();
            }
        })?;
        let method = method.ok_or_else(Refusal::method)?;
        let tracking_id = caller.tracking_id.as_str();
        let call = Call { parameters, catalogue: &self.catalogue, tracking_id, now };
        Ok(call.answer(method)?.body(method, request_id))
    }
}
