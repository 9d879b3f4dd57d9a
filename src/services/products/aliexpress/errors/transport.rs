//! The third layer of the error table: what the wire brought, before it is read.
//!
//! Owns: statuses, content that is not JSON, and "the gateway has moved". Refuses: to guess from a
//! body that cannot be read.
//!
//! The protocol page says both "HTML reads as moved, permanent" and "HTML is transient, except
//! moved". Both hold here: the gateway answers every error with status 200 and JSON, so a web page
//! with status 200 comes from something that is no gateway (permanent, the address is wrong),
//! while one with another status is the error page of a proxy on the way (transient). An answer
//! that says "has been offline", or that redirects, means moved whatever its form.

use serde_json::Value;

use super::super::faults;
use super::{bounded, gateway};
use crate::origin::{Answer, Blame, Outcome};

/// The words of a gateway that was switched off.
const OFFLINE: &str = "has been offline";

/// How much of a body that is not JSON is looked at.
const GLANCE_BYTES: usize = 64 * 1024;

/// The JSON of an answer, or what the lack of it means.
pub fn read(answer: &Answer) -> Result<Value, Outcome<Value>> {
    let parsed: Result<Value, _> = serde_json::from_slice(without_bom(&answer.body));
    if !(200..300).contains(&answer.status) {
        // A gateway error keeps its meaning under any status; a result does not.
        return parsed.ok().filter(gateway::is_error).ok_or_else(|| of_status(answer));
    }
    parsed.map_err(|error| not_json(answer, &error))
}

/// Whether a text says that the gateway was switched off.
pub fn says_offline(text: &str) -> bool {
    text.to_ascii_lowercase().contains(OFFLINE)
}

/// The outcome for an address that is no gateway (any more).
pub fn moved(what: &str) -> Outcome<Value> {
    Outcome::Permanent {
        blame: Blame::Configuration(faults::GATEWAY),
        reason: bounded(&format!("the gateway has moved: {what}")),
    }
}

fn of_status(answer: &Answer) -> Outcome<Value> {
    if says_offline(&glance(answer)) {
        return moved(OFFLINE);
    }
    match answer.status {
        // RFC 9110: 301, 302, 303, 307 and 308 point elsewhere, 410 says "gone for good".
        301..=303 | 307 | 308 | 410 => moved(&format!("http status {}", answer.status)),
        status => Outcome::Transient { reason: format!("http status {status}") },
    }
}

fn not_json(answer: &Answer, error: &serde_json::Error) -> Outcome<Value> {
    let text = glance(answer);
    if says_offline(&text) {
        return moved(OFFLINE);
    }
    if is_html(answer, &text) {
        return moved("a web page instead of an answer");
    }
    let size = answer.body.len();
    Outcome::BadResponse { reason: bounded(&format!("not json ({size} bytes): {error}")) }
}

fn is_html(answer: &Answer, text: &str) -> bool {
    let start = text.trim_start().get(..14).unwrap_or(text.trim_start()).to_ascii_lowercase();
    let declared = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
    start.starts_with("<!doctype html")
        || start.starts_with("<html")
        || (declared.contains("html") && start.starts_with('<'))
}

fn glance(answer: &Answer) -> String {
    let body = without_bom(&answer.body);
    String::from_utf8_lossy(body.get(..GLANCE_BYTES).unwrap_or(body)).into_owned()
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)
}
