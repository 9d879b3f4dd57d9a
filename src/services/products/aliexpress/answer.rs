//! What an answer of the gateway means: from bytes to an [`Outcome`].
//!
//! Owns: statuses, content that is not JSON, "the gateway has moved", and where the answer of a method
//! is found. The codes are in [`errors`].
//!
//! Refuses: to call anything a result that has nothing in it. `resp_code` 200 without `result` (or
//! with a null or empty one) is [`Outcome::BadResponse`], not [`Outcome::Empty`]: "empty" is a
//! statement of the upstream's (405) that is cached as a result, and an answer that lost its
//! content states nothing. Nor is a first page without the list its method is asked for, or with an
//! empty one beside a count above zero. As a bad response it is tried again, counts against the
//! upstream's health and lets a stale entry be served.
//!
//! The protocol page says both "HTML reads as moved, permanent" and "HTML is transient, except
//! moved". Both hold here: the gateway answers every error with status 200 and JSON, so a web page
//! with status 200 comes from something that is no gateway (permanent, the address is wrong),
//! while one with another status is the error page of a proxy on the way (transient). An answer
//! that says "has been offline", or that redirects, means moved whatever its form.
//!
//! Of a name that comes twice in one object the last counts, as nearly every reader of JSON has it;
//! an `error_response` beside a result wins, whichever comes first.

use serde_json::{Map, Value};

use super::errors::{
    ErrorClass, GatewayError, OFFLINE, of_business_code, requested_wait, says_offline,
};
use super::records::Contents;
use super::repair::{self, Repairs};
use super::request::Request;
use super::{faults, read};
use crate::config::said;
use crate::origin::{Answer, Blame, Outcome};

/// How much of a body that is not JSON is looked at.
const GLANCE_BYTES: usize = 64 * 1024;

/// What a method answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The `result` object.
    pub result: Value,
    /// What of the text had to be repaired before it could be read.
    pub repairs: Repairs,
}

/// Reads the answer to a question.
///
/// Never panics, whatever the bytes are.
pub(super) fn interpret(question: &Request, answer: &Answer) -> Outcome<Found> {
    let outcome = match json(answer) {
        Ok((root, repairs)) => {
            meaning(question, answer, &root).map(|result| Found { result, repairs })
        }
        Err(outcome) => outcome,
    };
    told_to_wait(answer, outcome)
}

/// Whatever stands in its body, an answer with status 429, or with 503 and a time to wait, says that
/// there was too much (RFC 6585, 4; RFC 9110, 15.6.4); unless it names a fault of ours.
fn told_to_wait(answer: &Answer, outcome: Outcome<Found>) -> Outcome<Found> {
    let told = answer.retry_after().filter(|_| matches!(answer.status, 429 | 503));
    match outcome {
        Outcome::Throttled { wait, reason } => Outcome::Throttled { wait: wait.or(told), reason },
        Outcome::Transient { reason }
        | Outcome::BadResponse { reason }
        | Outcome::Permanent { blame: Blame::Caller | Blame::Unknown, reason }
            if answer.status == 429 || told.is_some() =>
        {
            Outcome::Throttled { wait: told, reason }
        }
        other @ (Outcome::Ok(_)
        | Outcome::Empty
        | Outcome::Transient { .. }
        | Outcome::BadResponse { .. }
        | Outcome::Permanent { .. }) => other,
    }
}

fn meaning(question: &Request, answer: &Answer, root: &Value) -> Outcome<Value> {
    let body = body(root, question.method.name);
    let error = GatewayError::find(root, body.is_some());
    let outcome = match (error, error.and_then(GatewayError::class), body) {
        (Some(error), Some(class), _) => error.outcome(class),
        // The gateway's own fields say nothing: the last word is the business code's.
        (_, _, Some(body)) => business(question, body),
        (Some(error), None, None) => error.outcome(ErrorClass::Transient),
        (None, _, None) => unknown_shape(root),
    };
    // Whatever stands in its body, an answer with another status is no result.
    if matches!(outcome, Outcome::Ok(_) | Outcome::Empty) && !is_success(answer) {
        return Outcome::Transient { reason: format!("a result under status {}", answer.status) };
    }
    outcome
}

