//! The simulator's own control: `/__simulator/…`.
//!
//! Owns: reading statistics, starting over, and changing faults. Refuses: fault rules with a
//! mistake, with 400 and every mistake; nothing is changed then.

use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use super::gateway::Gateway;

/// Adds the control paths.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/__simulator/stats")
                .get(stats)
                .default_service(web::to(|| not_allowed("GET"))),
        )
        .service(
            web::resource("/__simulator/reset")
                .post(reset)
                .default_service(web::to(|| not_allowed("POST"))),
        )
        .service(
            web::resource("/__simulator/faults")
                .get(show_faults)
                .put(change_faults)
                .default_service(web::to(|| not_allowed("GET, PUT"))),
        );
}

async fn not_allowed(allowed: &'static str) -> HttpResponse {
    HttpResponse::MethodNotAllowed()
        .insert_header(("allow", allowed))
        .json(json!({ "error": "the method is not allowed here", "allowed": allowed }))
}

async fn stats(gateway: web::Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().json(gateway.stats.show())
}

/// As after the start: counters at zero, no faults.
async fn reset(gateway: web::Data<Gateway>) -> HttpResponse {
    gateway.faults.clear();
    gateway.stats.reset();
    HttpResponse::Ok().json(gateway.stats.show())
}

async fn show_faults(gateway: web::Data<Gateway>) -> HttpResponse {
    HttpResponse::Ok().json(gateway.faults.show())
}

async fn change_faults(body: web::Bytes, gateway: web::Data<Gateway>) -> HttpResponse {
    let list: Value = match serde_json::from_slice(&body) {
        Ok(list) => list,
        Err(error) => {
            let text = format!("the body is not JSON: {error}; expected a list of rules");
            return HttpResponse::BadRequest().json(json!({ "error": text }));
        }
    };
    match gateway.faults.replace(&list) {
        Ok(()) => HttpResponse::Ok().json(gateway.faults.show()),
        Err(mistakes) => HttpResponse::BadRequest().json(json!({
            "error": "the rules have mistakes and none was changed",
            "mistakes": mistakes,
        })),
    }
}
