//! The error table, row by row and cell by cell, and every variant of an answer.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::super::records::Records;
use super::super::request::Method;
use super::*;
use crate::origin::Misconfiguration;

const METHOD: Method = Method {
    name: "aliexpress.affiliate.product.query",
    records: Records::PRODUCTS,
    is_search: true,
};
const ROOT: &str = "aliexpress_affiliate_product_query_response";

const APP_KEY: Want = Want::Wrong(faults::APP_KEY);
const SIGNATURE: Want = Want::Wrong(faults::SIGNATURE);
const GATEWAY: Want = Want::Wrong(faults::GATEWAY);
const TRACKING_ID: Want = Want::Wrong(faults::TRACKING_ID);
const CLOCK: Want = Want::Wrong(faults::CLOCK);
const PERMISSION: Want = Want::Wrong(faults::PERMISSION);
const ACCOUNT: Want = Want::Wrong(faults::ACCOUNT);
const ALLOW_LIST: Want = Want::Wrong(faults::IP_ALLOW_LIST);

/// An expectation that fits in a table.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    Ok,
    Empty,
    Throttled(Option<u64>),
    Wrong(Misconfiguration),
    Caller,
    Unknown,
    Transient,
    Bad,
}

/// The least that is a product.
fn kettle() -> Value {
    json!({"product_id": 3_256_812_497_109_248_u64, "product_title": "A kettle", "sale_price": "1"})
}

fn seen<T>(outcome: &Outcome<T>) -> Want {
    match outcome {
        Outcome::Ok(_) => Want::Ok,
        Outcome::Empty => Want::Empty,
        Outcome::Throttled { wait, .. } => Want::Throttled(wait.as_ref().map(Duration::as_secs)),
        Outcome::Permanent { blame: Blame::Configuration(what), .. } => Want::Wrong(*what),
        Outcome::Permanent { blame: Blame::Caller, .. } => Want::Caller,
        Outcome::Permanent { blame: Blame::Unknown, .. } => Want::Unknown,
        Outcome::Transient { .. } => Want::Transient,
        Outcome::BadResponse { .. } => Want::Bad,
    }
}

fn raw(status: u16, content_type: &str, body: &[u8]) -> Answer {
    let content_type = Bytes::copy_from_slice(content_type.as_bytes());
    let headers = vec![("content-type".to_owned(), content_type)];
    Answer::new(status, headers, Bytes::copy_from_slice(body))
}

fn interpret(answer: &Answer) -> Outcome<Found> {
    super::interpret(&Request::of(&METHOD), answer)
}

fn read(body: &Value) -> Outcome<Value> {
    interpret(&raw(200, "application/json;charset=UTF-8", body.to_string().as_bytes()))
        .map(|found| found.result)
}

/// Reads the error in both of its places, with its code as a text and, where it is one, as a
/// number; all must agree.
fn read_error(mut fields: Value) -> Want {
    let mut forms = vec![];
    let number = fields["code"].as_str().and_then(|code| code.parse::<u64>().ok());
    for code in [Some(fields["code"].clone()), number.map(Value::from)].into_iter().flatten() {
        if !code.is_null() {
            fields["code"] = code;
        }
        forms.push(json!({ "error_response": fields }));
        let mut root = fields.clone();
        if let Some(text) = root.as_object_mut().and_then(|root| root.remove("msg")) {
            root["message"] = text;
        }
        forms.push(root);
    }
    let wants: Vec<_> = forms.iter().map(|form| seen(&read(form))).collect();
    assert!(wants.windows(2).all(|pair| pair[0] == pair[1]), "{forms:?} read as {wants:?}");
    wants[0]
}

