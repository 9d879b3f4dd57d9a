//! The lists of clients that pass the limits and of clients that are rejected.
//!
//! Owns: the forms and answers. Refuses: whoever is not named as an address, a network or a key, ends
//! that are past, and more entries than there may be. Admin addresses are not subject to the lists, so
//! whoever turns himself away can take it back.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::Audited;
use super::fields::{self, LONGEST_TEXT, PageForm, identifier, moment, not_changed, page, until};
use crate::access::{Entry, Identifier, ListName, Subject};
use crate::clock::{self, Timestamp};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField};
use crate::http::openapi::Doc;
use crate::http::openapi::{DATABASE_AWAY, NOT_FOUND};
use crate::http::service::Route;
use crate::http::state::Worker;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;

pub const ALLOWED: Route = Route::at("/admin/rate-limit/whitelist", Class::General)
    .get(|| to(|admin, call| show(admin, call, ListName::Allow)))
    .says(|doc| {
        show_doc(doc, "listAllowed", "Lists the allow list.");
    })
    .post(|| to(|admin, call| put(admin, call, ListName::Allow)))
    .says(|doc| {
        let details = "No limit applies to an address or key on this list, unless it is on the \
             deny list. An entry that is there already gets the reason and end given \
             now.";
        put_doc(doc, "allow", "Puts an address, a network or a key on the allow list.", details);
    })
    .delete(|| to(|admin, call| remove(admin, call, ListName::Allow)))
    .says(|doc| {
        let summary = "Removes an entry from the allow list.";
        remove_doc(doc, "removeAllowed", summary);
    });

pub const DENIED: Route = Route::at("/admin/rate-limit/blacklist", Class::General)
    .get(|| to(|admin, call| show(admin, call, ListName::Deny)))
    .says(|doc| {
        show_doc(doc, "listDenied", "Lists the deny list.");
    })
    .post(|| to(|admin, call| put(admin, call, ListName::Deny)))
    .says(|doc| {
        let details = "Every request from an address, or with a key, on this list is answered \
             403 `blocked`, but for health and admin addresses; no key and no other \
             list helps against it. An entry that is there already gets the reason \
             and end given now.";
        put_doc(doc, "deny", "Puts an address, a network or a key on the deny list.", details);
    })
    .delete(|| to(|admin, call| remove(admin, call, ListName::Deny)))
    .says(|doc| {
        let summary = "Removes an entry from the deny list.";
        remove_doc(doc, "removeDenied", summary);
    });

fn show_doc(doc: &mut Doc<'_>, id: &str, summary: &str) {
    let details = "Networks and addresses in their order, then keys.";
    doc.says("Admin", id, summary, details)
        .query::<PageForm>()
        .reports::<ListShown>("A page of the list.");
}

fn put_doc(doc: &mut Doc<'_>, id: &str, summary: &str, details: &str) {
    doc.says("Admin", id, summary, details)
        .form::<EntryForm>()
        .reports::<EntryMade>("It is in force.")
        .fails(DATABASE_AWAY);
}

fn remove_doc(doc: &mut Doc<'_>, id: &str, summary: &str) {
    doc.says(
        "Admin",
        id,
        summary,
        "The identifier stands in the query or in the body, and not in both.",
    )
    .form::<SubjectForm>()
    .reports::<EntryRemoved>("It is out of force.")
    .fails(DATABASE_AWAY)
    .fails(NOT_FOUND);
}

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

/// Who is to leave a list.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct SubjectForm {
    /// An address, a network, or the id of a key.
    #[schema(value_type = String, example = "203.0.113.0/24")]
    pub identifier: Option<Value>,
}

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
            created_at: entry.created_at.rfc3339(),
            expires_at: entry.expires_at.map(Timestamp::rfc3339),
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
    /// What is unwise about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caution: Option<String>,
}

/// A network with fewer bits is no group of clients.
const NARROWEST: u8 = 8;

fn caution(list: ListName, who: Identifier) -> Option<String> {
    let Identifier::Network(network) = who else { return None };
    let what = match list {
        ListName::Allow => "neither limits nor the watch for abuse hold for any of them",
        ListName::Deny => "all of them are refused",
    };
    (network.prefix_len() < NARROWEST)
        .then(|| format!("{network} has the addresses of many networks: {what}."))
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
        let found = access.entries(list, after, most.saturating_add(1), clock::now());
        let (found, next) = page(found, most, |(who, _)| who.to_string());
        let size = access.sizes().of(list);
        let entries = found.into_iter().map(|(who, entry)| EntryShown::new(who, entry)).collect();
        Self { size, entries, next }
    }
}

async fn show(_: Admin, call: Call, list: ListName) -> Answer {
    let (limit, after) = call.form::<PageForm>().await?.read(|form| {
        let mut check = Check::default();
        let limit = form.limit(&mut check);
        let after = form.after.as_ref();
        let after = after.and_then(|after| identifier(&mut check, "after", Some(after)));
        check.finish((limit, after))
    })?;
    call.report(&ListShown::of(&call.worker, list, after, limit))
}

async fn put(admin: Admin, call: Call, list: ListName) -> Answer {
    let (who, entry) = call.form().await?.read(|form| read(&form, clock::now()))?;
    let action = match list {
        ListName::Allow => "whitelist.put",
        ListName::Deny => "blacklist.put",
    };
    let details = format!("reason: {:?}; {}", entry.reason, until(entry.expires_at));
    let audited = Audited::begin(&call, &admin, action, who.to_string()).detailed(details);
    let made = call.worker.shared.access.put(list, who, &entry).await;
    audited.end(made.map_err(|not| not_changed(not, "identifier", "to remove some first")))?;
    let caution = caution(list, who);
    call.report(&EntryMade { entry: EntryShown::new(who, entry), caution })
}

async fn remove(admin: Admin, call: Call, list: ListName) -> Answer {
    let who = call.form::<SubjectForm>().await?.read(|form| {
        let mut check = Check::default();
        let who = identifier(&mut check, "identifier", form.identifier.as_ref());
        check.found(who)
    })?;
    let subject = Subject::Entry(list, who);
    call.report(&EntryRemoved { removed: fields::remove(&call, &admin, subject).await? })
}

fn read(form: &EntryForm, now: Timestamp) -> Result<(Identifier, Entry), Vec<InvalidField>> {
    let mut check = Check::default();
    let who = identifier(&mut check, "identifier", form.identifier.as_ref());
    let reason = check.words("reason", form.reason.as_ref(), LONGEST_TEXT).unwrap_or_default();
    let expires_at = moment(&mut check, "expires_at", form.expires_at.as_ref(), now);
    Ok((check.found(who)?, Entry { reason, created_at: now, expires_at }))
}
