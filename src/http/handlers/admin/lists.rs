//! The lists of who is let past the limits and of who is turned away.
//!
//! Owns: the forms and answers. Refuses: whoever is not named as an address, a network or a key, ends
//! that are past, and more entries than there may be. Admin addresses are not subject to the lists, so
//! whoever turns himself away can take it back.

use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slog::info;
use utoipa::{IntoParams, ToSchema};

use super::super::Answer;
use super::audit::Begun;
use super::fields::{LISTED, LONGEST_TEXT, MOST_LISTED, identifier, moment, until};
use crate::access::{Entry, Identifier, ListName, NotChanged};
use crate::clock::{self, Timestamp};
use crate::http::context::Context;
use crate::http::envelope;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{AnyForm, JsonForm, QueryForm};
use crate::http::openapi::answers::Reported;
use crate::http::openapi::failures::{BadInput, DatabaseAway, NotFound};
use crate::http::state::Worker;
use crate::http::stops::admin_key::Admin;
use crate::services::products::InvalidField;
use crate::services::products::check::Check;
use crate::services::products::input::RawForm;

/// Who is to be on a list.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct EntryForm {
    /// An address, a network, or the id of a key.
    #[schema(value_type = String, example = "203.0.113.0/24")]
    pub identifier: Option<Value>,
    /// Why.
    #[schema(value_type = Option<String>, max_length = 200)]
    pub reason: Option<Value>,
    /// Until when; RFC 3339. For ever when absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Value>,
}

impl RawForm for EntryForm {}

/// Who is to leave a list.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubjectForm {
    /// An address, a network, or the id of a key.
    #[schema(value_type = String, example = "203.0.113.0/24")]
    #[param(value_type = Option<String>)]
    pub identifier: Option<Value>,
}

impl RawForm for SubjectForm {}

/// Which entries to list.
#[derive(Debug, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageForm {
    /// At most so many; 100 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<Value>,
    /// Only those that follow this one: the `next` of the page before.
    #[param(value_type = Option<String>)]
    pub after: Option<Value>,
}

impl RawForm for PageForm {}

/// An entry of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryShown {
    /// An address, a network, or the id of a key.
    pub identifier: String,
    /// Why it is there.
    pub reason: String,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Until when, RFC 3339; absent if for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

impl EntryShown {
    fn new(identifier: Identifier, entry: Entry) -> Self {
        Self {
            identifier: identifier.to_string(),
            reason: entry.reason,
            created_at: envelope::rfc3339(entry.created_at),
            expires_at: entry.expires_at.map(envelope::rfc3339),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListShown {
    /// Entries in all.
    pub size: usize,
    /// Networks and addresses in their order, then keys.
    pub entries: Vec<EntryShown>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An entry that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryMade {
    /// The entry as it is now.
    pub entry: EntryShown,
}

/// An entry that was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryRemoved {
    /// Whom it was about.
    pub removed: String,
}

impl ListShown {
    /// The first so many entries of a list, or those after one.
    pub(super) fn of(
        worker: &Worker,
        list: ListName,
        after: Option<Identifier>,
        most: usize,
    ) -> Self {
        let access = &worker.shared.access;
        let mut found = access.entries(list, after, most.saturating_add(1), clock::now());
        let more = found.len() > most;
        found.truncate(most);
        let next = found.last().filter(|_| more).map(|(last, _)| last.to_string());
        let sizes = access.counts().sizes;
        let size = match list {
            ListName::Allow => sizes.allow,
            ListName::Deny => sizes.deny,
        };
        let entries = found.into_iter().map(|(who, entry)| EntryShown::new(who, entry)).collect();
        Self { size, entries, next }
    }
}

/// Lists who is let past the limits.
#[utoipa::path(
    get,
    path = "/admin/rate-limit/whitelist",
    tag = "Admin",
    operation_id = "listAllowed",
    params(PageForm),
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Reported<ListShown>),
        BadInput,
    ),
)]
pub async fn allowed(
    _: Admin,
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<PageForm>,
) -> Answer {
    show(&worker, &context, &form.0, ListName::Allow)
}

/// Lists who is turned away.
#[utoipa::path(
    get,
    path = "/admin/rate-limit/blacklist",
    tag = "Admin",
    operation_id = "listDenied",
    params(PageForm),
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "A page of the list.", body = Reported<ListShown>),
        BadInput,
    ),
)]
pub async fn denied(
    _: Admin,
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<PageForm>,
) -> Answer {
    show(&worker, &context, &form.0, ListName::Deny)
}

/// Lets somebody past the limits.
///
/// No limit applies to an address or key on this list, unless it is on the other one. Whoever is there
/// already gets the reason and end given now.
#[utoipa::path(
    post,
    path = "/admin/rate-limit/whitelist",
    tag = "Admin",
    operation_id = "allow",
    request_body = EntryForm,
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "It is in force.", body = Reported<EntryMade>),
        BadInput,
        DatabaseAway,
    ),
)]
pub async fn allow(
    admin: Admin,
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<EntryForm>,
) -> Answer {
    put(&admin, &worker, &context, &form.0, ListName::Allow).await
}

