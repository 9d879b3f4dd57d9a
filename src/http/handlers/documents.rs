//! The OpenAPI documents and the page that shows them.
//!
//! Owns: serving what was generated at start; nothing here needs a file or the internet.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;

use crate::http::state::Worker;

/// The page's own script and style may run, nothing else.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; frame-ancestors 'none'",
);
const PAGE: &str = include_str!("documents.html");

/// Shows this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "Documents",
    operation_id = "getOpenApi",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)),
)]
pub async fn openapi(worker: Data<Worker>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(worker.shared.openapi.clone())
}

/// Shows the document for GPT Actions: the public operations only.
#[utoipa::path(
    get,
    path = "/openapi-gpt.json",
    tag = "Documents",
    operation_id = "getOpenApiForGpt",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = Object)),
)]
pub async fn openapi_gpt(worker: Data<Worker>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(worker.shared.openapi_gpt.clone())
}

/// Shows this document as a page.
///
/// With a form to try every operation; needs no other file.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "Documents",
    operation_id = "getDocs",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")),
)]
pub async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, PAGE_POLICY))
        .body(PAGE)
}
