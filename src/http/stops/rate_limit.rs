//! Charges a request to its client, and tells the client in header fields what it has left.
//!
//! RateLimiterActor decides. When the worker's limiter is down, the same decision is made on its
//! table directly: no request is let through because an actor died.
//!
//! The fields are `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11) and the
//! older `X-RateLimit-*`. Nothing is said where no limit applies. Times are whole seconds, rounded up,
//! so a client that waits as it is told is never early. The older fields name the one rule that binds;
//! their `Reset` is the number of seconds until the whole limit is available again. `RateLimit` lists
//! every rule; on a refusal its `t` does not reach beyond `Retry-After`, as the draft asks.

use std::cell::RefCell;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::caller::Caller;
use crate::clock;
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::explain::Limited;
use crate::http::headers::number;
use crate::http::route::{AuthScope, Route};
use crate::http::state::Worker;
use crate::limits::{
    Admission, Admit, Class, Decision, QuotaState, RuleKind, TooOften, retry_after_seconds,
    seconds_up,
};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
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
    if route.class == Class::Exempt || caller.is_exempt() || !shared.accounts.is_enabled() {
        return None;
    }
    let own = caller.held.and_then(|held| held.per_minute);
    let request = Admit { own, ..Admit::new(route.class, caller.principal) };
    let accounts = &shared.accounts;
    // A request that waits for Redis does not wait for this worker.
    let _waiting = accounts.is_shared().then(|| worker.cache.waiting().begin());
    let admission = match worker.limiter.ask(request, LIMITER_TIMEOUT).await {
        Ok(Ok(admission)) => admission,
        // In a box: where limits are this instance's own the future stays small.
        Ok(Err(question)) => Box::pin(worker.limiter.ask_queued(question, LIMITER_TIMEOUT))
            .await
            .unwrap_or_else(|_| accounts.decide(request, clock::monotonic())),
        Err(_) => accounts.decide(request, clock::monotonic()),
    };
    if admission.asked {
        context.waited.set(true);
        context.redis_silent.set(admission.silent);
        context.limited_at.set(Some(clock::monotonic()));
    }
    if admission.alone {
        shared.metrics.limits.local_decisions.inc();
    }
    Some(admission)
}

/// Bounds what is never limited: by far more than it needs, and by less than could be used to stop the service.
pub(in crate::http) fn check_open(
    worker: &Worker,
    caller: &Caller,
    context: &RequestContext,
) -> Result<(), ApiError> {
    let shared = &worker.shared;
    if caller.is_exempt() || !shared.accounts.is_enabled() {
        return Ok(());
    }
    let mut own = worker.open_routes.borrow_mut();
    let Err(too_often) = shared.open_routes.admit(&mut own, &caller.address, context.started)
    else {
        return Ok(());
    };
    shared.metrics.limits.refused.at([Class::Exempt.as_str(), too_often.rule()]).inc();
    let (code, wait) = match too_often {
        TooOften::Address(wait) => (ErrorCode::RateLimited, wait),
        TooOften::Worker(wait) => (ErrorCode::Overloaded, wait),
    };
    let refused = ApiError::new(code).retry_after(wait);
    if code != ErrorCode::RateLimited {
        return Err(refused);
    }
    let seconds = retry_after_seconds(wait);
    let message = format!(
        "Too many requests from this address to what is never limited otherwise; come back in \
         {seconds} s."
    );
    Err(ApiError { message: message.into(), ..refused })
}

/// What it said, for whoever asks why.
pub(in crate::http) fn judged(admission: &Admission, context: &RequestContext) -> Limited {
    let refused_by = match admission.verdict.decision {
        Decision::Refused { rule, .. } => Some(rule),
        Decision::Admitted => None,
    };
    Limited { class: admission.class.as_str(), refused_by, at: context.limited_at.get() }
}

pub(in crate::http) fn check(
    worker: &Worker,
    admission: &Admission,
    is_key: bool,
) -> Result<(), ApiError> {
    let Decision::Refused { retry_after, rule } = admission.verdict.decision else { return Ok(()) };
    worker.shared.metrics.limits.refused.at([admission.class.as_str(), rule.as_str()]).inc();
    let keys = &worker.shared.access;
    let has_keys = worker.shared.settings.access.internal_key.is_some() || keys.sizes().keys > 0;
    let message = too_many(admission, rule, retry_after, has_keys && !is_key);
    Err(ApiError::with_message(ErrorCode::RateLimited, message).retry_after(retry_after))
}

