//! Clients' keys as an admin makes, lists and revokes them.
//!
//! Owns: the forms and answers. A key's text is in one answer only, that of its making. Refuses:
//! limits, networks and times that are none, and more keys than there may be.

use std::num::NonZeroU32;

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::audit::Audited;
use super::fields::{LONGEST_TEXT, PageForm, moment, networks, not_changed, page, remove, until};
use crate::access::record::shown;
use crate::access::{NewKey, SecretDigest, StoredKey, Subject};
use crate::clock::{self, Timestamp};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField};
use crate::http::openapi::{DATABASE_AWAY, NOT_FOUND};
use crate::http::service::Route;
use crate::http::stops::admin_key::Admin;
use crate::limits::{Class, KeyId};

const ID: &str = "the id of a key as GET /admin/keys lists it";

/// A key that is wanted.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct KeyForm {
    /// What its owner is called.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "the shop")]
    pub label: Option<Value>,
    /// Its own limit: requests a minute in each class of routes, in place of what keys have.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000000)]
    pub per_minute: Option<Value>,
    /// Addresses and networks it may be used from; from anywhere when absent.
    #[schema(value_type = Option<Vec<String>>, max_items = 64, example = json!(["203.0.113.0/24"]))]
    pub addresses: Option<Value>,
    /// Until when it is known; RFC 3339. For ever when absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Value>,
}

/// A key that is meant.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct KeyIdForm {
    /// Its id.
    #[schema(value_type = String, example = "0a1b2c3d4e5f")]
    pub id: Option<Value>,
}

/// A stored key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyShown {
    /// Its id, also for the lists.
    pub id: String,
    /// What its owner is called.
    pub label: String,
    /// Its own limit, if it has one.
    #[schema(value_type = Option<u32>)]
    pub per_minute: Option<NonZeroU32>,
    /// Where it may be used from; anywhere when empty.
    pub addresses: Vec<String>,
    /// When it was made, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Until when it is known, RFC 3339; absent if for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// Whether that is past. It is as unknown as one that never was.
    pub expired: bool,
}

impl KeyShown {
    fn new(id: KeyId, key: StoredKey, now: Timestamp) -> Self {
        Self {
            id: id.to_string(),
            label: key.label,
            per_minute: key.per_minute,
            addresses: key.networks.iter().map(shown).collect(),
            created_at: key.created_at.rfc3339(),
            expires_at: key.expires_at.map(Timestamp::rfc3339),
            expired: key.expires_at.is_some_and(|until| until <= now),
        }
    }
}

/// A page of the stored keys.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeysShown {
    /// Keys in force, in all.
    pub size: usize,
    /// In the order of their ids; also those that expired a while ago.
    pub keys: Vec<KeyShown>,
    /// What to give as `after` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A key that was made. Nothing shows it but its answer: there is no `Debug`.
#[derive(Serialize, ToSchema)]
pub struct KeyMade {
    /// The key, for `x-internal-key` or `Authorization`. It is shown here and never again.
    pub secret: String,
    /// What is stored of it.
    pub key: KeyShown,
}

/// A key that was revoked.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyRevoked {
    /// Its id.
    pub revoked: String,
}

pub const ROUTE: Route = Route::at("/admin/keys", Class::General)
    .get(|| to(list))
    .says(|doc| {
        let details = "Without their secrets, which are stored nowhere. The one of the settings \
             is not among them.";
        doc.says("Admin", "listKeys", "Lists clients' keys.", details)
            .query::<PageForm>()
            .reports::<KeysShown>("A page of the keys.");
    })
    .post(|| to(create))
    .says(|doc| {
        let details = "Its text is in this answer and nowhere else. It is known at once here, \
             and within a second on every instance that shares the database with this \
             one.";
        doc.says("Admin", "createKey", "Makes a key for a client.", details)
            .form::<KeyForm>()
            .reports::<KeyMade>("The key.")
            .fails(DATABASE_AWAY);
    })
    .delete(|| to(revoke))
    .says(|doc| {
        let details = "It is unknown at once here, and within a second on every instance that \
             shares the database with this one. The id stands in the query or in the \
             body, and not in both.";
        doc.says("Admin", "revokeKey", "Revokes a client's key.", details)
            .form::<KeyIdForm>()
            .reports::<KeyRevoked>("It is unknown now.")
            .fails(DATABASE_AWAY)
            .fails(NOT_FOUND);
    });

async fn list(_: Admin, call: Call) -> Answer {
    let (limit, after) = call.form::<PageForm>().await?.read(|form| {
        let mut check = Check::default();
        let limit = form.limit(&mut check);
        let after = check.word("after", form.after.as_ref(), |text| text.parse().ok(), ID);
        check.finish((limit, after))
    })?;
    let (access, now) = (&call.worker.shared.access, clock::now());
    let found = access.key_page(after, limit.saturating_add(1));
    let (found, next) = page(found, limit, |(id, _)| id.to_string());
    let keys = found.into_iter().map(|(id, key)| KeyShown::new(id, key, now)).collect();
    call.report(&KeysShown { size: access.sizes().keys, keys, next })
}