#[test]
fn every_code_of_the_gateways_table() {
    let rows = [
        ("ApiCallLimit", Want::Throttled(None)),
        ("AppCallLimit", Want::Throttled(None)),
        ("SellerCallLimited", Want::Throttled(None)),
        ("isv.api-call-limit", Want::Throttled(None)),
        ("AppWhiteIpLimit", ALLOW_LIST),
        ("ip_whitelist_denied", ALLOW_LIST),
        ("7", Want::Throttled(None)),
        ("8", Want::Throttled(None)),
        ("901", Want::Throttled(None)),
        ("IncompleteSignature", SIGNATURE),
        ("25", SIGNATURE),
        ("InvalidAppKey", APP_KEY),
        ("29", APP_KEY),
        ("InvalidApiPath", GATEWAY),
        ("IllegalTimestamp", CLOCK),
        ("InvalidTimestamp", CLOCK),
        ("30", CLOCK),
        ("31", CLOCK),
        ("InsufficientPermission", PERMISSION),
        ("InsufficientISVPermissions", PERMISSION),
        ("11", PERMISSION),
        ("12", PERMISSION),
        ("13", PERMISSION),
        ("42", PERMISSION),
        ("MissingParameter", Want::Caller),
        ("InvalidParameter", Want::Caller),
        ("40", Want::Caller),
        ("41", Want::Caller),
        ("43", Want::Caller),
        ("ServiceTimeout", Want::Transient),
        ("UnknownRuntimeException", Want::Transient),
        ("10", Want::Transient),
        ("15", Want::Transient),
    ];
    for (code, want) in rows {
        assert_eq!(
            read_error(json!({"code": code, "msg": "m", "request_id": "r"})),
            want,
            "{code}"
        );
        assert_eq!(read_error(json!({"code": code})), want, "{code} alone");
        // The code decides, whatever type and sub_code say; 15 is the one that asks the sub_code.
        if code != "15" {
            let fields = json!({"code": code, "type": "ISV", "sub_code": "isp.other", "msg": "m"});
            assert_eq!(read_error(fields), want, "{code} against its sub_code");
        }
    }
}

#[test]
fn every_sub_code_of_the_gateways_table() {
    let rows = [
        ("accesscontrol.limited-by-api-access-count", Want::Throttled(None)),
        ("accesscontrol.limited-by-app-access-count", Want::Throttled(None)),
        ("isv.api-flow-limit", Want::Throttled(None)),
        ("isv.flow-limit-exceeded", Want::Throttled(None)),
        ("isp.flow-limit", Want::Throttled(None)),
        ("HTTP_INVOKE_LIMITED", Want::Throttled(None)),
        ("isv.app-call-limit", Want::Throttled(None)),
        ("isv.ip-not-in-white-list", ALLOW_LIST),
        ("isv.something-new", Want::Unknown),
        ("isv.invalid-signature", SIGNATURE),
        ("isv.invalid-appkey", APP_KEY),
        ("isv.permission-deny", PERMISSION),
        ("isp.remote-service-error", Want::Transient),
        ("isp.unknown-error", Want::Transient),
        ("isv.invalid-parameter", Want::Caller),
        ("isv.missing-parameter", Want::Caller),
    ];
    for (sub_code, want) in rows {
        let base = json!({"sub_code": sub_code, "msg": "m"});
        assert_eq!(read_error(base.clone()), want, "{sub_code}");
        // Under 15, under a code nobody knows, and against a type that says otherwise.
        for code in ["15", "SomethingNew", "99999"] {
            for kind in ["ISV", "ISP", "SYSTEM"] {
                let mut fields = base.clone();
                fields["code"] = json!(code);
                fields["type"] = json!(kind);
                assert_eq!(read_error(fields), want, "{code} {kind} {sub_code}");
            }
        }
    }
}

#[test]
fn the_type_decides_when_code_and_sub_code_are_unknown() {
    for (kind, want) in [
        ("ISV", Want::Unknown),
        ("isv", Want::Unknown),
        ("ISP", Want::Transient),
        ("SYSTEM", Want::Transient),
        ("MARTIAN", Want::Transient),
    ] {
        let fields = json!({"code": "SomethingNew", "sub_code": "other.thing", "type": kind});
        assert_eq!(read_error(fields), want, "{kind}");
    }
}

#[test]
fn the_business_code_decides_when_the_gateways_fields_do_not() {
    for (code, want) in [(405, Want::Empty), (401, ACCOUNT), (404, Want::Transient)] {
        let body = json!({"resp_result": {"resp_code": code}});
        let nested = json!({"error_response": {"code": "SomethingNew"}, ROOT: body});
        let beside = json!({"code": "SomethingNew", "msg": "m", ROOT: body});
        assert_eq!(seen(&read(&nested)), want, "{nested}");
        assert_eq!(seen(&read(&beside)), want, "{beside}");
    }
}

#[test]
fn a_known_gateway_error_beside_an_answer_is_an_error() {
    let body = json!({"resp_result": {"resp_code": 200, "result": {"products": [kettle()]}}});
    let root =
        json!({"code": "ApiCallLimit", "message": "this ban will last 3 seconds", ROOT: body});
    assert_eq!(seen(&read(&root)), Want::Throttled(Some(3)));
    let remote = json!({"code": 15, "sub_code": "isp.x", ROOT: body});
    assert_eq!(seen(&read(&remote)), Want::Transient);
}

