//! Requests as they are signed and sent, and what an account learns of the answers.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::records::Records;
use super::super::request::Method as Called;
use super::*;

const METHOD: Called = Called {
    name: "aliexpress.affiliate.product.query",
    records: Records::PRODUCTS,
    is_search: true,
};
const DETAILS: Called = Called { is_search: false, ..METHOD };
const HOUR: i64 = 3_600_000;

fn account() -> AliExpress {
    let credentials =
        Credentials { app_key: "12345678".into(), app_secret: Secret::new("helloworld") };
    AliExpress::new(credentials, "https://gateway.example/sync")
}

fn request(params: &[(&'static str, &str)]) -> Request {
    let params = params.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    Request { method: &METHOD, params }
}

fn decode(body: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(body).into_owned().collect()
}

fn answer(body: &str, sent_at: i64, date: Option<i64>) -> Answer {
    let date = date.map(|millis| {
        let date = time::OffsetDateTime::from_unix_timestamp(millis / 1_000).unwrap();
        (
            "date".to_owned(),
            date.format(&time::format_description::well_known::Rfc2822).unwrap().into(),
        )
    });
    Answer {
        sent_at: Timestamp::from_millis(sent_at),
        received_at: Timestamp::from_millis(sent_at + 10),
        ..Answer::new(200, date.into_iter().collect(), Bytes::copy_from_slice(body.as_bytes()))
    }
}

#[test]
fn a_search_is_signed_like_the_published_vector() {
    let request = request(&[("keywords", "usb cable"), ("page_no", "1"), ("page_size", "20")]);
    let signed = account().request(&request, Timestamp::from_millis(1_517_820_392_000));
    assert_eq!(signed.url, "https://gateway.example/sync");
    assert_eq!(
        signed.body,
        "app_key=12345678&format=json&keywords=usb%20cable&method=aliexpress.affiliate.product.query\
         &page_no=1&page_size=20&sign_method=sha256&timestamp=1517820392000&v=2.0\
         &sign=6043958D62AC6D35A3FF5429AF2337F7E101D30A414C803F0E84567747E85677"
    );
}

#[test]
fn empty_values_are_neither_signed_nor_sent() {
    let now = Timestamp::from_millis(1);
    let without = account().request(&request(&[("keywords", "x")]), now);
    let with = account().request(&request(&[("keywords", "x"), ("sort", "")]), now);
    assert_eq!(without, with);
}

#[test]
fn a_method_parameter_cannot_replace_a_system_one() {
    let now = Timestamp::from_millis(1);
    let forged = request(&[("app_key", "9"), ("sign", "F"), ("method", "m"), ("v", "1")]);
    assert_eq!(account().request(&forged, now), account().request(&request(&[]), now));
}

#[test]
fn every_attempt_has_a_timestamp_and_signature_of_its_own() {
    let request = request(&[("keywords", "x")]);
    let first = account().request(&request, Timestamp::from_millis(1));
    let second = account().request(&request, Timestamp::from_millis(2));
    assert_ne!(decode(&first.body)["timestamp"], decode(&second.body)["timestamp"]);
    assert_ne!(decode(&first.body)["sign"], decode(&second.body)["sign"]);
}

#[test]
fn the_secret_shows_nowhere() {
    let account = account();
    let signed = account.request(&request(&[]), Timestamp::from_millis(1));
    assert!(!format!("{account:?} {signed:?}").contains("helloworld"));
}

#[test]
fn an_accounts_own_tracking_id_takes_the_place_of_one_that_is_asked_with() {
    let now = Timestamp::from_millis(1);
    let second = account().with_tracking_id(Some("two".into()));
    let asked = request(&[("keywords", "x"), ("tracking_id", "shop")]);
    let as_if = request(&[("keywords", "x"), ("tracking_id", "two")]);
    assert_eq!(second.request(&asked, now), account().request(&as_if, now));
    for without in [request(&[("keywords", "x")]), request(&[("tracking_id", "")])] {
        assert_eq!(second.request(&without, now), account().request(&without, now));
    }
    assert_eq!(decode(&account().request(&asked, now).body)["tracking_id"], "shop");
}

#[test]
fn an_account_doubts_its_own_tracking_id() {
    let (now, nothing) = (
        Timestamp::from_millis(1),
        r#"{"resp_result":{"resp_code":200,
        "result":{"products":{"product":[]},"total_record_count":0}}}"#,
    );
    let second = account().with_tracking_id(Some("two".into()));
    let sent = |request: &Request| decode(&second.request(request, now).body);
    let search = request(&[("keywords", "x"), ("tracking_id", "shop")]);
    let none = second.interpret(&search, &answer(nothing, 0, None));
    let without = second.doubt(&search, &none).unwrap();
    assert!(!sent(&without).contains_key("tracking_id"), "nothing is put where nothing is");
    let details = Request { method: &DETAILS, ..search };
    let with = second.doubt(&details, &none).unwrap();
    assert_eq!(sent(&with)["tracking_id"], "two", "the question is about what was sent");
    let found = second.interpret(&with, &answer(nothing, 0, None));
    let outcome = second.resolve(&with, none, &found);
    assert_eq!(outcome.misconfiguration(), Some(faults::TRACKING_ID));
}

