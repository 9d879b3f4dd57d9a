//! `/sync`, where every call arrives, and the simulator's own control: `/__simulator/…`.
//!
//! Owns: the order in which a call is handled (read, count, verify, answer; then a fault may spoil the
//! answer), exact counts of what was called, reading and resetting them, and changing faults. All
//! refusals travel with HTTP status 200, as upstream. Refuses: bodies beyond 256 KiB, before this;
//! fault rules with a mistake, with 400 and every mistake, and changes nothing then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::{Value, json};

use super::faults::{Exchange, Faults};
use super::methods::{Answer, Call, Method};
use super::parameters::Parameters;
use super::pictures::{PICTURE, PICTURE_TYPE, picture};
use super::refusal::Refusal;
use super::verify::{self, Credentials};
use crate::clock::{self, Timestamp};
use crate::services::products::catalogue::Catalogue;

#[derive(Debug)]
pub(super) struct Gateway {
    catalogue: Catalogue,
    credentials: Vec<Credentials>,
    pictures: Option<String>,
    faults: Faults,
    stats: Mutex<Stats>,
    answers: AtomicU64,
}

/// What was called, counted where a call arrives, so a call that a fault swallows is counted too.
#[derive(Debug, Serialize)]
struct Stats {
    /// Every method, called or not; `unknown` only when there was one.
    calls: BTreeMap<&'static str, u64>,
    accounts: BTreeMap<String, u64>,
    bad_signatures: u64,
}

impl Stats {
    fn new(accounts: &[Credentials]) -> Self {
        Self {
            calls: Method::all().map(|method| (method.name, 0)).collect(),
            accounts: accounts.iter().map(|one| (one.app_key.clone(), 0)).collect(),
            bad_signatures: 0,
        }
    }

    /// Counts a call; the key of no account counts for none.
    fn count(&mut self, method: Option<&Method>, app_key: &str) {
        *self.calls.entry(method.map_or("unknown", |method| method.name)).or_default() += 1;
        if let Some(calls) = self.accounts.get_mut(app_key) {
            *calls += 1;
        }
    }
}

/// The faults of a running simulator, for whoever started it in the same process.
#[derive(Debug, Clone)]
pub struct Control(pub(super) web::Data<Gateway>);

impl Control {
    /// The rules in force, as they were sent.
    #[must_use]
    pub fn faults(&self) -> Value {
        self.0.faults.show()
    }

    /// Puts rules in force in place of all others.
    ///
    /// # Errors
    /// Every mistake in them; nothing has changed then.
    pub fn replace_faults(&self, rules: &Value) -> Result<(), Vec<String>> {
        self.0.faults.replace(rules)
    }
}

/// The paths of the gateway and, if it has one, of the control; another method than theirs is 405.
pub(super) fn routes(config: &mut web::ServiceConfig, control: bool) {
    config
        .service(web::resource("/sync").get(Gateway::sync).post(Gateway::sync))
        .service(web::resource(PICTURE).get(show_picture));
    if !control {
        return;
    }
    config
        .service(web::resource("/__simulator/stats").get(Gateway::show_stats))
        .service(web::resource("/__simulator/reset").post(Gateway::reset))
        .service(
            web::resource("/__simulator/faults")
                .get(Gateway::show_faults)
                .put(Gateway::change_faults),
        )
        .default_service(web::to(unknown_path));
}

async fn unknown_path() -> HttpResponse {
    let known =
        ["/sync", "/__simulator/stats", "/__simulator/reset", "/__simulator/faults", PICTURE];
    HttpResponse::NotFound().json(json!({ "error": "there is nothing here", "known": known }))
}

async fn show_picture(path: web::Path<(String, String, String)>) -> HttpResponse {
    let (drawing, colour, view) = path.into_inner();
    match picture(&drawing, &colour, &view) {
        Some(drawn) => HttpResponse::Ok().content_type(PICTURE_TYPE).body(drawn),
        None => HttpResponse::NotFound().json(json!({ "error": "there is no such picture" })),
    }
}