#[test]
fn the_wait_is_taken_from_whichever_text_has_it() {
    let limit = "Api access frequency exceeds the limit. this ban will last 1 seconds";
    let fields = json!({"type": "SYSTEM", "code": "ApiCallLimit", "msg": limit, "request_id": "r"});
    assert_eq!(read_error(fields), Want::Throttled(Some(1)));
    for (text, seconds) in [
        ("This ban will last for 1 more seconds", 1),
        ("This ban will last for 31062 more seconds", 31_062),
        ("This ban will last for 0 more seconds", 1),
        ("This ban will last for 99999999999999999999999 more seconds", 86_400),
    ] {
        let fields = json!({"code": "7", "msg": "App Call Limited", "sub_msg": text,
            "sub_code": "accesscontrol.limited-by-api-access-count"});
        assert_eq!(read_error(fields), Want::Throttled(Some(seconds)), "{text}");
    }
}

#[test]
fn a_text_decides_the_class_only_by_a_ban_or_an_allow_list() {
    let text = "ApiCallLimit isv.invalid-signature";
    assert_eq!(read_error(json!({"code": "10", "msg": text})), Want::Transient);
    assert_eq!(read_error(json!({"code": "SomethingNew", "msg": text})), Want::Transient);
    let ban = "App call limit reached. this ban will last 9 seconds";
    for code in ["10", "SomethingNew", "IncompleteSignature", "MissingParameter"] {
        let fields = json!({"code": code, "type": "ISV", "msg": ban});
        assert_eq!(read_error(fields), Want::Throttled(Some(9)), "{code}");
    }
    let list = "The request ip is not in the app's ip whitelist";
    let fields = json!({"code": "SomethingNew", "type": "ISV", "msg": list});
    assert_eq!(read_error(fields), ALLOW_LIST);
    assert_eq!(read_error(json!({"code": "10", "msg": list})), Want::Transient);
    // What comes with a ban is a throttle wherever it stands, but beside records.
    for code in [json!(500), json!(402), json!("AppCallLimit"), json!(405), json!(null)] {
        let body = json!({ROOT: {"resp_result": {"resp_code": code, "resp_msg": ban}}});
        assert_eq!(seen(&read(&body)), Want::Throttled(Some(9)), "{code}");
    }
    let records = json!({"resp_code": 200, "resp_msg": ban, "result": {"products": [kettle()]}});
    assert_eq!(seen(&read(&json!({ROOT: {"resp_result": records}}))), Want::Ok);
    let limit = json!({ROOT: {"resp_result": {"resp_code": "AppCallLimit", "resp_msg": "m"}}});
    assert_eq!(seen(&read(&limit)), Want::Throttled(None));
}

#[test]
fn statuses_that_tell_to_wait_are_throttles() {
    let page = b"<html>Too Many Requests</html>".as_slice();
    let unknown = br#"{"error_response":{"code":"SomethingNew","type":"ISV"}}"#;
    let signature = br#"{"error_response":{"code":"IncompleteSignature"}}"#;
    let limit = br#"{"error_response":{"code":"AppCallLimit","msg":"ban will last 7 seconds"}}"#;
    let in_20 = "Sun, 06 Nov 1994 08:49:57 GMT";
    let rows: [(u16, Option<&str>, &[u8], Want); 12] = [
        (429, Some("20"), page, Want::Throttled(Some(20))),
        (429, Some(in_20), b"", Want::Throttled(Some(20))),
        (429, None, page, Want::Throttled(None)),
        (429, Some("soon"), page, Want::Throttled(None)),
        (429, Some("99999999999999999999"), page, Want::Throttled(Some(3_600))),
        (429, Some("20"), unknown, Want::Throttled(Some(20))),
        (429, Some("20"), limit, Want::Throttled(Some(7))),
        (503, Some("20"), page, Want::Throttled(Some(20))),
        (503, Some("20"), b"{\"x\":", Want::Throttled(Some(20))),
        (503, None, page, Want::Transient),
        (503, Some("20"), signature, SIGNATURE),
        (502, Some("20"), page, Want::Transient),
    ];
    for (status, told, body, want) in rows {
        let mut answer = raw(status, "text/html", body);
        answer.headers.push(("date".to_owned(), "Sun, 06 Nov 1994 08:49:37 GMT".into()));
        answer.headers.extend(told.map(|told| ("retry-after".to_owned(), told.to_owned().into())));
        assert_eq!(seen(&interpret(&answer)), want, "{status} {told:?}");
    }
}

