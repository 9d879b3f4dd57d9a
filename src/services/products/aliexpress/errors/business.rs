//! The second layer of the error table: what the method behind the gateway says.
//!
//! Owns: where a method's answer is found (under its root key, under another one, or bare) and
//! what its `resp_code` means. Refuses: a success without content (see the parent's doc).

use serde_json::{Map, Value};

use super::super::faults;
use super::super::wire::{Contents, contents, read};
use super::{Class, bounded, text_of};
use crate::origin::{Blame, Outcome};

/// The part of an answer that holds `resp_code` and `result`, if there is one.
///
/// Looked for under the method's own root key, under any other key that ends in `_response`, and
/// at the root itself; inside, under `resp_result` or directly.
pub fn body<'a>(root: &'a Value, method: &str) -> Option<&'a Value> {
    let fields = root.as_object()?;
    let own = fields.get(&root_key(method)).and_then(within);
    own.or_else(|| other_root(fields)).or_else(|| within(root))
}

/// The root key of a method's answers: dots become underscores, then `_response`.
pub fn root_key(method: &str) -> String {
    format!("{}_response", method.replace('.', "_"))
}

fn other_root(fields: &Map<String, Value>) -> Option<&Value> {
    fields
        .iter()
        .filter(|(key, _)| key.ends_with("_response") && *key != "error_response")
        .find_map(|(_, value)| within(value))
}

fn within(value: &Value) -> Option<&Value> {
    let fields = value.as_object()?;
    match fields.get("resp_result") {
        Some(inner) if inner.is_object() => Some(inner),
        Some(_) | None => {
            (fields.contains_key("resp_code") || fields.contains_key("result")).then_some(value)
        }
    }
}

/// What the answer of `method` means. The `Ok` value is its `result`, with the method's list in it.
pub fn interpret(method: &str, body: &Value) -> Outcome<Value> {
    let code = code_of(body.get("resp_code"));
    let reason = || reason(body, code.as_deref());
    // Any field may be missing: a result without a code is a result, as 200 would say.
    match code.as_deref().unwrap_or("200") {
        "200" => match body.get("result").filter(|result| has_content(result)) {
            Some(result) => of_result(method, result, &reason()),
            None => Outcome::BadResponse { reason: format!("{}, but no result", reason()) },
        },
        "405" => Outcome::Empty,
        code => match classify(code) {
            Class::Permanent(blame) => Outcome::Permanent { blame, reason: reason() },
            Class::Throttled => Outcome::Throttled { wait: None, reason: reason() },
            Class::Transient | Class::IllegalTimestamp => Outcome::Transient { reason: reason() },
        },
    }
}

/// An answer that lost its list states nothing; one whose list is empty says that there is nothing.
fn of_result(method: &str, result: &Value, reason: &str) -> Outcome<Value> {
    match contents(method, result) {
        Contents::Records | Contents::Nothing => Outcome::Ok(result.clone()),
        Contents::Hollow(why) => {
            Outcome::BadResponse { reason: bounded(&format!("{reason}, but {why}")) }
        }
    }
}

/// A code in any spelling of a whole number, or as the text it is.
fn code_of(value: Option<&Value>) -> Option<String> {
    value.and_then(read::whole).map(|code| code.to_string()).or_else(|| text_of(value))
}

/// What a `resp_code` other than 200 and 405 means.
///
/// The known ones between 400 and 499 and between 4000 and 4999, save 404, are about the account
/// or the request; unknown ones in there are taken for the caller's, so that no parameter can open
/// the breaker. Everything else is transient.
pub fn classify(code: &str) -> Class {
    match code.parse::<u64>() {
        Ok(401) => Class::Permanent(Blame::Configuration(faults::ACCOUNT)),
        Ok(4001) => Class::Permanent(Blame::Configuration(faults::TRACKING_ID)),
        Ok(404) => Class::Transient,
        Ok(400..=499 | 4000..=4999) => Class::Permanent(Blame::Caller),
        Ok(_) | Err(_) => Class::Transient,
    }
}

fn has_content(result: &Value) -> bool {
    match result {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn reason(body: &Value, code: Option<&str>) -> String {
    let code = code.unwrap_or("missing");
    let message = text_of(body.get("resp_msg")).unwrap_or_default();
    bounded(&format!("resp_code {code}: {message}"))
}
