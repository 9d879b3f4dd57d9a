//! Bad input and what has to become of it.
//!
//! Owns: the judgement of an answer to whatever was sent, texts that have broken other services,
//! requests made up from the OpenAPI document, and bytes that are no HTTP. Refuses: a fault of ours,
//! a refusal that is not in the envelope, and one that does not say what is wrong.

pub(crate) mod generated;
pub(crate) mod raw;

use super::http::Answer;

/// Texts that have broken other services.
pub(crate) const NAUGHTY: [&str; 34] = [
    "",
    " ",
    "null",
    "undefined",
    "NaN",
    "Infinity",
    "-1",
    "0",
    "1e309",
    "0x10",
    "9223372036854775808",
    "99999999999999999999999999",
    "1,2,3",
    "true",
    "[]",
    "{}",
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "%s%s%n",
    "${jndi:ldap://x}",
    "\u{202e}abc",
    "\u{feff}",
    "é́́́",
    "👩‍👩‍👧‍👦",
    "ｔｅｓｔ",
    "a\u{0}b",
    "\r\nSet-Cookie: a=b",
    "USD",
    "EUR",
    "SALE_PRICE_ASC",
    "US",
    "https://www.aliexpress.com/item/1.html",
    "2025-03-01 00:00:00",
];

/// What is wrong with an answer to input that may be bad in any way.
pub(crate) fn fault(answer: &Answer, is_head: bool) -> Option<String> {
    let status = answer.status;
    let wrong = |what: &str| Some(format!("{status} {what}: {}", answer.text()));
    if status >= 500 {
        return wrong("is a fault of ours");
    }
    for name in ["x-request-id", "x-content-type-options", "content-security-policy"] {
        if answer.header(name).is_none() {
            return wrong(&format!("has no {name}"));
        }
    }
    if status < 400 || is_head {
        return None;
    }
    let body = answer.json();
    let text = |field: &str| body[field].as_str().is_some_and(|text| !text.is_empty());
    if body["success"] != false || !text("error") || !text("code") {
        return wrong("is no refusal of ours");
    }
    if body["metadata"]["request_id"].as_str() != answer.header("x-request-id") {
        return wrong("has two request ids");
    }
    None
}

/// For a query or a path.
pub(crate) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What can be sent as the value of a header: without what would end it.
pub(crate) fn as_header(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}
