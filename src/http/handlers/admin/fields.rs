//! What the endpoints of keys and of lists share.
//!
//! Owns: how a page, a time, a name of somebody and a set of networks are read, and removals. Refuses:
//! with the field, what is wrong with it and what is allowed. While the database is away changes are
//! refused with 503.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use utoipa::ToSchema;

use super::audit::{Audited, LISTED, MOST_LISTED};
use crate::access::record::{MOST_NETWORKS, network};
use crate::access::{Identifier, ListName, NotChanged, Subject};
use crate::clock::{self, Timestamp};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::Call;
use crate::http::forms::{Check, InvalidField, shown};
use crate::http::stops::admin_key::Admin;
use crate::replication::Away;

/// Which part of a list is wanted.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(super) struct PageForm {
    /// At most so many; 100 when absent.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: Option<Value>,
    /// Only those that follow this one: the `next` of the page before.
    #[schema(value_type = Option<String>)]
    pub(super) after: Option<Value>,
}

impl PageForm {
    pub(super) fn limit(&self, check: &mut Check) -> usize {
        let limit = check.whole("limit", self.limit.as_ref(), 1..=MOST_LISTED).unwrap_or(LISTED);
        usize::try_from(limit).unwrap_or_default()
    }
}

/// A page of what was found, which is one more than fits if there is another page, and the name of
/// its last row then.
pub(super) fn page<T>(
    mut found: Vec<T>,
    limit: usize,
    name: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(name);
    (found, next)
}

/// Longest reason or label, in characters.
pub(super) const LONGEST_TEXT: usize = 200;

/// What is answered to a change that the database did not take, or for which the table has no room,
/// which is told of `field`.
pub(super) fn not_changed(not: NotChanged, field: &str, remedy: &str) -> ApiError {
    match not {
        NotChanged::Full(most) => {
            let problem = format!("there are {most} entries, and no room for more");
            vec![InvalidField::new(field, problem, remedy)].into()
        }
        NotChanged::Away(away) => database_away(away),
    }
}

fn database_away(away: Away) -> ApiError {
    let message = "The database is away: nothing was changed; come back later.";
    ApiError::with_message(ErrorCode::Overloaded, message)
        .retry_after(Duration::from_secs(1))
        .because(away)
}

/// Revokes a key or takes somebody from a list; answers with its name.
pub(super) async fn remove(
    call: &Call,
    admin: &Admin,
    subject: Subject,
) -> Result<String, ApiError> {
    let (action, name) = match subject {
        Subject::Key(id) => ("keys.revoke", id.to_string()),
        Subject::Entry(ListName::Allow, who) => ("whitelist.remove", who.to_string()),
        Subject::Entry(ListName::Deny, who) => ("blacklist.remove", who.to_string()),
    };
    let audited = Audited::begin(call, admin, action, &name);
    let removed = call.worker.shared.access.remove(subject, clock::now()).await;
    audited.end(match removed {
        Ok(true) => Ok(name),
        Ok(false) => {
            Err(ApiError::with_message(ErrorCode::NotFound, "There is no such entry or key."))
        }
        Err(away) => Err(database_away(away)),
    })
}

/// How an end is written where it is noted.
pub(super) fn until(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "for ever".to_owned(), |end| format!("until {}", end.rfc3339()))
}

/// What is there and blank is a mistake, not an absence: who forgot to fill it in would get more than
/// was meant.
fn given<'a>(
    check: &mut Check,
    field: &str,
    value: Option<&'a Value>,
    allowed: &str,
) -> Option<&'a Value> {
    let value = value.filter(|value| !value.is_null())?;
    if value.as_str().is_some_and(|text| text.trim().is_empty()) {
        check.refuse(field, "is there and empty", format!("{allowed}, or none of this field"));
        return None;
    }
    Some(value)
}

/// A time that is still to come; absent is none.
pub(super) fn moment(
    check: &mut Check,
    field: &str,
    value: Option<&Value>,
    now: Timestamp,
) -> Option<Timestamp> {
    const ALLOWED: &str = "a time to come, as in 2030-01-31T23:59:59Z (RFC 3339)";
    let value = given(check, field, value, ALLOWED)?;
    let text = check.scalar(field, Some(value), ALLOWED)?;
    // Only what is a time of the years that this can be written in again.
    let read = OffsetDateTime::parse(&text, &Rfc3339).ok();
    let Some(at) = read.and_then(|at| at.checked_to_offset(UtcOffset::UTC)) else {
        check.refuse(field, format!("`{}` is no time", shown(&text)), ALLOWED);
        return None;
    };
    let millis = i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
    let at = Timestamp::from_millis(millis);
    if at <= now {
        check.refuse(field, format!("`{}` is past", shown(&text)), ALLOWED);
        return None;
    }
    Some(at)
}