fn is_success(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

/// The JSON of an answer, or what the lack of it means.
fn json(answer: &Answer) -> Result<(Value, Repairs), Outcome<Found>> {
    match repair::read(without_bom(&answer.body)) {
        // A gateway error keeps its meaning under any status; a result does not.
        Ok((root, repairs)) if is_success(answer) || GatewayError::find(&root, false).is_some() => {
            Ok((root, repairs))
        }
        Err(error) if is_success(answer) => Err(not_json(answer, &error)),
        Ok(_) | Err(_) => Err(of_status(answer)),
    }
}

fn of_status(answer: &Answer) -> Outcome<Found> {
    let text = glance(answer);
    if says_offline(&text) {
        return moved(OFFLINE);
    }
    match answer.status {
        status if requested_wait(&text).is_some() => Outcome::Throttled {
            wait: requested_wait(&text),
            reason: format!("http status {status}"),
        },
        // RFC 9110: 301, 302, 303, 307 and 308 point elsewhere, 410 says "gone for good".
        301..=303 | 307 | 308 | 410 => moved(&format!("http status {}", answer.status)),
        status => Outcome::Transient { reason: format!("http status {status}") },
    }
}

fn not_json(answer: &Answer, error: &serde_json::Error) -> Outcome<Found> {
    let text = glance(answer);
    if says_offline(&text) {
        return moved(OFFLINE);
    }
    if let Some(wait) = requested_wait(&text) {
        return Outcome::Throttled { wait: Some(wait), reason: said(&text) };
    }
    if is_html(answer, &text) {
        return moved("a web page instead of an answer");
    }
    let size = answer.body.len();
    Outcome::BadResponse { reason: said(&format!("not json ({size} bytes): {error}")) }
}

/// The outcome for an address that is no gateway (any more).
fn moved(what: &str) -> Outcome<Found> {
    let reason = said(&format!("the gateway has moved: {what}"));
    Outcome::Permanent { blame: Blame::Configuration(faults::GATEWAY), reason }
}

fn is_html(answer: &Answer, text: &str) -> bool {
    let start = text.trim_start().get(..14).unwrap_or(text.trim_start()).to_ascii_lowercase();
    let declared = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
    start.starts_with("<!doctype html")
        || start.starts_with("<html")
        || (declared.contains("html") && start.starts_with('<'))
}

fn glance(answer: &Answer) -> String {
    let body = without_bom(&answer.body);
    String::from_utf8_lossy(body.get(..GLANCE_BYTES).unwrap_or(body)).into_owned()
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}

/// The part of an answer that holds `resp_code` and `result`, if there is one.
///
/// Looked for under the method's own root key, under any other key that ends in `_response`, and
/// at the root itself; inside, under `resp_result` or directly.
fn body<'a>(root: &'a Value, method: &str) -> Option<&'a Value> {
    let fields = root.as_object()?;
    let own = fields.get(&format!("{}_response", method.replace('.', "_"))).and_then(within);
    own.or_else(|| other_root(fields)).or_else(|| within(root))
}

fn other_root(fields: &Map<String, Value>) -> Option<&Value> {
    fields
        .iter()
        .filter(|(key, _)| key.ends_with("_response") && *key != "error_response")
        .find_map(|(_, value)| within(value))
}

fn within(value: &Value) -> Option<&Value> {
    let fields = value.as_object()?;
    let is_body = fields.contains_key("resp_code") || fields.contains_key("result");
    let inner = fields.get("resp_result").filter(|inner| inner.is_object());
    inner.or_else(|| is_body.then_some(value))
}

/// What the method behind the gateway says.
fn business(question: &Request, body: &Value) -> Outcome<Value> {
    // A code in any spelling of a whole number, or as the text it is.
    let code = body.get("resp_code");
    let code = code.and_then(|code| {
        read::whole(code).map(|code| code.to_string()).or_else(|| read::text_of(code))
    });
    let message = read::text(body, "resp_msg").unwrap_or_default();
    let reason = said(&format!("resp_code {}: {message}", code.as_deref().unwrap_or("missing")));
    if let Some(wait) = requested_wait(&message)
        && !body.get("result").is_some_and(has_content)
    {
        return Outcome::Throttled { wait: Some(wait), reason };
    }
    // Any field may be missing: a result without a code is a result, as 200 would say.
    match code.as_deref().unwrap_or("200") {
        "200" => result(question, body, &reason),
        "405" => Outcome::Empty,
        code => of_business_code(code).outcome(None, reason),
    }
}

/// An answer that lost its list states nothing; one whose list is empty says that there is nothing.
fn result(question: &Request, body: &Value, reason: &str) -> Outcome<Value> {
    let Some(result) = body.get("result").filter(|result| has_content(result)) else {
        return Outcome::BadResponse { reason: format!("{reason}, but no result") };
    };
    match question.contents(result) {
        Contents::Records | Contents::Nothing => Outcome::Ok(result.clone()),
        Contents::Hollow(why) => {
            Outcome::BadResponse { reason: said(&format!("{reason}, but {why}")) }
        }
    }
}

fn has_content(result: &Value) -> bool {
    match result {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn unknown_shape(root: &Value) -> Outcome<Value> {
    let kind = match root {
        Value::Object(fields) => {
            let keys: Vec<_> = fields.keys().take(5).map(String::as_str).collect();
            format!("an object of [{}]", keys.join(", "))
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => "a scalar".to_owned(),
    };
    Outcome::BadResponse { reason: said(&format!("neither a result nor an error: {kind}")) }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