#[test]
fn every_business_code() {
    for (code, want) in [
        (405, Want::Empty),
        (401, ACCOUNT),
        (404, Want::Transient),
        (4001, TRACKING_ID),
        // Not in the table: the request's family, and the rest.
        (400, Want::Unknown),
        (402, Want::Unknown),
        (4002, Want::Unknown),
        (0, Want::Transient),
        (500, Want::Transient),
        (99_999, Want::Transient),
    ] {
        for code in [json!(code), json!(code.to_string())] {
            let body = json!({ROOT: {"resp_result": {"resp_code": code, "resp_msg": "m"}, "request_id": "r"}});
            assert_eq!(seen(&read(&body)), want, "{code}");
        }
    }
    let word = json!({"resp_result": {"resp_code": "broken"}});
    assert_eq!(seen(&read(&word)), Want::Transient);
}

#[test]
fn every_shape_of_a_success() {
    let result = json!({"products": {"product": [kettle()]}});
    let inner = json!({"resp_code": 200, "resp_msg": "Call succeeds", "result": result});
    let text_code = json!({"resp_code": "200", "result": result});
    let no_code = json!({"result": result});
    let rows = [
        json!({ROOT: {"resp_result": inner, "request_id": "r"}}),
        json!({ROOT: {"resp_result": text_code}}),
        json!({ROOT: {"resp_result": no_code}}),
        json!({ROOT: {"resp_result": inner}, "code": "0", "request_id": "r"}),
        json!({ROOT: {"resp_result": inner}, "code": 0}),
        json!({ROOT: {"resp_result": inner}, "code": "200", "message": "ok"}),
        json!({ROOT: {"resp_result": inner}, "error_response": null}),
        json!({"resp_result": inner}),
        json!({"resp_result": inner, "code": "0", "msg": "fine"}),
        json!({ROOT: inner}),
        inner.clone(),
        json!({"some_other_method_response": {"resp_result": inner}}),
    ];
    for row in rows {
        assert_eq!(read(&row), Outcome::Ok(result.clone()), "{row}");
    }
}

#[test]
fn a_success_with_nothing_in_it_is_a_bad_response() {
    for result in [json!(null), json!({}), json!([]), json!(""), json!("text"), json!(7)] {
        let body = json!({ROOT: {"resp_result": {"resp_code": 200, "result": result}}});
        assert_eq!(seen(&read(&body)), Want::Bad, "{body}");
    }
    assert_eq!(seen(&read(&json!({ROOT: {"resp_result": {"resp_code": 200}}}))), Want::Bad);
    assert_eq!(seen(&read(&json!({"resp_result": {}}))), Want::Bad);
}

#[test]
fn a_success_without_its_list_is_a_bad_response() {
    for result in [
        json!({"x": 1}),
        json!({"current_page_no": 1, "total_record_count": 12}),
        json!({"products": {"product": []}, "total_record_count": 12}),
        json!({"products": {"product": null}}),
        json!({"products": {"product": [{"product_title": "of no id", "sale_price": "1"}]}}),
        json!({"products": {"product": [{"product_id": 7, "product_title": "of no price"}]}}),
        json!({"categories": {"category": [{"category_id": 7}]}}),
    ] {
        let body = json!({ROOT: {"resp_result": {"resp_code": 200, "result": result}}});
        assert_eq!(seen(&read(&body)), Want::Bad, "{body}");
    }
    // Nothing was found, as some say it.
    let none = json!({"products": {"product": []}, "total_record_count": 0});
    let body = json!({ROOT: {"resp_result": {"resp_code": 200.0, "result": none}}});
    assert_eq!(read(&body), Outcome::Ok(none));
}

#[test]
fn json_that_is_no_answer_is_a_bad_response() {
    for root in [
        json!(null),
        json!(17),
        json!("x"),
        json!([]),
        json!({}),
        json!({"hello": "world"}),
        json!({"code": "0"}),
        json!({"error_response": "broken"}),
        json!({ROOT: "broken"}),
        json!({ROOT: {"resp_result": []}}),
    ] {
        assert_eq!(seen(&read(&root)), Want::Bad, "{root}");
    }
}

#[test]
fn an_error_without_fields_is_transient() {
    assert_eq!(seen(&read(&json!({"error_response": {}}))), Want::Transient);
    assert_eq!(seen(&read(&json!({"message": "something"}))), Want::Transient);
}