/// An address, a network, or a key's id.
pub(super) fn identifier(
    check: &mut Check,
    field: &str,
    value: Option<&Value>,
) -> Option<Identifier> {
    const ALLOWED: &str = "an address, a network, or the id of a key";
    let text = check.required(field, ALLOWED, |check| check.scalar(field, value, ALLOWED))?;
    let read = text.parse::<Identifier>();
    read.map_err(|wrong| {
        check.refuse(field, format!("`{}` {}", shown(&text), wrong.problem), wrong.allowed);
    })
    .ok()
}

/// Addresses and networks, as a list or with commas between; absent or an empty list is none.
pub(super) fn networks(check: &mut Check, field: &str, value: Option<&Value>) -> Vec<IpNet> {
    let allowed = format!("up to {MOST_NETWORKS} addresses and networks, as a list");
    let Some(value) = given(check, field, value, &allowed) else { return Vec::new() };
    let texts: Vec<String> = match value {
        Value::Array(values) => {
            let texts = values.iter().map(|value| check.scalar(field, Some(value), &allowed));
            texts.map(Option::unwrap_or_default).collect()
        }
        one @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => {
            let Some(text) = check.scalar(field, Some(one), &allowed) else { return Vec::new() };
            text.split(',').map(|part| part.trim().to_owned()).collect()
        }
    };
    if texts.len() > MOST_NETWORKS {
        check.refuse(field, format!("has {} of them", texts.len()), &allowed);
        return Vec::new();
    }
    let mut networks = Vec::with_capacity(texts.len());
    for text in texts {
        match network(&text) {
            Ok(network) => networks.push(network),
            Err(wrong) => {
                let problem = format!("`{}` {}", shown(&text), wrong.problem);
                check.refuse(field, problem, wrong.allowed);
                return Vec::new();
            }
        }
    }
    networks.sort_unstable();
    networks.dedup();
    networks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused<T>(read: impl FnOnce(&mut Check) -> T) -> Option<String> {
        let mut check = Check::default();
        read(&mut check);
        check.finish(()).err().map(|mistakes| crate::http::forms::sentence(&mistakes))
    }

    #[test]
    fn a_time_is_rfc_3339_and_to_come() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let read = |value: &Value| {
            let mut check = Check::default();
            let at = moment(&mut check, "expires_at", Some(value), now);
            check.finish(at)
        };
        for text in ["2026-01-01T00:00:00.001Z", "2026-01-01T01:00:00.001+01:00"] {
            let at = read(&json!(text)).unwrap().unwrap();
            assert_eq!(at, Timestamp::from_millis(1_767_225_600_001), "{text}");
        }
        assert_eq!(read(&json!(null)), Ok(None));
        for wrong in [
            json!("2026-01-01T00:00:00Z"),
            json!("1970-01-01T00:00:00Z"),
            json!("tomorrow"),
            json!("2026-02-30T00:00:00Z"),
            json!("2027-01-01"),
            json!(1_900_000_000),
            json!(true),
            json!(["2030-01-01T00:00:00Z"]),
            json!({}),
            json!("99999-01-01T00:00:00Z"),
            json!("9999-12-31T23:59:59-01:00"),
            json!(""),
            json!(" "),
        ] {
            let mistakes = read(&wrong).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{wrong}");
            assert!(mistakes[0].allowed.contains("RFC 3339"), "{wrong}");
        }
    }

    #[test]
    fn networks_are_read_once_each() {
        let read = |value: Value| {
            let mut check = Check::default();
            let networks = networks(&mut check, "addresses", Some(&value));
            check.finish(networks.len()).unwrap()
        };
        assert_eq!(read(json!(["10.0.0.0/8", "::ffff:10.0.0.0/104", "203.0.113.7"])), 2);
        assert_eq!(read(json!("10.0.0.0/8, 203.0.113.7")), 2);
        assert_eq!((read(json!([])), read(json!(null))), (0, 0));
        for wrong in [
            json!(["10.0.0.1/8"]),
            json!(""),
            json!(","),
            json!("10.0.0.1,"),
            json!([""]),
            json!([null]),
            json!(7),
            json!({}),
            json!(vec!["10.0.0.1"; MOST_NETWORKS + 1]),
            json!([["10.0.0.1"]]),
        ] {
            let told = refused(|check| networks(check, "addresses", Some(&wrong)));
            assert!(told.is_some_and(|told| told.starts_with("addresses: ")), "{wrong}");
        }
    }

    #[test]
    fn who_is_meant_has_to_be_said() {
        for value in [None, Some(json!(null)), Some(json!("")), Some(json!("x")), Some(json!(7))] {
            let told = refused(|check| identifier(check, "identifier", value.as_ref())).unwrap();
            assert!(told.starts_with("identifier: ") && told.contains("; allowed: "), "{told}");
        }
        assert_eq!(refused(|check| identifier(check, "identifier", Some(&json!("::1")))), None);
    }
}
