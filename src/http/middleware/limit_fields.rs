//! The header fields that tell a client how it stands with the limits.
//!
//! Owns: putting them on an answer. The same limit, policy and reset are told again and again, so
//! each thread remembers the value that it told last in every field: sharing it costs less than
//! making and checking it anew.

use std::cell::RefCell;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::Admission;
use crate::limits::headers::{Field, retry_after_seconds, write};

/// What was told last, and room to write the next.
struct Told {
    values: [Option<HeaderValue>; Field::ALL.len()],
    text: String,
}

thread_local! {
    static TOLD: RefCell<Told> = const {
        RefCell::new(Told { values: [const { None }; Field::ALL.len()], text: String::new() })
    };
}

/// Puts what `admission` says on an answer.
pub(super) fn dress(headers: &mut HeaderMap, admission: &Admission) {
    TOLD.with_borrow_mut(|Told { values, text }| {
        for (field, value) in Field::ALL.into_iter().zip(values) {
            text.clear();
            if !write(admission, field, text) {
                continue;
            }
            if value.as_ref().is_none_or(|value| value.as_bytes() != text.as_bytes()) {
                *value = HeaderValue::from_str(text).ok();
            }
            if let Some(value) = value {
                headers.insert(name(field), value.clone());
            }
        }
    });
}

/// In place of what is left of the limits: nothing is, until the throttle for abuse ends.
pub(super) fn dress_throttled(headers: &mut HeaderMap, wait: Duration) {
    let seconds = retry_after_seconds(wait);
    for (field, value) in [
        (Field::Limit, "0".to_owned()),
        (Field::Remaining, "0".to_owned()),
        (Field::Reset, seconds.to_string()),
        (Field::RateLimit, format!("\"abuse\";r=0;t={seconds}")),
        (Field::Policy, format!("\"abuse\";q=0;w={seconds}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name(field), value);
        }
    }
}

/// Made at compile time: checking a name costs more than writing its value.
const fn name(field: Field) -> HeaderName {
    match field {
        Field::Limit => const { HeaderName::from_static(Field::Limit.name()) },
        Field::Remaining => const { HeaderName::from_static(Field::Remaining.name()) },
        Field::Reset => const { HeaderName::from_static(Field::Reset.name()) },
        Field::RateLimit => const { HeaderName::from_static(Field::RateLimit.name()) },
        Field::Policy => const { HeaderName::from_static(Field::Policy.name()) },
        Field::RetryAfter => const { HeaderName::from_static(Field::RetryAfter.name()) },
    }
}
