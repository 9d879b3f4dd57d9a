//! Refusals of the gateway itself: the codes and texts of `error_response`.
//!
//! Owns: which code goes with which mistake, and how a refusal is written. Every refusal travels
//! with HTTP status 200, as upstream. Has no neighbour.

use serde_json::{Map, Value, json};

/// Why a call was refused before or instead of being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    kind: &'static str,
    code: String,
    message: String,
    sub: Option<(String, String)>,
}

impl Refusal {
    fn caller(code: &str, message: String) -> Self {
        Self { kind: "ISV", code: code.to_owned(), message, sub: None }
    }

    /// A mandatory parameter was not sent, or sent empty.
    pub(crate) fn missing(name: &str) -> Self {
        let text = format!(
            "The input parameter \"{name}\" that is mandatory for processing this request is not supplied"
        );
        Self::caller("MissingParameter", text)
    }

    /// A parameter has a value that is not allowed.
    pub(crate) fn invalid(name: &str, allowed: &str) -> Self {
        let text = format!("The specified parameter \"{name}\" is not valid, expected {allowed}");
        Self::caller("InvalidParameter", text)
    }

    /// The signature does not belong to the sent parameters.
    pub(crate) fn signature() -> Self {
        let text = "The request signature does not conform to platform standards";
        Self::caller("IncompleteSignature", text.to_owned())
    }

    /// Nobody has this application key.
    pub(crate) fn app_key() -> Self {
        Self::caller("InvalidAppKey", "The specified App Key is invalid".to_owned())
    }

    /// The timestamp is neither of the two forms.
    pub(crate) fn timestamp_form() -> Self {
        let text = "The specified timestamp is neither epoch milliseconds nor yyyy-MM-dd HH:mm:ss";
        Self::caller("InvalidTimestamp", text.to_owned())
    }

    /// The timestamp is too far from now.
    pub(crate) fn timestamp_drift() -> Self {
        let text = "The specified timestamp differs from the server's by more than 7200 seconds";
        Self::caller("IllegalTimestamp", text.to_owned())
    }

    /// There is no such method.
    pub(crate) fn method() -> Self {
        Self::caller("InvalidApiPath", "The specified API path is invalid".to_owned())
    }

    /// The call limit in today's words.
    pub(crate) fn call_limit(seconds: u64) -> Self {
        let message =
            format!("Api access frequency exceeds the limit. this ban will last {seconds} seconds");
        Self { kind: "ISP", code: "ApiCallLimit".to_owned(), message, sub: None }
    }

    /// The call limit in the words of the older gateway: code 7, the wait in `sub_msg`.
    pub(crate) fn legacy_call_limit(seconds: u64) -> Self {
        let sub = (
            "accesscontrol.limited-by-api-access-count".to_owned(),
            format!("This ban will last for {seconds} more seconds"),
        );
        let message = "App Call Limited".to_owned();
        Self { kind: "ISP", code: "7".to_owned(), message, sub: Some(sub) }
    }

    /// Any code, for faults on request; the type follows from the code.
    pub(crate) fn on_request(code: &str, sub_code: Option<&str>) -> Self {
        let sub =
            sub_code.map(|sub| (sub.to_owned(), format!("{sub} was asked for by a fault rule")));
        let message = format!("{code} was asked for by a fault rule");
        Self { kind: kind_of(code, sub_code), code: code.to_owned(), message, sub }
    }

    /// The answer's body: under `error_response`, or the same fields at the root with `message`.
    pub(crate) fn body(&self, request_id: &str, at_root: bool) -> Vec<u8> {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), self.kind.into());
        // The older gateway's codes are numbers, today's are names.
        let code = self.code.parse::<u64>().map_or_else(|_| Value::from(&*self.code), Value::from);
        fields.insert("code".to_owned(), code);
        let text_field = if at_root { "message" } else { "msg" };
        fields.insert(text_field.to_owned(), self.message.as_str().into());
        if let Some((code, message)) = &self.sub {
            fields.insert("sub_code".to_owned(), code.as_str().into());
            fields.insert("sub_msg".to_owned(), message.as_str().into());
        }
        fields.insert("request_id".to_owned(), request_id.into());
        let body =
            if at_root { Value::Object(fields) } else { json!({ "error_response": fields }) };
        body.to_string().into_bytes()
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

    fn read(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn both_places_carry_the_same_fields() {
        let nested = read(&Refusal::app_key().body("r1", false));
        assert_eq!(nested["error_response"]["code"], "InvalidAppKey");
        assert_eq!(nested["error_response"]["request_id"], "r1");
        let root = read(&Refusal::app_key().body("r1", true));
        assert_eq!(root["code"], "InvalidAppKey");
        assert_eq!(root["message"], nested["error_response"]["msg"]);
    }

    #[test]
    fn legacy_codes_are_numbers_and_tell_the_wait() {
        let body = read(&Refusal::legacy_call_limit(31_062).body("r", false));
        assert_eq!(body["error_response"]["code"], 7);
        assert_eq!(body["error_response"]["sub_msg"], "This ban will last for 31062 more seconds");
        let body = read(&Refusal::call_limit(1).body("r", false));
        let text = body["error_response"]["msg"].as_str().unwrap();
        assert!(text.ends_with("this ban will last 1 seconds"), "{text}");
    }

    #[test]
    fn the_type_follows_the_sub_code() {
        let kind =
            |code, sub| read(&Refusal::on_request(code, sub).body("r", true))["type"].clone();
        assert_eq!(kind("15", Some("isv.item-not-exist")), "ISV");
        assert_eq!(kind("15", Some("isp.timeout")), "ISP");
        assert_eq!(kind("ServiceTimeout", None), "ISP");
        assert_eq!(kind("InsufficientPermission", None), "ISV");
    }
}
