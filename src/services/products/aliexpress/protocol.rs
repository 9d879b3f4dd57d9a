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
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::answer::{self, Found};
use super::clock_drift::ClockDrift;
use super::faults;
use super::request::Request;
use super::signature::{self, SIGN_METHOD};
use super::tracking::{self, Tracking};
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::origin::{self, Answer, Misconfiguration, Origin, Outcome};
use crate::services::products::settings::Credentials;

const FORM: &str = "application/x-www-form-urlencoded;charset=utf-8";

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
    is_traced: bool,
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
            is_traced: false,
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

    /// The same account; its requests carry their trace if that is `wanted`.
    pub const fn traced(mut self, wanted: bool) -> Self {
        self.is_traced = wanted;
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

    fn own<'a>(&'a self, name: &str, value: &'a str) -> &'a str {
        let replaces = name == tracking::PARAMETER && !value.is_empty();
        self.tracking_id.as_deref().filter(|_| replaces).unwrap_or(value)
    }

    /// The gateway refused the timestamp: that is transient once, with the clock corrected.
    fn after_correction(&self, answer: &Answer, refused: Outcome<Found>) -> Outcome<Found> {
        let corrected = self.drift.refused(answer.sent_at, answer.received_at, answer.date());
        if let (true, Outcome::Permanent { reason, .. }) = (corrected, &refused) {
            return Outcome::Transient { reason: format!("{reason}; clock corrected") };
        }
        refused
    }
}

impl Origin for AliExpress {
    type Question = Request;
    type Payload = Found;

    /// The gateway counts its days in GMT+8.
    const QUOTA_DAY_OFFSET: Duration = Duration::from_secs(8 * 60 * 60);

    fn operation(question: &Request) -> &'static str {
        question.method.name
    }

    /// System parameters win over a method's parameters of the same name.
    fn request(&self, question: &Request, now: Timestamp) -> origin::Request {
        let timestamp = self.drift.correct(now).as_millis().to_string();
        let own = question.params.iter().map(|(key, value)| (*key, self.own(key, value)));
        let system = [
            ("app_key", self.app_key.as_str()),
            ("format", "json"),
            ("method", question.method.name),
            ("sign_method", SIGN_METHOD),
            ("timestamp", timestamp.as_str()),
            ("v", "2.0"),
        ];
        let sent: BTreeMap<&str, &str> =
            own.chain(system).filter(|(key, value)| signature::is_sent(key, value)).collect();
        let pairs = || sent.iter().map(|(key, value)| (*key, *value));
        let sign = signature::sign(self.app_secret.expose(), pairs());
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

    fn interpret(&self, question: &Request, answer: &Answer) -> Outcome<Found> {
        let outcome = answer::interpret(question, answer);
        if outcome.misconfiguration() == Some(faults::CLOCK) {
            return self.after_correction(answer, outcome);
        }
        if matches!(outcome, Outcome::Ok(_) | Outcome::Empty) {
            self.drift.accepted(answer.sent_at);
        }
        self.tracking.judge(question, outcome)
    }

    fn doubt(&self, question: &Request, outcome: &Outcome<Found>) -> Option<Request> {
        self.tracking.doubt(question, outcome)
    }

    fn resolve(
        &self,
        check: &Request,
        outcome: Outcome<Found>,
        found: &Outcome<Found>,
    ) -> Outcome<Found> {
        self.tracking.resolve(check, outcome, found)
    }

    fn is_traced(&self) -> bool {
        self.is_traced
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
#[path = "protocol_tests.rs"]
mod tests;