#[test]
fn an_account_is_known_by_something_else_than_its_key() {
    let of = |key: &str| {
        let credentials = Credentials { app_key: key.into(), app_secret: Secret::new("s") };
        AliExpress::new(credentials, "https://gateway.example/sync")
    };
    // What `printf 12345678 | sha256sum` begins with.
    assert_eq!(of("12345678").id(), "ef797c81");
    assert_eq!(account().id(), of("12345678").id(), "whatever the secret");
    let mut seen = std::collections::BTreeSet::new();
    for key in (500_001..500_200).map(|key| key.to_string()) {
        let id = of(&key).id().to_owned();
        assert!(id.len() == 8 && !id.contains(&key), "{id}");
        assert!(seen.insert(id), "{key}");
    }
}

#[test]
fn an_illegal_timestamp_is_transient_once_then_permanent_until_a_call_succeeds() {
    let account = account();
    let request = request(&[]);
    let refused = r#"{"error_response":{"code":"IllegalTimestamp","msg":"no"}}"#;
    let empty = r#"{"resp_result":{"resp_code":405}}"#;
    let refuse = |sent_at: i64| {
        account.interpret(&request, &answer(refused, sent_at, Some(sent_at + 3 * HOUR))).label()
    };
    assert_eq!(refuse(0), "transient");
    assert_eq!(refuse(1_000), "permanent");
    assert_eq!(refuse(2_000), "permanent");
    let signed = account.request(&request, Timestamp::from_millis(3_000));
    assert_eq!(decode(&signed.body)["timestamp"], (3_000 + 3 * HOUR).to_string());
    let accepted = account.interpret(&request, &answer(empty, 3_000, None));
    assert_eq!(accepted, Outcome::Empty);
    assert_eq!(refuse(4_000), "transient");
}

#[test]
fn an_illegal_timestamp_without_a_date_is_the_configurations_fault() {
    let refused = r#"{"code":31,"message":"Invalid timestamp"}"#;
    let outcome = account().interpret(&request(&[]), &answer(refused, 0, None));
    assert!(outcome.misconfiguration() == Some(faults::CLOCK));
}

proptest! {
    /// What the gateway does: decode the body, take `sign` out, sign the rest, compare.
    #[test]
    fn the_signed_set_is_the_sent_set(
        keywords in "\\PC{0,30}",
        fields in ".{0,30}",
        tracking_id in "[ +%&=\"'\\\\;a-z]{0,12}",
        now in 0_i64..4_000_000_000_000,
    ) {
        let request =
            request(&[("keywords", &keywords), ("fields", &fields), ("tracking_id", &tracking_id)]);
        let mut received = decode(&account().request(&request, Timestamp::from_millis(now)).body);
        let sign = received.remove("sign");
        prop_assert!(received.values().all(|value| !value.is_empty()));
        let pairs = received.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let expected = signature::sign("helloworld", pairs);
        prop_assert_eq!(sign, Some(expected));
        prop_assert_eq!(received.get("keywords").map_or("", String::as_str), &keywords);
    }
}