async fn create(admin: Admin, call: Call) -> Answer {
    let now = clock::now();
    let new = NewKey::make().map_err(|cause| ApiError::new(ErrorCode::Internal).because(cause))?;
    let key = call.form().await?.read(|form| read(&form, new.digest, now))?;
    let id = new.id.to_string();
    let audited = Audited::begin(&call, &admin, "keys.create", id).detailed(details(&key));
    let added = call.worker.shared.access.add_key(new.id, &key).await;
    audited.end(added.map_err(|not| not_changed(not, "body", "to revoke some first")))?;
    call.report(&KeyMade { secret: new.text, key: KeyShown::new(new.id, key, now) })
}

fn details(key: &StoredKey) -> String {
    let limit = key.per_minute.map_or_else(|| "usual".to_owned(), |limit| limit.to_string());
    let networks: Vec<_> = key.networks.iter().map(shown).collect();
    let from = if networks.is_empty() { "anywhere".to_owned() } else { networks.join(", ") };
    let until = until(key.expires_at);
    format!("label: {:?}; per_minute: {limit}; from {from}; {until}", key.label)
}

async fn revoke(admin: Admin, call: Call) -> Answer {
    let subject = Subject::Key(call.form().await?.read(|form| read_id(&form))?);
    call.report(&KeyRevoked { revoked: remove(&call, &admin, subject).await? })
}

fn read(
    form: &KeyForm,
    digest: SecretDigest,
    now: Timestamp,
) -> Result<StoredKey, Vec<InvalidField>> {
    let mut check = Check::default();
    let allowed = format!("a text of 1 to {LONGEST_TEXT} characters");
    let label = check.required("label", &allowed, |check| {
        check.words("label", form.label.as_ref(), LONGEST_TEXT)
    });
    let per_minute = check.whole("per_minute", form.per_minute.as_ref(), 1..=1_000_000_000);
    let networks = networks(&mut check, "addresses", form.addresses.as_ref());
    let expires_at = moment(&mut check, "expires_at", form.expires_at.as_ref(), now);
    Ok(StoredKey {
        label: check.found(label)?,
        digest,
        per_minute: per_minute.and_then(NonZeroU32::new),
        networks,
        created_at: now,
        expires_at,
    })
}

fn read_id(form: &KeyIdForm) -> Result<KeyId, Vec<InvalidField>> {
    let mut check = Check::default();
    let id = check.required("id", ID, |check| {
        check.word("id", form.id.as_ref(), |text| text.parse::<KeyId>().ok(), ID)
    });
    if id == Some(KeyId::INTERNAL) {
        check.refuse("id", "`internal` is in the settings", ID);
    }
    check.found(id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::forms::{from_json, sentence};

    fn of(body: &Value) -> Result<StoredKey, String> {
        let form = from_json(body.to_string().as_bytes()).unwrap();
        let digest = SecretDigest::of(b"secret");
        let now = Timestamp::from_millis(1_767_225_600_000);
        let wanted = form.read(|form| read(&form, digest, now));
        wanted.map_err(|mistakes| sentence(&mistakes))
    }

    #[test]
    fn what_is_wanted_is_read() {
        let plain = of(&json!({"label": " the  shop "})).unwrap();
        assert_eq!(
            (plain.label.as_str(), plain.per_minute, plain.expires_at),
            ("the shop", None, None)
        );
        let all = json!({"label": "x", "per_minute": "5", "addresses": ["::1"],
            "expires_at": "2030-01-01T00:00:00Z"});
        let all = of(&all).unwrap();
        assert_eq!((all.per_minute.map(NonZeroU32::get), all.networks.len()), (Some(5), 1));
        assert!(all.expires_at.is_some());
    }

    #[test]
    fn mistakes_name_the_field_and_what_is_allowed() {
        for (body, fields) in [
            (json!({}), &["label"][..]),
            (json!({"label": ""}), &["label"]),
            (json!({"label": "x".repeat(201)}), &["label"]),
            (json!({"label": "a\u{0}"}), &["label"]),
            (json!({"label": ["x"]}), &["label"]),
            (json!({"label": "x", "per_minute": 0}), &["per_minute"]),
            (json!({"label": "x", "per_minute": -1}), &["per_minute"]),
            (json!({"label": "x", "addresses": "10.1.0.0/8"}), &["addresses"]),
            (json!({"label": "x", "expires_at": "2020-01-01T00:00:00Z"}), &["expires_at"]),
            (
                json!({"per_minute": "many", "addresses": [1], "expires_at": 1}),
                &["label", "per_minute", "addresses", "expires_at"],
            ),
        ] {
            let refused = of(&body).unwrap_err();
            let named: Vec<_> =
                refused.split(" | ").filter_map(|one| one.split(':').next()).collect();
            assert_eq!(named, fields, "{body}: {refused}");
            assert_eq!(refused.matches("; allowed: ").count(), fields.len(), "{refused}");
        }
    }
}
