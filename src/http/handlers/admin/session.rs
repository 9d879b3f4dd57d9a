//! `/admin/session`: the key is posted once, or the token of a one-time link, and becomes a cookie.
//!
//! Owns: the form, and the fields of the cookie. It is for the folder of the page alone, and named after
//! the port, since browsers do not tell ports apart. Behind a proxy the folder may have another name
//! than here, so there it is not named: a browser then takes the folder of the address it posted to,
//! which is the page's. Refuses: wrong keys, as often as in `x-admin-key`; a login or logout by a page
//! of another host.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::to;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::Audited;
use crate::access::session::SESSION_LASTS;
use crate::clock;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField};
use crate::http::headers::FORWARDED_FOR;
use crate::http::openapi::Failures;
use crate::http::public_address;
use crate::http::service::Route;
use crate::http::stops::admin_key::{self, Admin, Shown};
use crate::limits::Class;

const LIMITED: &Failures =
    &[(&[ErrorCode::RateLimited], "Too many wrong keys came from this address.")];

pub const ROUTE: Route = Route::at("/admin/session", Class::General)
    .post(|| to(begin))
    .says(|doc| {
        let details = "The cookie opens what `x-admin-key` opens, for twelve hours or until the gateway \
             is restarted. Changes made with it need an `Origin` of this host.";
        doc.says("Admin", "beginSession", "Exchanges an admin's key for a cookie.", details)
            .needs_nothing()
            .form::<SessionForm>()
            .does("The cookie is in `Set-Cookie`.")
            .fails(LIMITED);
    })
    .delete(|| to(end))
    .says(|doc| {
        let details = "Without a cookie that is in force there is nothing to end, and the answer is the same.";
        doc.says("Admin", "endSession", "Ends the session of the cookie.", details)
            .of_session()
            .does("There is no session any more.");
    });

/// Who logs in. Nothing shows it: there is no `Debug`.
#[derive(Default, Serialize, Deserialize, ToSchema)]
pub struct SessionForm {
    /// `ADMIN_API_KEY`, or `ADMIN_READONLY_KEY` to look and not to touch.
    #[schema(value_type = Option<String>)]
    pub key: Option<Value>,
    /// In place of the key: what follows `login=` in a one-time link.
    #[schema(value_type = Option<String>)]
    pub login: Option<Value>,
}

/// The text of a field, unless it is blank.
fn text(value: &Option<Value>) -> Option<&str> {
    value.as_ref().and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

impl SessionForm {
    fn shown(&self) -> Result<Shown<'_>, Vec<InvalidField>> {
        let mut check = Check::default();
        let shown = match (text(&self.key), text(&self.login)) {
            (Some(key), None) if self.login.is_none() => Some(Shown::Key(key.as_bytes())),
            (None, Some(token)) if self.key.is_none() => Some(Shown::Link(token)),
            (_, _) if self.login.is_some() => {
                let allowed = "the token of a one-time link as a text, or `key` in its place";
                check.refuse("login", "is no text, or not alone", allowed);
                None
            }
            (_, _) => {
                check.refuse("key", "is missing or no text", "the admin's key as a text");
                None
            }
        };
        check.found(shown)
    }
}

async fn begin(call: Call, request: HttpRequest) -> Answer {
    let form = call.form::<SessionForm>().await?.read(|form| {
        form.shown()?;
        Ok(form)
    })?;
    let shown = form.shown()?;
    admin_key::check_origin(&call.worker.shared, &request, false)?;
    let admin = admin_key::log_in(&call.worker, &request, &call.context, shown)?;
    let audited = Audited::begin(&call, &admin, "session.begin", admin.role().as_str());
    let begun = call.worker.shared.admin_keys.sessions.begin(admin.role(), clock::now());
    let begun = begun.map_err(|error| ApiError::new(ErrorCode::Internal).because(error));
    let text = audited.end(begun)?;
    answer(&call, &request, &text, SESSION_LASTS.as_secs())
}

async fn end(call: Call, request: HttpRequest) -> Answer {
    call.no_fields().await?;
    let shared = &call.worker.shared;
    // A browser that has no session any more is told the same, but one of another host ends none.
    if let Some(text) = admin_key::session(shared, &request) {
        let admin = Admin::of(&request)?;
        let audited = Audited::begin(&call, &admin, "session.end", admin.role().as_str());
        shared.admin_keys.sessions.revoke(&text, clock::now());
        audited.end(Ok(()))?;
    }
    answer(&call, &request, "", 0)
}

fn answer(call: &Call, request: &HttpRequest, text: &str, seconds: u64) -> Answer {
    let name = admin_key::cookie_name(request);
    let path = if may_be_elsewhere(call, request) { "" } else { "; Path=/admin" };
    let secure = if is_https(call, request) { "; Secure" } else { "" };
    let cookie =
        format!("{name}={text}{path}; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    let cookie = HeaderValue::from_str(&cookie)
        .map_err(|error| ApiError::new(ErrorCode::Internal).because(error))?;
    Ok(HttpResponse::NoContent().insert_header((header::SET_COOKIE, cookie)).finish())
}

/// A browser says where the page is from, and knows best under which path it sees it; the others say that
/// there is a proxy.
const VIA: [HeaderName; 5] = [
    header::ORIGIN,
    header::FORWARDED,
    FORWARDED_FOR,
    public_address::FORWARDED_HOST,
    HeaderName::from_static("via"),
];

/// Whether the client may know the page under another path. Anybody may say so of itself: without a path
/// the cookie is for that of the page, as the client sees it (RFC 6265, 5.1.4).
fn may_be_elsewhere(call: &Call, request: &HttpRequest) -> bool {
    let told = VIA.iter().any(|name| request.headers().contains_key(name));
    let public = call.worker.shared.settings.server.public_url.as_deref().unwrap_or_default();
    let below =
        public.split_once("://").is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'));
    told || below
}

/// Whether the client's way here is encrypted, as it says itself or a proxy does: it is about a cookie of
/// its own.
fn is_https(call: &Call, request: &HttpRequest) -> bool {
    let is_https = |url: &str| url.starts_with("https://");
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    match origin {
        Some(origin) => is_https(origin),
        None => public_address::public_address(&call.worker.shared, request)
            .is_some_and(|address| is_https(&address)),
    }
}
