//! Why the answer to a request was what it was.
//!
//! Owns: the list of explained requests, and the search by id. An id that is not kept is a 404 that says
//! how far back ids are.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::audit::{LISTED, MOST_LISTED};
use crate::clock::Timestamp;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::explain::{Explained, MOST, Outcome, Reach, Record, SAMPLE};
use crate::http::extract::{Answer, Call};
use crate::http::forms::Check;
use crate::http::openapi::NOT_FOUND;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

pub const LIST: Route = Route::at("/admin/requests", Class::General).get(|| to(list)).says(|doc| {
    let details = "Every request that was refused, failed, stale, slow or asked the upstream, and one of \
         64 hits: the last 1,024 of each outcome. Steps are in the order of time; the last is what decided.";
    doc.says("Admin", "listExplainedRequests", "Lists what became of requests.", details)
        .query::<RequestsForm>()
        .reports::<RequestsShown>("The last requests, newest first, and how far back they reach.");
});

pub const ONE: Route = Route::at("/admin/requests/{id}", Class::General).get(|| to(one)).says(|doc| {
    let details = "All that came with this id, newest first: a client may send an id twice. The answer to an id \
         that is not kept says how far back ids are.";
    doc.says("Admin", "explainRequest", "Tells why a request was answered as it was.", details)
        .path("id", "The id of the request, as its `X-Request-ID` says.", None)
        .reports::<RequestsShown>("The requests with this id.")
        .fails(NOT_FOUND);
});

/// Which requests to list.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RequestsForm {
    /// Only those with this outcome: `refused`, `failed`, `stale`, `slow`, `upstream`, `hit`.
    #[schema(value_type = Option<String>, example = "stale")]
    pub outcome: Option<Value>,
    /// Only those that came at this time or later: RFC 3339, or milliseconds since the Unix epoch.
    #[schema(value_type = Option<String>, example = "2026-01-01T00:00:00Z")]
    pub since: Option<Value>,
    /// At most so many; 100 when absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<Value>,
}

/// What became of requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct RequestsShown {
    pub requests: Vec<Explained>,
    /// How far back each outcome reaches.
    pub kept: Vec<Reach>,
}

async fn list(_: Admin, call: Call) -> Answer {
    let (limit, outcome, since) = call.form::<RequestsForm>().await?.read(|form| {
        let mut check = Check::default();
        let limit = check.whole("limit", form.limit.as_ref(), 1..=MOST_LISTED).unwrap_or(LISTED);
        let words = Outcome::WORDS.join(", ");
        let outcome = check.word("outcome", form.outcome.as_ref(), Outcome::parse, &words);
        let times = "a time, as 2026-01-01T00:00:00Z or in milliseconds since the Unix epoch";
        let since = check.word("since", form.since.as_ref(), time, times);
        check.finish((limit, outcome, since))
    })?;
    let limit = usize::try_from(limit).unwrap_or_default();
    let wanted = |record: &Record| since.is_none_or(|since| record.at >= since);
    shown(&call, call.worker.shared.explain.last(outcome, limit, wanted))
}

async fn one(_: Admin, call: Call) -> Answer {
    call.no_fields().await?;
    let id = call.path::<String>()?;
    let explain = &call.worker.shared.explain;
    let found = explain.last(None, MOST, |record| *record.request_id == *id);
    if found.is_empty() {
        return Err(not_kept(&explain.reach()));
    }
    shown(&call, found)
}

fn shown(call: &Call, found: Vec<Record>) -> Answer {
    let requests = found.into_iter().map(Record::explain).collect();
    call.report(&RequestsShown { requests, kept: call.worker.shared.explain.reach() })
}

fn time(text: &str) -> Option<Timestamp> {
    if let Ok(millis) = text.parse() {
        return Some(Timestamp::from_millis(millis));
    }
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok().map(Timestamp::from_millis)
}

fn not_kept(reach: &[Reach]) -> ApiError {
    let since = |one: &Reach| format!("{} since {}", one.outcome.as_str(), one.since.rfc3339());
    let reach: Vec<_> = reach.iter().map(since).collect();
    let message = format!(
        "No request with this id is kept. Kept are the last {MOST} of each outcome, and of hits one in \
         {SAMPLE}: {}.",
        reach.join(", ")
    );
    ApiError::with_message(ErrorCode::NotFound, message)
}