impl Gateway {
    pub(super) fn new(
        catalogue: Catalogue,
        credentials: Vec<Credentials>,
        pictures: Option<String>,
    ) -> Self {
        let stats = Mutex::new(Stats::new(&credentials));
        let (faults, answers) = (Faults::default(), AtomicU64::new(0));
        Self { catalogue, credentials, pictures, faults, stats, answers }
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sync(request: HttpRequest, body: web::Bytes, this: web::Data<Self>) -> HttpResponse {
        let parameters = Parameters::read(request.query_string(), &body);
        let named = parameters.get("method").unwrap_or_default();
        let method = Method::named(named);
        let app_key = parameters.get("app_key").unwrap_or_default();
        this.stats().count(method, app_key);
        let request_id = format!("0ba2{:019}", this.answers.fetch_add(1, Ordering::Relaxed));
        let pictures = this.pictures.clone().unwrap_or_else(|| {
            let asked = request.connection_info();
            format!("{}://{}", asked.scheme(), asked.host())
        });
        let body = match this.answer(&parameters, method, &pictures, clock::now()) {
            Ok((method, answer)) => answer.body(method, &request_id),
            Err(refusal) => refusal.body(&request_id, false),
        };
        let fault = this.faults.meet(named, app_key, clock::monotonic());
        Exchange { request: &request, method, request_id: &request_id, body }.under(fault).await
    }

    fn answer(
        &self,
        parameters: &Parameters,
        method: Option<&'static Method>,
        pictures: &str,
        now: Timestamp,
    ) -> Result<(&'static Method, Answer), Refusal> {
        let caller = verify::caller(parameters, &self.credentials, now).inspect_err(|refusal| {
            if *refusal == Refusal::signature() {
                self.stats().bad_signatures += 1;
            }
        })?;
        let method = method.ok_or_else(Refusal::method)?;
        let tracking_id = caller.tracking_id.as_str();
        let call = Call { parameters, catalogue: &self.catalogue, tracking_id, pictures, now };
        Ok((method, (method.answer)(&call)?))
    }

    async fn show_stats(this: web::Data<Self>) -> HttpResponse {
        HttpResponse::Ok().json(&*this.stats())
    }

    /// As after the start: counters at zero, no faults.
    async fn reset(this: web::Data<Self>) -> HttpResponse {
        this.faults.clear();
        *this.stats() = Stats::new(&this.credentials);
        HttpResponse::Ok().json(&*this.stats())
    }

    async fn show_faults(this: web::Data<Self>) -> HttpResponse {
        HttpResponse::Ok().json(this.faults.show())
    }

    async fn change_faults(body: web::Bytes, this: web::Data<Self>) -> HttpResponse {
        let list: Value = match serde_json::from_slice(&body) {
            Ok(list) => list,
            Err(error) => {
                let text = format!("the body is not JSON: {error}; expected a list of rules");
                return HttpResponse::BadRequest().json(json!({ "error": text }));
            }
        };
        match this.faults.replace(&list) {
            Ok(()) => HttpResponse::Ok().json(this.faults.show()),
            Err(mistakes) => HttpResponse::BadRequest().json(json!({
                "error": "the rules have mistakes and none was changed",
                "mistakes": mistakes,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_counted_once() {
        let accounts = ["500001", "500002", "500001"]
            .map(|key| Credentials { app_key: key.to_owned(), ..Credentials::demonstration() });
        let mut stats = Stats::new(&accounts);
        let links = Method::named("aliexpress.affiliate.link.generate");
        stats.count(links, "500001");
        stats.count(links, "");
        stats.count(None, "500001");
        let shown = json!(stats);
        assert_eq!(shown["calls"]["aliexpress.affiliate.link.generate"], 2);
        assert_eq!(shown["calls"]["aliexpress.affiliate.order.list"], 0);
        assert_eq!(shown["calls"]["unknown"], 1);
        assert_eq!(shown["accounts"], json!({"500001": 2, "500002": 0}));
    }
}