#[test]
fn the_transport_layer() {
    const JSON: &str = "application/json";
    const HTML: &str = "text/html; charset=utf-8";
    const PAGE: &[u8] = b"<!DOCTYPE html><html><body>Bad Gateway</body></html>";
    const OFFLINE: &[u8] = b"<html>This service has been offline since 2023</html>";
    let success =
        json!({"resp_result": {"resp_code": 200, "result": {"products": [kettle()]}}}).to_string();
    let success = success.as_bytes();
    let throttled = br#"{"error_response":{"code":"ApiCallLimit"}}"#.as_slice();
    let rows: &[(u16, &str, &[u8], Want)] = &[
        (200, JSON, success, Want::Ok),
        (200, "text/html", success, Want::Ok),
        (200, JSON, &[b"\xEF\xBB\xBF", success].concat(), Want::Ok),
        // Another status is transient, whatever it carries, but for a gateway error.
        (500, JSON, success, Want::Transient),
        (503, HTML, PAGE, Want::Transient),
        (502, HTML, b"", Want::Transient),
        (403, HTML, PAGE, Want::Transient),
        (404, "text/plain", b"not found", Want::Transient),
        (429, "text/plain", b"slow down", Want::Throttled(None)),
        (504, JSON, b"{\"x\":", Want::Transient),
        (403, JSON, throttled, Want::Throttled(None)),
        // Moved.
        (200, HTML, PAGE, GATEWAY),
        (200, JSON, PAGE, GATEWAY),
        (200, HTML, b"\n <HTML>", GATEWAY),
        (200, HTML, b"<p>hello", GATEWAY),
        (200, HTML, OFFLINE, GATEWAY),
        (503, HTML, OFFLINE, GATEWAY),
        (200, "text/plain", b"This API Has Been Offline.", GATEWAY),
        (301, HTML, PAGE, GATEWAY),
        (302, HTML, b"", GATEWAY),
        (308, HTML, b"", GATEWAY),
        (410, HTML, b"", GATEWAY),
        // Garbled.
        (200, JSON, b"", Want::Bad),
        (200, HTML, b"", Want::Bad),
        (200, JSON, b"\x00\xFF\xFEgarbage", Want::Bad),
        (200, JSON, &success[..success.len() - 3], Want::Bad),
        (200, "application/xml", b"<?xml version=\"1.0\"?><x/>", Want::Bad),
        (200, JSON, &b"[".repeat(100_000), Want::Bad),
        (204, JSON, b"", Want::Bad),
    ];
    for (status, content_type, body, want) in rows {
        let outcome = interpret(&raw(*status, content_type, body));
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(seen(&outcome), *want, "{status} {content_type} {shown}");
    }
}

#[test]
fn a_gateway_error_that_says_offline_means_moved() {
    let fields =
        json!({"code": "SomethingNew", "type": "SYSTEM", "msg": "The API has been offline"});
    assert_eq!(read_error(fields), GATEWAY);
    // A code of the table decides before any text.
    assert_eq!(read_error(json!({"code": "10", "msg": "has been offline"})), Want::Transient);
}

#[test]
fn reasons_carry_the_upstreams_words_and_are_bounded() {
    let long = "é".repeat(5_000);
    let error = json!({"error_response": {"code": "7", "sub_code": "s", "msg": long}});
    let Outcome::Throttled { reason, .. } = read(&error) else { panic!() };
    assert!(reason.starts_with("gateway error: code 7, sub_code s, msg é"), "{reason}");
    assert_eq!(reason.chars().count(), 301);
    let unknown = json!({ROOT: {"resp_result": {"resp_code": 4001, "resp_msg": "tracking id"}}});
    let Outcome::Permanent { reason, .. } = read(&unknown) else { panic!() };
    assert_eq!(reason, "resp_code 4001: tracking id");
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just(ROOT.to_owned()),
        prop::sample::select(vec![
            "error_response",
            "resp_result",
            "resp_code",
            "result",
            "code",
            "sub_code",
            "type",
            "msg",
            "message",
            "x_response",
        ])
        .prop_map(str::to_owned),
        ".{0,5}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec!["0", "200", "405", "15", "isp.x", "ban will last 5 seconds"])
            .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_survived_and_no_success_is_hollow(root in any_json(), status in 100_u16..600) {
        let answer = raw(status, "application/json", root.to_string().as_bytes());
        if let Outcome::Ok(Found { result, .. }) = interpret(&answer) {
            prop_assert!((200..300).contains(&status));
            prop_assert!(!matches!(METHOD.records.contents(&result, 1), Contents::Hollow(_)));
        }
    }

    #[test]
    fn any_bytes_are_survived(
        status in 0_u16..1000,
        content_type in ".{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let outcome = interpret(&raw(status, &content_type, &body));
        prop_assert_ne!(seen(&outcome), Want::Ok);
    }
}
