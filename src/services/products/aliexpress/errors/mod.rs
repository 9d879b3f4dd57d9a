//! What an answer of the gateway means: the error table, in three layers.
//!
//! Owns: the way from bytes to an [`Outcome`]. [`transport`] makes JSON of the bytes or says why
//! it cannot, [`gateway`] reads the errors of the gateway itself, [`business`] those of the method
//! behind it, [`wait`] the seconds in a text. Decided by code, then by sub_code, then by type,
//! then by resp_code; texts only tell how long to wait, and that a gateway "has been offline".
//!
//! Refuses: to call anything a result that has nothing in it. `resp_code` 200 without `result` (or
//! with a null or empty one) is [`Outcome::BadResponse`], not [`Outcome::Empty`]: "empty" is a
//! statement of the upstream's (405) that is cached as a result, and an answer that lost its
//! content states nothing. Nor is a result without the list its method is asked for, or with an
//! empty one beside a count above zero ([`wire::contents`](super::wire::contents)). As a bad response it is tried again, counts against the upstream's
//! health and lets a stale entry be served.
//!
//! Of a name that comes twice in one object the last counts, as nearly every reader of JSON has it;
//! an `error_response` beside a result wins, whichever comes first.
//!
//! Whatever the table does not list is read so that no client can open the breaker with a
//! parameter the upstream dislikes, and no unknown fault of the upstream is taken for ours; see
//! [`gateway::classify`] and [`business::classify`].

pub mod business;
pub mod gateway;
pub mod transport;
pub mod wait;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::origin::{Answer, Blame, Outcome};

/// Longest reason kept from an upstream's text, in characters.
const REASON_LIMIT: usize = 300;

/// What an answer means, before the one decision that needs memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Decided.
    Decided(Outcome<Value>),
    /// The gateway refused the timestamp; transient once, with the clock corrected, then permanent.
    IllegalTimestamp {
        /// The gateway's words.
        reason: String,
    },
}

/// What one row of the error table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait the seconds in the text.
    Throttled,
    /// Trying again is useless; who has to act.
    Permanent(Blame),
    /// Try again once with a corrected clock.
    IllegalTimestamp,
    /// Try again.
    Transient,
}

/// Reads the answer to a call of `method`. The `Ok` value is the `result` object.
///
/// Never panics, whatever the bytes are.
pub fn interpret(method: &str, answer: &Answer) -> Reading {
    let root = match transport::read(answer) {
        Ok(root) => root,
        Err(outcome) => return Reading::Decided(outcome),
    };
    let body = business::body(&root, method);
    let reading = match gateway::error(&root, body.is_some()) {
        Some(error) => of_error(method, &error, body),
        None => Reading::Decided(
            body.map_or_else(|| unknown_shape(&root), |body| business::interpret(method, body)),
        ),
    };
    no_success_but_2xx(reading, answer.status)
}

/// Whatever stands in its body, an answer with another status is no result.
fn no_success_but_2xx(reading: Reading, status: u16) -> Reading {
    match reading {
        Reading::Decided(Outcome::Ok(_) | Outcome::Empty) if !(200..300).contains(&status) => {
            let reason = format!("a result under status {status}");
            Reading::Decided(Outcome::Transient { reason })
        }
        reading @ (Reading::Decided(_) | Reading::IllegalTimestamp { .. }) => reading,
    }
}

fn of_error(method: &str, error: &gateway::Error<'_>, body: Option<&Value>) -> Reading {
    match (gateway::classify(error), body) {
        (Some(class), _) => of_class(class, error),
        // The gateway's own fields say nothing: the last word is the business code's.
        (None, Some(body)) => Reading::Decided(business::interpret(method, body)),
        (None, None) => of_class(Class::Transient, error),
    }
}

fn of_class(class: Class, error: &gateway::Error<'_>) -> Reading {
    let reason = error.reason();
    Reading::Decided(match class {
        Class::Throttled => Outcome::Throttled { wait: error.wait(), reason },
        Class::Permanent(blame) => Outcome::Permanent { blame, reason },
        Class::Transient => Outcome::Transient { reason },
        Class::IllegalTimestamp => return Reading::IllegalTimestamp { reason },
    })
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
    Outcome::BadResponse { reason: bounded(&format!("neither a result nor an error: {kind}")) }
}

/// `text`, cut to what a log line should carry.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(REASON_LIMIT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A field that should be a text but may be a number; white space around it is no part of it.
fn text_of(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
