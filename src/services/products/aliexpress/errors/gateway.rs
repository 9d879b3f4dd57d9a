//! The first layer of the error table: errors of the gateway itself.
//!
//! Owns: where such an error is found in an answer (`error_response`, or the same fields at the
//! root) and what its code, sub_code and type mean. Refuses: to read texts, beyond the seconds to
//! wait and "has been offline".

use std::time::Duration;

use serde_json::{Map, Value};

use super::super::faults;
use super::{Class, bounded, text_of, transport, wait};
use crate::origin::Blame;

const APP_KEY: Class = Class::Permanent(Blame::Configuration(faults::APP_KEY));
const SIGNATURE: Class = Class::Permanent(Blame::Configuration(faults::SIGNATURE));
const GATEWAY: Class = Class::Permanent(Blame::Configuration(faults::GATEWAY));
const CAPABILITY: Class = Class::Permanent(Blame::Configuration(faults::PERMISSION));
const CALLER: Class = Class::Permanent(Blame::Caller);

/// Codes that decide alone. 15 is not among them: it says "ask the sub_code".
const CODES: &[(&str, Class)] = &[
    ("ApiCallLimit", Class::Throttled),
    ("7", Class::Throttled),
    ("8", Class::Throttled),
    ("901", Class::Throttled),
    ("IncompleteSignature", SIGNATURE),
    ("25", SIGNATURE),
    ("InvalidAppKey", APP_KEY),
    ("29", APP_KEY),
    ("InvalidApiPath", GATEWAY),
    ("IllegalTimestamp", Class::IllegalTimestamp),
    ("InvalidTimestamp", Class::IllegalTimestamp),
    ("30", Class::IllegalTimestamp),
    ("31", Class::IllegalTimestamp),
    ("InsufficientPermission", CAPABILITY),
    ("InsufficientISVPermissions", CAPABILITY),
    ("11", CAPABILITY),
    ("12", CAPABILITY),
    ("13", CAPABILITY),
    ("42", CAPABILITY),
    ("MissingParameter", CALLER),
    ("InvalidParameter", CALLER),
    ("40", CALLER),
    ("41", CALLER),
    ("43", CALLER),
    ("ServiceTimeout", Class::Transient),
    ("UnknownRuntimeException", Class::Transient),
    ("10", Class::Transient),
];

/// What a sub_code means by its beginning; the first that fits wins, so the general ones come last.
/// `isv.*` is "the partner's fault": who called with what the upstream dislikes.
const SUB_CODES: &[(&str, Class)] = &[
    ("accesscontrol.limited-by-", Class::Throttled),
    ("isv.api-flow-limit", Class::Throttled),
    ("isv.flow-limit-exceeded", Class::Throttled),
    ("isp.flow-limit", Class::Throttled),
    ("HTTP_INVOKE_LIMITED", Class::Throttled),
    ("isv.invalid-signature", SIGNATURE),
    ("isv.invalid-appkey", APP_KEY),
    ("isv.permission-deny", CAPABILITY),
    ("isp.", Class::Transient),
    ("isv.", CALLER),
];

/// What a type means when neither code nor sub_code is known.
const TYPES: &[(&str, Class)] =
    &[("ISV", CALLER), ("ISP", Class::Transient), ("SYSTEM", Class::Transient)];

/// An error of the gateway, as found in an answer.
#[derive(Debug, Clone, Copy)]
pub struct Error<'a> {
    fields: &'a Map<String, Value>,
}

impl Error<'_> {
    fn text(&self, name: &str) -> Option<String> {
        text_of(self.fields.get(name))
    }

    fn texts(&self) -> impl Iterator<Item = String> + '_ {
        ["msg", "message", "sub_msg"].into_iter().filter_map(|name| self.text(name))
    }

    /// How long the gateway asks to wait, if it says.
    pub fn wait(&self) -> Option<Duration> {
        self.texts().find_map(|text| wait::requested(&text))
    }

    /// The gateway's words in one line.
    pub fn reason(&self) -> String {
        let words: Vec<_> = ["code", "sub_code", "msg", "message", "sub_msg", "request_id"]
            .into_iter()
            .filter_map(|name| Some(format!("{name} {}", self.text(name)?)))
            .collect();
        let words = if words.is_empty() { "without a word".to_owned() } else { words.join(", ") };
        bounded(&format!("gateway error: {words}"))
    }
}

/// Whether an answer is an error of the gateway and nothing else.
pub fn is_error(root: &Value) -> bool {
    error(root, false).is_some()
}

/// The gateway's error in an answer, if there is one.
///
/// `has_body` says that a method's answer is there too: then fields at the root are an error only
/// if their code is one the table knows (`"code":"0"` beside the root key means success).
pub fn error(root: &Value, has_body: bool) -> Option<Error<'_>> {
    let root = root.as_object()?;
    if let Some(fields) = root.get("error_response").and_then(Value::as_object) {
        return Some(Error { fields });
    }
    let error = Error { fields: root };
    let is_error = if has_body {
        error.text("code").is_some_and(|code| by_name(CODES, &code).is_some() || code == "15")
    } else {
        match error.text("code").as_deref() {
            Some("0") => false,
            Some(_) => true,
            None => ["sub_code", "message", "msg"].iter().any(|name| error.text(name).is_some()),
        }
    };
    is_error.then_some(error)
}

/// What an error means: by code, then by sub_code, then by type. `None` when none of them is known.
///
/// A code that is not in the table never decides. An unknown `isv.*` or type ISV is the caller's
/// (permanent, so that a bad parameter cannot open the breaker), an unknown `isp.*`, ISP or SYSTEM
/// transient.
pub fn classify(error: &Error<'_>) -> Option<Class> {
    if let Some(class) = error.text("code").and_then(|code| by_name(CODES, &code)) {
        return Some(class);
    }
    // The page names these words as what a switched-off gateway says; no row has a code for it.
    if error.texts().any(|text| transport::says_offline(&text)) {
        return Some(GATEWAY);
    }
    let by_sub_code = error.text("sub_code").and_then(|sub_code| by_prefix(&sub_code));
    by_sub_code.or_else(|| by_name(TYPES, &error.text("type")?))
}

fn by_name(table: &[(&str, Class)], name: &str) -> Option<Class> {
    table.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, class)| *class)
}

fn by_prefix(sub_code: &str) -> Option<Class> {
    let starts_with = |prefix: &str| {
        sub_code.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    SUB_CODES.iter().find(|(prefix, _)| starts_with(prefix)).map(|(_, class)| *class)
}