/// Turns somebody away.
///
/// Every request from an address, or with a key, on this list is answered 403 `blocked`, but for
/// health and admin addresses; no key and no other list helps against it. Whoever is there already
/// gets the reason and end given now.
#[utoipa::path(
    post,
    path = "/admin/rate-limit/blacklist",
    tag = "Admin",
    operation_id = "deny",
    request_body = EntryForm,
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "It is in force.", body = Reported<EntryMade>),
        BadInput,
        DatabaseAway,
    ),
)]
pub async fn deny(
    admin: Admin,
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<EntryForm>,
) -> Answer {
    put(&admin, &worker, &context, &form.0, ListName::Deny).await
}

/// Takes somebody from the list of who is let past the limits.
///
/// The identifier stands in the query or in the body.
#[utoipa::path(
    delete,
    path = "/admin/rate-limit/whitelist",
    tag = "Admin",
    operation_id = "removeAllowed",
    params(SubjectForm),
    request_body = Option<SubjectForm>,
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "It is out of force.", body = Reported<EntryRemoved>),
        BadInput,
        DatabaseAway,
        NotFound,
    ),
)]
pub async fn remove_allowed(
    admin: Admin,
    worker: Data<Worker>,
    context: Context,
    form: AnyForm<SubjectForm>,
) -> Answer {
    remove(&admin, &worker, &context, &form.0, ListName::Allow).await
}

/// Takes somebody from the list of who is turned away.
///
/// The identifier stands in the query or in the body.
#[utoipa::path(
    delete,
    path = "/admin/rate-limit/blacklist",
    tag = "Admin",
    operation_id = "removeDenied",
    params(SubjectForm),
    request_body = Option<SubjectForm>,
    security(("x-admin-key" = [])),
    responses(
        (status = 200, description = "It is out of force.", body = Reported<EntryRemoved>),
        BadInput,
        DatabaseAway,
        NotFound,
    ),
)]
pub async fn remove_denied(
    admin: Admin,
    worker: Data<Worker>,
    context: Context,
    form: AnyForm<SubjectForm>,
) -> Answer {
    remove(&admin, &worker, &context, &form.0, ListName::Deny).await
}

fn show(worker: &Worker, context: &Context, form: &PageForm, list: ListName) -> Answer {
    let mut check = Check::default();
    let limit = check.whole("limit", form.limit.as_ref(), 1..=MOST_LISTED).unwrap_or(LISTED);
    let after = form.after.as_ref();
    let after = after.and_then(|after| identifier(&mut check, "after", Some(after)));
    let (limit, after) = check.finish((limit, after))?;
    let most = usize::try_from(limit).unwrap_or_default();
    envelope::own(&context.0, &ListShown::of(worker, list, after, most))
}

async fn put(
    admin: &Admin,
    worker: &Worker,
    context: &Context,
    form: &EntryForm,
    list: ListName,
) -> Answer {
    let now = clock::now();
    let (who, entry) = read(form, now)?;
    let action = match list {
        ListName::Allow => "whitelist.put",
        ListName::Deny => "blacklist.put",
    };
    let deed = Begun::new(worker, admin, context, action, who.to_string());
    let deed = deed.detailed(format!("reason: {:?}; {}", entry.reason, until(entry.expires_at)));
    let access = &worker.shared.access;
    deed.end(access.put(list, who, &entry, now).await.map_err(not_changed))?;
    info!(worker.shared.log, "admin changed a list"; "action" => action,
        "identifier" => %who, "request_id" => &*context.0.id);
    envelope::own(&context.0, &EntryMade { entry: EntryShown::new(who, entry) })
}

async fn remove(
    admin: &Admin,
    worker: &Worker,
    context: &Context,
    form: &SubjectForm,
    list: ListName,
) -> Answer {
    let mut check = Check::default();
    let who = identifier(&mut check, "identifier", form.identifier.as_ref());
    let Some(who) = check.finish(who)? else { return Err(ApiError::new(ErrorCode::NotFound)) };
    let action = match list {
        ListName::Allow => "whitelist.remove",
        ListName::Deny => "blacklist.remove",
    };
    let deed = Begun::new(worker, admin, context, action, who.to_string());
    let access = &worker.shared.access;
    let removed = access.take_out(list, who, clock::now()).await.map_err(not_changed);
    let none = || ApiError::with_message(ErrorCode::NotFound, "There is no such entry.");
    deed.end(removed.and_then(|there| there.then_some(()).ok_or_else(none)))?;
    info!(worker.shared.log, "admin changed a list"; "action" => action,
        "identifier" => %who, "request_id" => &*context.0.id);
    envelope::own(&context.0, &EntryRemoved { removed: who.to_string() })
}

fn not_changed(not: NotChanged) -> ApiError {
    match not {
        NotChanged::Full(most) => {
            let problem = format!("there are {most} entries, and no room for more");
            vec![InvalidField::new("identifier", problem, "to remove some first")].into()
        }
        NotChanged::Away(away) => super::database_away(&away),
    }
}

fn read(form: &EntryForm, now: Timestamp) -> Result<(Identifier, Entry), Vec<InvalidField>> {
    let mut check = Check::default();
    let who = identifier(&mut check, "identifier", form.identifier.as_ref());
    let reason = check.words("reason", form.reason.as_ref(), LONGEST_TEXT).unwrap_or_default();
    let expires_at = moment(&mut check, "expires_at", form.expires_at.as_ref(), now);
    let who = check.finish(who)?;
    // Whoever could not be read has been refused.
    let none = || vec![InvalidField::new("identifier", "is missing", "an address or a network")];
    Ok((who.ok_or_else(none)?, Entry { reason, created_at: now, expires_at }))
}
