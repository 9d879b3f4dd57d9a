//! Refusals of the gateway itself: the codes and texts of `error_response`.
//!
//! Owns: which code goes with which mistake, and how a refusal is written. Every refusal travels
//! with HTTP status 200, as upstream. Has no neighbour.

use serde_json::{Value, json};

/// Why a call was refused before or instead of being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    kind: &'static str,
    code: String,
    message: String,
    /// `sub_code` and `sub_msg`.
    sub: Option<(String, String)>,
}

impl Refusal {
    fn caller(code: &str, message: impl Into<String>) -> Self {
        Self { kind: "ISV", code: code.to_owned(), message: message.into(), sub: None }
    }

    pub(super) fn missing(name: &str) -> Self {
        let text = format!(
            "The input parameter \"{name}\" that is mandatory for processing this request is not supplied"
        );
        Self::caller("MissingParameter", text)
    }

    pub(super) fn invalid(name: &str, allowed: &str) -> Self {
        let text = format!("The specified parameter \"{name}\" is not valid, expected {allowed}");
        Self::caller("InvalidParameter", text)
    }

    pub(super) fn signature() -> Self {
        let text = "The request signature does not conform to platform standards";
        Self::caller("IncompleteSignature", text)
    }

    pub(super) fn app_key() -> Self {
        Self::caller("InvalidAppKey", "The specified App Key is invalid")
    }

    pub(super) fn timestamp_form() -> Self {
        let text = "The specified timestamp is neither epoch milliseconds nor yyyy-MM-dd HH:mm:ss";
        Self::caller("InvalidTimestamp", text)
    }

    pub(super) fn timestamp_drift() -> Self {
        let text = "The specified timestamp differs from the server's by more than 7200 seconds";
        Self::caller("IllegalTimestamp", text)
    }

    pub(super) fn method() -> Self {
        Self::caller("InvalidApiPath", "The specified API path is invalid")
    }

    /// The call limit, with the code 7 in the words of the older gateway, which has the wait in
    /// `sub_msg`.
    pub(super) fn call_limit(code: Option<&str>, seconds: u64) -> Self {
        let (code, message, sub) = if code == Some("7") {
            let wait = format!("This ban will last for {seconds} more seconds");
            let sub = ("accesscontrol.limited-by-api-access-count".to_owned(), wait);
            ("7", "App Call Limited".to_owned(), Some(sub))
        } else {
            let message = format!(
                "Api access frequency exceeds the limit. this ban will last {seconds} seconds"
            );
            ("ApiCallLimit", message, None)
        };
        Self { kind: "ISP", code: code.to_owned(), message, sub }
    }

    /// Any code, for faults on request; the type follows from the code.
    pub(super) fn on_request(code: &str, sub_code: Option<&str>) -> Self {
        let text = |code: &str| format!("{code} was asked for by a fault rule");
        let sub = sub_code.map(|sub| (sub.to_owned(), text(sub)));
        Self { kind: kind_of(code, sub_code), code: code.to_owned(), message: text(code), sub }
    }

    /// The body of the answer: under `error_response`, or the same fields at the root with `message`.
    pub(super) fn body(&self, request_id: &str, at_root: bool) -> Value {
        // The older gateway's codes are numbers, today's are names.
        let code = self.code.parse::<u64>().map_or_else(|_| json!(self.code), Value::from);
        let (sub_code, sub_msg) = self.sub.clone().unzip();
        let fields = [
            ("type", json!(self.kind)),
            ("code", code),
            (if at_root { "message" } else { "msg" }, json!(self.message)),
            ("sub_code", json!(sub_code)),
            ("sub_msg", json!(sub_msg)),
            ("request_id", json!(request_id)),
        ];
        let fields: Value = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
        if at_root { fields } else { json!({ "error_response": fields }) }
    }
}

fn kind_of(code: &str, sub_code: Option<&str>) -> &'static str {
    match (code, sub_code) {
        (_, Some(sub)) if sub.starts_with("isp.") => "ISP",
        (_, Some(sub)) if sub.starts_with("isv.") => "ISV",
        ("ServiceTimeout" | "UnknownRuntimeException" | "10" | "15", _) => "ISP",
        ("ApiCallLimit" | "7" | "8" | "901", _) => "ISP",
        _ => "ISV",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_places_carry_the_same_fields() {
        let nested = Refusal::app_key().body("r1", false);
        assert_eq!(nested["error_response"]["code"], "InvalidAppKey");
        assert_eq!(nested["error_response"]["request_id"], "r1");
        let root = Refusal::app_key().body("r1", true);
        assert_eq!(root["code"], "InvalidAppKey");
        assert_eq!(root["message"], nested["error_response"]["msg"]);
    }

    #[test]
    fn legacy_codes_are_numbers_and_tell_the_wait() {
        let body = Refusal::call_limit(Some("7"), 31_062).body("r", false);
        assert_eq!(body["error_response"]["code"], 7);
        assert_eq!(body["error_response"]["sub_msg"], "This ban will last for 31062 more seconds");
        let body = Refusal::call_limit(None, 1).body("r", false);
        let text = body["error_response"]["msg"].as_str().unwrap();
        assert!(text.ends_with("this ban will last 1 seconds"), "{text}");
    }

    #[test]
    fn the_type_follows_the_sub_code() {
        let kind = |code, sub| Refusal::on_request(code, sub).body("r", true)["type"].clone();
        assert_eq!(kind("15", Some("isv.item-not-exist")), "ISV");
        assert_eq!(kind("15", Some("isp.timeout")), "ISP");
        assert_eq!(kind("ServiceTimeout", None), "ISP");
        assert_eq!(kind("InsufficientPermission", None), "ISV");
    }
}
