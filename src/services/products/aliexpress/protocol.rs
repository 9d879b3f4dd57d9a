//! AliExpress as an [`Origin`]: system parameters, signature, form body; and the error table applied
//! to what comes back.
//!
//! Owns: the account's key, secret and tracking id, the gateway's address, and what was learned of
//! its clock and of the tracking id.
//! Refuses: to sign one set of parameters and send another; both are made from one map. When the
//! gateway is down nothing happens here: nothing here does any I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::clock_drift::ClockDrift;
use super::errors::{self, Reading};
use super::faults;
use super::methods::Request;
use super::signature::{self, SignMethod};
use super::tracking::{self, Tracking};
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::origin::{self, Answer, Blame, Misconfiguration, Origin, Outcome};
use crate::services::products::settings::Credentials;

const FORM: &str = "application/x-www-form-urlencoded;charset=utf-8";

/// The gateway's current default.
const SIGN_METHOD: SignMethod = SignMethod::Sha256;

/// One AliExpress account at one gateway.
#[derive(Debug)]
pub struct AliExpress {
    /// Stands for the account where its key should not.
    id: String,
    app_key: String,
    app_secret: Secret,
    /// Sent in place of a request's own.
    tracking_id: Option<String>,
    /// Which of the accounts it is, the first being 0.
    place: usize,
    gateway_url: String,
    drift: ClockDrift,
    tracking: Tracking,
}

impl AliExpress {
    /// An account that signs with HMAC-SHA256 and sends tracking ids as they are. Its advice names
    /// the first account's settings.
    pub fn new(credentials: Credentials, gateway_url: impl Into<String>) -> Self {
        Self {
            id: id_of(&credentials.app_key),
            app_key: credentials.app_key,
            app_secret: credentials.app_secret,
            tracking_id: None,
            place: 0,
            gateway_url: gateway_url.into(),
            drift: ClockDrift::default(),
            tracking: Tracking::default(),
        }
    }

    /// The same account with a tracking id of its own: requests that carry one, which is the shop's,
    /// are sent with this one in its place. What is kept and asked for goes on bearing the shop's,
    /// so an answer is the same whichever account gave it.
    pub fn with_tracking_id(mut self, tracking_id: Option<String>) -> Self {
        self.tracking_id = tracking_id;
        self
    }

    /// The same account, whose advice names the settings of the account at this place, the first
    /// being 0.
    pub const fn at(mut self, place: usize) -> Self {
        self.place = place;
        self
    }

    /// Which account it is: the same text after every restart, and never the account's key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A parameter's value as this account sends it.
    fn own<'a>(&'a self, name: &str, value: &'a str) -> &'a str {
        let replaces = name == tracking::PARAMETER && !value.is_empty();
        self.tracking_id.as_deref().filter(|_| replaces).unwrap_or(value)
    }

    fn of_illegal_timestamp(&self, answer: &Answer, reason: String) -> Outcome<Value> {
        if self.drift.refused(answer.sent_at, answer.received_at, answer.date()) {
            return Outcome::Transient { reason: format!("{reason}; clock corrected") };
        }
        Outcome::Permanent { blame: Blame::Configuration(faults::CLOCK), reason }
    }
}

impl Origin for AliExpress {
    type Question = Request;
    type Payload = Value;

    /// The gateway counts its days in GMT+8.
    const QUOTA_DAY_OFFSET: Duration = Duration::from_secs(8 * 60 * 60);

    fn operation(question: &Request) -> &'static str {
        question.method
    }

    /// System parameters win over a method's parameters of the same name.
    fn request(&self, question: &Request, now: Timestamp) -> origin::Request {
        let timestamp = self.drift.correct(now).as_millis().to_string();
        let own = question.params.iter().map(|(key, value)| (*key, self.own(key, value)));
        let system = [
            ("app_key", self.app_key.as_str()),
            ("format", "json"),
            ("method", question.method),
            ("sign_method", SIGN_METHOD.as_str()),
            ("timestamp", timestamp.as_str()),
            ("v", "2.0"),
        ];
        let sent: BTreeMap<&str, &str> =
            own.chain(system).filter(|(key, value)| signature::is_sent(key, value)).collect();
        let pairs = || sent.iter().map(|(key, value)| (*key, *value));
        let sign = signature::sign(SIGN_METHOD, self.app_secret.expose(), pairs());
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs())
            .append_pair("sign", &sign)
            .finish();
        // A literal plus is sent as %2B, so every plus left is a space. %20 is the one form of a
        // space on which all decoders agree, and the gateway signs what it decoded.
        origin::Request {
            method: Method::POST,
            url: self.gateway_url.clone(),
            headers: vec![
                ("content-type", FORM.to_owned()),
                ("accept", "application/json".to_owned()),
            ],
            body: body.replace('+', "%20").into(),
        }
    }

    fn interpret(&self, question: &Request, answer: &Answer) -> Outcome<Value> {
        let outcome = match errors::interpret(question.method, answer) {
            Reading::Decided(outcome) => outcome,
            Reading::IllegalTimestamp { reason } => {
                return self.of_illegal_timestamp(answer, reason);
            }
        };
        if matches!(outcome, Outcome::Ok(_) | Outcome::Empty) {
            self.drift.accepted(answer.sent_at);
        }
        self.tracking.judge(question, outcome)
    }

    fn doubt(&self, question: &Request, outcome: &Outcome<Value>) -> Option<Request> {
        self.tracking.doubt(question, outcome)
    }

    fn resolve(
        &self,
        check: &Request,
        outcome: Outcome<Value>,
        found: &Outcome<Value>,
    ) -> Outcome<Value> {
        self.tracking.resolve(check, outcome, found)
    }

    fn advice(&self, fault: Misconfiguration) -> String {
        faults::advice(fault, self.place)
    }
}

/// The first 32 bits of the key's SHA-256: enough to tell a few accounts apart.
fn id_of(app_key: &str) -> String {
    Sha256::digest(app_key).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const METHOD: &str = "aliexpress.affiliate.product.query";
    const HOUR: i64 = 3_600_000;

    fn account() -> AliExpress {
        let credentials =
            Credentials { app_key: "12345678".into(), app_secret: Secret::new("helloworld") };
        AliExpress::new(credentials, "https://gateway.example/sync")
    }

    fn request(params: &[(&'static str, &str)]) -> Request {
        let params = params.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Request { method: METHOD, params }
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
        let details = Request { method: super::super::methods::PRODUCT_DETAIL, ..search };
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
            let expected = signature::sign(SignMethod::Sha256, "helloworld", pairs);
            prop_assert_eq!(sign, Some(expected));
            prop_assert_eq!(received.get("keywords").map_or("", String::as_str), &keywords);
        }
    }
}