/// Names the limit, the wait, and what raises it.
fn too_many(admission: &Admission, rule: RuleKind, wait: Duration, by_key: bool) -> String {
    let class = admission.class.as_str();
    let state = admission.verdict.states().find(|state| state.rule == rule);
    let limit = match state {
        Some(QuotaState { limit, period, rule: RuleKind::Minute, .. }) => {
            format!("at most {limit} of the class {class} in {} s", seconds_up(*period))
        }
        Some(QuotaState { limit, .. }) => format!("at most {limit} of the class {class} at once"),
        None => format!("the limit of the class {class} is used up"),
    };
    let seconds = retry_after_seconds(wait);
    let key = " An API key, in x-internal-key or Authorization, raises the limit.";
    let key = if by_key { key } else { "" };
    format!("Too many requests: {limit}; come back in {seconds} s.{key}")
}

/// A value that was written before, and what it was written from.
struct Kept<T>(Option<(T, HeaderValue)>);

impl<T: PartialEq> Kept<T> {
    fn get(&mut self, from: T, write: impl FnOnce(&T) -> HeaderValue) -> HeaderValue {
        match &self.0 {
            Some((before, value)) if *before == from => value.clone(),
            Some(_) | None => {
                let value = write(&from);
                self.0 = Some((from, value.clone()));
                value
            }
        }
    }
}

/// Limit and period of the two rules.
type Rules = [Option<(u32, Duration)>; 2];

/// What this thread wrote last and is likely to write again, and room for a text. A shared value costs
/// less than one that is written and checked anew.
struct Written {
    limit: Kept<u32>,
    reset: Kept<u64>,
    policy: Kept<(Class, Rules)>,
    text: String,
}

thread_local! {
    static WRITTEN: RefCell<Written> = const {
        let (limit, reset, policy) = (Kept(None), Kept(None), Kept(None));
        RefCell::new(Written { limit, reset, policy, text: String::new() })
    };
}

/// Writes the fields of the limits. For a throttled client nothing is left until the throttle ends, for
/// one that has had its share of the upstream's calls until the upstream's day does.
pub(in crate::http) fn write_headers(
    headers: &mut HeaderMap,
    scope: AuthScope,
    admission: Option<&Admission>,
    failure: Option<&ApiError>,
) {
    let is_admitted = || admission.is_some_and(|admission| admission.verdict.is_admitted());
    let by = failure.and_then(|failure| {
        // What an admin asks for costs no call; there it is a wrong key that came too often.
        let is_share =
            failure.code == ErrorCode::RateLimited && scope == AuthScope::Clients && is_admitted();
        let by_abuse = failure.code == ErrorCode::AbuseThrottled;
        by_abuse.then_some("abuse").or(is_share.then_some("upstream-share"))
    });
    if let Some((by, wait)) = by.zip(failure.and_then(|failure| failure.retry_after)) {
        write_throttled(headers, by, retry_after_seconds(wait));
    } else if let Some(admission) = admission {
        WRITTEN.with_borrow_mut(|written| write_admission(headers, admission, written));
    }
}

/// No handler writes these fields: to append costs less than to look for one to replace.
fn write_admission(headers: &mut HeaderMap, admission: &Admission, written: &mut Written) {
    let Admission { class, verdict, .. } = admission;
    let Some(binding) = verdict.binding() else { return };
    let Written { limit, reset, policy, text } = written;
    headers.append(LIMIT, limit.get(binding.limit, |limit| number(*limit)));
    headers.append(REMAINING, number(binding.remaining));
    headers.append(RESET, reset.get(seconds_up(binding.reset_after), |reset| number(*reset)));
    let longest = verdict.retry_after().map_or(u64::MAX, retry_after_seconds);
    let left = list(text, admission, [";r=", ";t="], |state| {
        (state.remaining, seconds_up(state.reset_after).min(longest))
    });
    headers.append(RATE_LIMIT, left);
    let rule = |state: QuotaState| (state.limit, state.period);
    let rules = [verdict.burst.map(rule), verdict.minute.map(rule)];
    let policy = policy.get((*class, rules), |_| {
        list(text, admission, [";q=", ";w="], |state| {
            (state.limit, seconds_up(state.period).max(1))
        })
    });
    headers.append(POLICY, policy);
}

