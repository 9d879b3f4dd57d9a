//! `/admin`: the operator's page and its files.
//!
//! Owns: sending the files, which lie in `page/`, and the policy of the page. They are open to everybody,
//! because they hold no data: the page asks `/admin/live` for it, with the session of whoever signed in.
//! Nothing is loaded from elsewhere; the page runs no script but these and turns no text into markup, which
//! its policy enforces. Has no neighbour that could be down.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::to;

use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::headers::GZIP;
use crate::http::page_files::CLOSED;
use crate::http::service::Route;
use crate::limits::Class;

/// What the page may do: run and show its own files, and talk to this gateway. The icon is empty and
/// stands in the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// A browser asks each time whether its copy is still the one: all files are of one version.
const LASTS: u64 = 0;

/// No operation of the interface, so the OpenAPI document does not name it.
pub const PAGE: Route = Route::at("/admin", Class::Exempt).get(|| to(page));

pub const ASSETS: Route = Route::at("/admin/assets/{file}", Class::Exempt).get(|| to(asset));

async fn page(call: Call) -> Answer {
    let keys = &call.worker.shared.admin_keys;
    let is_closed = keys.full.is_none() && keys.read.is_none();
    send(&call, if is_closed { CLOSED } else { "" })
}

async fn asset(call: Call) -> Answer {
    let name: String = call.path()?;
    send(&call, &name)
}

fn send(call: &Call, name: &str) -> Answer {
    let files = &call.worker.shared.documents.admin_page;
    let file = files.named(name).ok_or_else(|| ApiError::new(ErrorCode::NotFound))?;
    call.lasts(LASTS, file.plain.clone());
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, file.kind.clone()))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    Ok(if call.context.gzip && !file.packed.is_empty() {
        response.insert_header((header::CONTENT_ENCODING, GZIP)).body(file.packed.clone())
    } else {
        response.body(file.plain.clone())
    })
}
