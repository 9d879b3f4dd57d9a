//! What admins did: noting it, and showing it.
//!
//! Owns: the audit event of a request that changes something, from the moment it is tried: one whose
//! client went away before the answer is noted as well. While the database is away the events that
//! wait for it are shown, and the answer says that these are not all.

use std::sync::Arc;

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slog::info;
use utoipa::ToSchema;

use crate::access::{AuditEvent, AuditPage};
use crate::clock;
use crate::http::error::ApiError;
use crate::http::extract::{Answer, Call};
use crate::http::forms::Check;
use crate::http::service::Route;
use crate::http::state::Shared;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;
use crate::trace::Ids;

/// Rows of a page at most, and when nothing is said.
pub(super) const MOST_LISTED: u32 = 1_000;
pub(super) const LISTED: u32 = 100;

/// An audit event that was begun. It is logged and noted when it is over, whatever came of it.
pub(in crate::http) struct Audited {
    shared: Arc<Shared>,
    event: AuditEvent,
    ids: Ids,
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
            id: None,
            at: clock::now(),
            actor: admin.name(shared),
            address: admin.address().to_string(),
            action: action.to_owned(),
            subject: subject.into(),
            details: String::new(),
            outcome: "abandoned".to_owned(),
            request_id: call.context.id.to_string(),
        };
        let ids = shared.ids(&call.context, call.headers());
        Self { shared: Arc::clone(shared), event, ids }
    }

    /// What exactly, where action and subject do not say it.
    pub(in crate::http) fn detailed(mut self, details: String) -> Self {
        self.event.details = details;
        self
    }

    /// What came of it.
    pub(in crate::http) fn end<T>(mut self, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
        let word = outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "done");
        word.clone_into(&mut self.event.outcome);
        outcome
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        let event = std::mem::take(&mut self.event);
        info!(self.shared.log, "admin action"; "action" => &event.action,
            "subject" => &event.subject, "outcome" => &event.outcome, self.ids.clone());
        self.shared.access.audit.note(event);
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

pub const ROUTE: Route = Route::at("/admin/audit", Class::General).get(|| to(audit)).says(|doc| {
    let details = "Every change of keys, lists, breakers, cache, monitoring and \
             configuration, and chaos that was asked for, on any process that shares \
             this one's database; the last 100,000.";
    doc.says("Admin", "listAudit", "Lists what admins did, the newest first.", details)
        .query::<AuditForm>()
        .reports::<AuditPage>("A page of the table.");
});

async fn audit(_: Admin, call: Call) -> Answer {
    let (limit, before) = call.form::<AuditForm>().await?.read(|form| {
        let mut check = Check::default();
        let limit = check.whole("limit", form.limit.as_ref(), 1..=MOST_LISTED).unwrap_or(LISTED);
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number > 0);
        let before = check.word("before", form.before.as_ref(), number, "the number of an entry");
        check.finish((limit, before))
    })?;
    let limit = usize::try_from(limit).unwrap_or_default();
    call.report(&call.worker.shared.access.audit.page(before, limit).await)
}