/// `"search-minute";r=99;t=60` for every rule, with these names and numbers.
fn list(
    text: &mut String,
    admission: &Admission,
    [first, second]: [&str; 2],
    numbers: impl Fn(&QuotaState) -> (u32, u64),
) -> HeaderValue {
    text.clear();
    for state in admission.verdict.states() {
        let separator = if text.is_empty() { "\"" } else { ", \"" };
        let (one, other) = numbers(state);
        for part in [separator, admission.class.as_str(), "-", state.rule.as_str(), "\"", first] {
            text.push_str(part);
        }
        let mut digits = itoa::Buffer::new();
        text.push_str(digits.format(one));
        text.push_str(second);
        text.push_str(digits.format(other));
    }
    // Words and digits are always a valid value.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn write_throttled(headers: &mut HeaderMap, by: &str, seconds: u64) {
    headers.append(LIMIT, number(0));
    headers.append(REMAINING, number(0));
    headers.append(RESET, number(seconds));
    for (name, value) in [
        (RATE_LIMIT, format!("\"{by}\";r=0;t={seconds}")),
        (POLICY, format!("\"{by}\";q=0;w={seconds}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{KeyId, LimitResult, Limits, Policies, Principal, Table};

    /// The values of the fields: limit, remaining, reset, `RateLimit`, and its policy.
    fn written(admission: &Admission) -> Vec<String> {
        let mut headers = HeaderMap::new();
        write_headers(&mut headers, AuthScope::Clients, Some(admission), None);
        let value = |name| Some(headers.get(name)?.to_str().unwrap().to_owned());
        [LIMIT, REMAINING, RESET, RATE_LIMIT, POLICY].into_iter().filter_map(value).collect()
    }

    /// The answer to the last of so many requests.
    fn admission(class: Class, principal: Principal, requests: u32) -> Admission {
        let now = clock::monotonic();
        let table = Table::new(1_000, Policies::new(&Limits::default()), now);
        let all = (0..requests).map(|_| table.decide(Admit::new(class, principal), now));
        all.last().unwrap()
    }

    fn address() -> Principal {
        Principal::of_address([203, 0, 113, 7].into(), 64)
    }

    #[test]
    fn an_admitted_search_says_what_is_left() {
        let first =
            ["100", "99", "60", r#""search-minute";r=99;t=60"#, r#""search-minute";q=100;w=60"#];
        assert_eq!(written(&admission(Class::Search, address(), 1)), first);
        let key = written(&admission(Class::Search, Principal::Key(KeyId::INTERNAL), 1));
        assert_eq!(key[3..], [r#""search-minute";r=999;t=60"#, r#""search-minute";q=1000;w=60"#]);
        assert_eq!(written(&admission(Class::Search, address(), 1)), first, "after another");
    }

    #[test]
    fn a_refusal_lists_both_rules_and_no_wait_beyond_its_own() {
        let refused = admission(Class::General, address(), 11);
        assert_eq!(refused.verdict.retry_after().map(retry_after_seconds), Some(1));
        assert_eq!(
            written(&refused),
            [
                "10",
                "0",
                "2",
                r#""general-burst";r=0;t=1, "general-minute";r=50;t=1"#,
                r#""general-burst";q=10;w=2, "general-minute";q=60;w=60"#,
            ]
        );
    }

    #[test]
    fn where_nothing_is_limited_nothing_is_said() {
        let unlimited = admission(Class::Exempt, address(), 1);
        assert_eq!((unlimited.verdict, written(&unlimited).len()), (LimitResult::UNLIMITED, 0));
    }

    proptest! {
        #[test]
        fn every_value_is_valid_and_no_window_is_zero(
            limit: u32, remaining: u32, reset: u64, period: u64, wait: Option<u64>,
        ) {
            let state = |rule| Some(QuotaState {
                rule,
                limit,
                period: Duration::from_nanos(period),
                remaining,
                reset_after: Duration::from_nanos(reset),
            });
            let decision = wait.map_or(Decision::Admitted, |wait| Decision::Refused {
                retry_after: Duration::from_nanos(wait),
                rule: RuleKind::Burst,
            });
            let (burst, minute) = (state(RuleKind::Burst), state(RuleKind::Minute));
            let verdict = LimitResult { decision, burst, minute };
            let class = Class::Recommendations;
            let written = written(&Admission { class, verdict, alone: false, asked: false, silent: false });
            prop_assert_eq!(written.len(), 5);
            prop_assert!(written.iter().all(|value| !value.is_empty()));
            prop_assert!(!written[4].contains("w=0"), "{}", written[4]);
        }
    }
}
