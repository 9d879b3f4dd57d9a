//! The envelope of an answer.
//!
//! Owns: root key, `resp_result`, `resp_code` and the texts beside it. Refuses: to know what is in
//! a result; methods hand it over as JSON text. Has no neighbour.

use serde::Serialize;

use super::methods::Method;

/// What a method has to say.
#[derive(Debug)]
pub(crate) enum Answer {
    /// `resp_code` 200 with this JSON text as `result`.
    Result(Vec<u8>),
    /// Another `resp_code`, without `result`.
    Business(u64),
}

impl Answer {
    /// A result of any shape.
    pub(crate) fn of(result: &impl Serialize) -> Self {
        // Only maps with odd keys cannot be written, and no result has one.
        serde_json::to_vec(result).map_or(Self::Business(404), Self::Result)
    }

    /// "The result is empty": no match is not an error.
    pub(crate) const fn empty() -> Self {
        Self::Business(405)
    }

    /// The body as it travels.
    pub(crate) fn body(&self, method: Method, request_id: &str) -> Vec<u8> {
        let (code, result) = match self {
            Self::Result(result) => (200, Some(result)),
            Self::Business(code) => (*code, None),
        };
        let mut body = Vec::with_capacity(result.map_or(0, Vec::len) + 256);
        body.extend(b"{\"");
        body.extend(root_key(method.name()).as_bytes());
        body.extend(b"\":{\"resp_result\":{\"resp_code\":");
        body.extend(code.to_string().as_bytes());
        body.extend(b",\"resp_msg\":\"");
        body.extend(business_text(code).as_bytes());
        body.extend(b"\"");
        if let Some(result) = result {
            body.extend(b",\"result\":");
            body.extend(result);
        }
        body.extend(b"},\"request_id\":\"");
        body.extend(request_id.as_bytes());
        body.extend(b"\"}}");
        body
    }
}

/// The method's name with `.` as `_`, and `_response`.
pub(crate) fn root_key(method: &str) -> String {
    method.replace('.', "_") + "_response"
}

const fn business_text(code: u64) -> &'static str {
    match code {
        200 => "Call succeeds",
        401 => "This publisher is not registered",
        404 => "System Error",
        405 => "The result is empty",
        4001 => "The tracking id is unknown",
        _ => "Unknown code",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body(Method::ProductQuery, "r1")).unwrap()
    }

    #[test]
    fn a_result_is_wrapped() {
        let expected = json!({"aliexpress_affiliate_product_query_response": {
            "resp_result": {"resp_code": 200, "resp_msg": "Call succeeds", "result": {"a": 1}},
            "request_id": "r1"}});
        assert_eq!(read(&Answer::of(&json!({"a": 1}))), expected);
    }

    #[test]
    fn empty_has_no_result() {
        let expected = json!({"aliexpress_affiliate_product_query_response": {
            "resp_result": {"resp_code": 405, "resp_msg": "The result is empty"},
            "request_id": "r1"}});
        assert_eq!(read(&Answer::empty()), expected);
    }
}
