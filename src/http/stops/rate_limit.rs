//! Charges a request to its client, and tells the client in header fields how it stands.
//!
//! RateLimiterActor decides. When the worker's limiter is down, the same decision is made on its
//! table directly: no request is let through because an actor died.

use std::cell::RefCell;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::caller::Caller;
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::route::Route;
use crate::http::state::Worker;
use crate::limits::headers::{Field, retry_after_seconds, write};
use crate::limits::{Admission, Admit, Class, Decision};

/// Longest wait for the limiter; its handler takes a microsecond.
const LIMITER_TIMEOUT: Duration = Duration::from_millis(500);

/// The decision about a request; `None` where no limit applies.
pub(in crate::http) async fn charge(
    worker: &Worker,
    route: &Route,
    caller: &Caller,
    context: &RequestContext,
) -> Option<Admission> {
    let shared = &worker.shared;
    if route.class == Class::Exempt || caller.is_exempt() || !shared.settings.limits.enabled {
        return None;
    }
    let own = caller.held.and_then(|held| held.per_minute);
    let request = Admit { own, ..Admit::new(route.class, caller.principal) };
    let accounts = &shared.accounts;
    // A request that waits for Redis does not wait for this worker.
    let _waiting = accounts.is_shared().then(|| worker.cache.waiting().begin());
    let admission = match worker.limiter.ask(request, LIMITER_TIMEOUT).await {
        Ok(admission) => admission,
        Err(_) => accounts.decide(request, clock::monotonic()),
    };
    if admission.asked {
        context.waited.set(true);
    }
    if admission.alone {
        shared.metrics.limits.local_decisions.inc();
    }
    Some(admission)
}

pub(in crate::http) fn check(worker: &Worker, admission: &Admission) -> Result<(), ApiError> {
    let Decision::Refused { retry_after, rule } = admission.verdict.decision else { return Ok(()) };
    worker.shared.metrics.limits.refused.at([admission.class.as_str(), rule.as_str()]).inc();
    Err(ApiError::new(ErrorCode::RateLimited).retry_after(retry_after))
}

/// The values written last by this thread, and room for the next: most fields repeat, and a shared
/// value costs less than one that is made and checked anew.
struct Written {
    values: [Option<HeaderValue>; Field::ALL.len()],
    text: String,
}

thread_local! {
    static WRITTEN: RefCell<Written> = const {
        RefCell::new(Written { values: [const { None }; Field::ALL.len()], text: String::new() })
    };
}

/// Writes the fields of the limits. For a throttled client nothing is left until the throttle ends.
pub(in crate::http) fn write_headers(
    headers: &mut HeaderMap,
    admission: Option<&Admission>,
    failure: Option<&ApiError>,
) {
    let throttled = failure.filter(|failure| failure.code == ErrorCode::AbuseThrottled);
    if let Some(wait) = throttled.and_then(|failure| failure.retry_after) {
        return write_throttled(headers, wait);
    }
    let Some(admission) = admission else { return };
    WRITTEN.with_borrow_mut(|Written { values, text }| {
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

fn write_throttled(headers: &mut HeaderMap, wait: Duration) {
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
