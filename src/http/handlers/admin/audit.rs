//! What admins did: noting it, and showing it.
//!
//! Owns: the audit event of a request that changes something, from the moment it is tried: one whose
//! client went away before the answer is noted as well. While the database is away the events that
//! wait for it are shown, and the answer says that these are not all.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::fields::{LISTED, MOST_LISTED};
use crate::access::{self, Access, AuditEvent};
use crate::clock;
use crate::http::envelope;
use crate::http::error::ApiError;
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, RawForm};
use crate::http::openapi::failures::BAD_INPUT;
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

/// An audit event that was begun. It is noted when it is over, whatever came of it.
#[derive(Debug)]
pub(in crate::http) struct Audited {
    access: Access,
    event: Option<AuditEvent>,
}

impl Audited {
    /// An admin tries to do something to something.
    pub(in crate::http) fn begin(
        call: &Call,
        admin: &Admin,
        action: &str,
        subject: impl Into<String>,
    ) -> Self {
        let shared = &call.worker.shared;
        let event = AuditEvent {
            at: clock::now(),
            actor: admin.name(shared),
            address: admin.address().to_string(),
            action: action.to_owned(),
            subject: subject.into(),
            details: String::new(),
            outcome: "abandoned".to_owned(),
            request_id: call.context.id.to_string(),
        };
        Self { access: shared.access.clone(), event: Some(event) }
    }

    /// What exactly, where action and subject do not say it.
    pub(in crate::http) fn detailed(mut self, details: String) -> Self {
        if let Some(event) = &mut self.event {
            event.details = details;
        }
        self
    }

    /// What came of it.
    pub(in crate::http) fn end<T>(mut self, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Some(event) = &mut self.event {
            let word = outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "done");
            word.clone_into(&mut event.outcome);
        }
        outcome
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.access.audit.note(event);
        }
    }
}

/// Which events to list.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct AuditForm {
    /// At most so many of those that are stored; 100 when absent. Those that wait to be stored, 10,000
    /// at most, are all on the first page.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<Value>,
    /// Only events with smaller numbers than this one: the `next` of the page before.
    #[schema(value_type = Option<i64>, minimum = 1)]
    pub before: Option<Value>,
}

impl RawForm for AuditForm {}

/// What an admin did or tried.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    /// Its number; later ones have greater ones. `null` while it is not stored yet.
    pub id: Option<i64>,
    /// When: RFC 3339, UTC, to the millisecond.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: `admin:` and a fingerprint of the key, or `signal`.
    pub actor: String,
    /// From which address.
    pub address: String,
    /// What.
    #[schema(example = "keys.create")]
    pub action: String,
    /// To what.
    pub subject: String,
    /// What exactly: reason and end of an entry; label, limit, networks and end of a key; what a
    /// reload changed.
    pub details: String,
    /// `done`, `abandoned` (its client went away before the answer), or the code of the error.
    pub outcome: String,
    /// The id of the request.
    pub request_id: String,
}

impl AuditEntry {
    fn new(id: Option<i64>, event: AuditEvent) -> Self {
        let AuditEvent { at, actor, address, action, subject, details, outcome, request_id } =
            event;
        let at = envelope::rfc3339(at);
        Self { id, at, actor, address, action, subject, details, outcome, request_id }
    }
}

/// A page of the audit table.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// What to give as `before` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    /// Whether the table could be read; if not, only what waits to be stored is listed.
    pub complete: bool,
}

pub const ROUTE: Route = Route::at("/admin/audit", Class::General).get(|| to(audit)).says(|doc| {
    let details = "Every change of keys, lists, breakers, cache, monitoring and \
             configuration, and chaos that was asked for, on any process that shares \
             this one's database; the last 100,000.";
    doc.says("Admin", "listAudit", "Lists what admins did, the newest first.", details)
        .query::<AuditForm>()
        .reports::<AuditPage>("A page of the table.")
        .fails(BAD_INPUT);
});

async fn audit(_: Admin, call: Call) -> Answer {
    let (limit, before) = read(&call.query_form()?)?;
    let page = call.worker.shared.access.audit.page(before, limit).await;
    let access::AuditPage { events, next, complete } = page;
    let entries = events.into_iter().map(|(id, event)| AuditEntry::new(id, event)).collect();
    call.report(&AuditPage { entries, next, complete })
}

fn read(form: &AuditForm) -> Result<(usize, Option<i64>), ApiError> {
    const NUMBER: &str = "the number of an entry";
    let mut check = Check::default();
    let limit = check.whole("limit", form.limit.as_ref(), 1..=MOST_LISTED).unwrap_or(LISTED);
    let before = check.word(
        "before",
        form.before.as_ref(),
        |text| text.parse::<i64>().ok().filter(|number| *number > 0),
        NUMBER,
    );
    let (limit, before) = check.finish((limit, before))?;
    Ok((usize::try_from(limit).unwrap_or_default(), before))
}
