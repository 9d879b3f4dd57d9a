//! Error bodies as snapshots.
//!
//! Owns: what of an answer goes into a snapshot (status, the headers of the contract, the body) and
//! what is hidden there because it differs from run to run: ids, times and waits.

use serde_json::{Map, Value, json};

use super::envelope::refusal;
use crate::support::http::Answer;

/// Headers of the contract that a refusal may carry.
const HEADERS: [&str; 4] = ["allow", "content-type", "retry-after", "www-authenticate"];

/// A refusal, ready to be compared.
pub(crate) fn of(answer: &Answer) -> Value {
    let mut body = refusal(answer);
    body["metadata"]["request_id"] = json!("[id]");
    body["metadata"]["timestamp"] = json!("[time]");
    if let Some(wait) = body["retry_after"].as_u64() {
        let said = body["error"].as_str().unwrap_or_default();
        body["error"] = json!(said.replace(&format!(" {wait} s."), " [seconds] s."));
        body["retry_after"] = json!("[seconds]");
    }
    let mut headers = Map::new();
    for name in HEADERS {
        if let Some(value) = answer.header(name) {
            let value = if name == "retry-after" { "[seconds]" } else { value };
            headers.insert(name.to_owned(), json!(value));
        }
    }
    json!({"status": answer.status, "headers": headers, "body": body})
}

/// Compares a refusal with its snapshot.
macro_rules! assert_refusal {
    ($name:literal, $answer:expr) => {
        insta::assert_json_snapshot!($name, crate::snapshot::of(&$answer))
    };
}

pub(crate) use assert_refusal;
