//! What every answer has in common, checked in one place.
//!
//! Owns: the shape of the envelope, for data and for errors, and the headers that every answer
//! carries. Tests go through [`data`] and [`refused`], so no answer escapes the check.

use serde_json::Value;

use crate::support::http::Answer;

/// The security headers of every answer.
const SECURITY: [&str; 4] =
    ["x-content-type-options", "x-frame-options", "referrer-policy", "content-security-policy"];

/// The `data` of a good answer, after checking everything around it.
pub(crate) fn data(answer: &Answer) -> Value {
    let body = good(answer);
    body["data"].clone()
}

/// The `metadata` of a good answer that came by way of the cache, or past it.
pub(crate) fn metadata(answer: &Answer) -> Value {
    let body = good(answer);
    let metadata = body["metadata"].clone();
    check_cache_facts(answer, &metadata);
    metadata
}

fn good(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = check(answer);
    assert_eq!(body["success"], true, "{body}");
    assert!(body.get("error").is_none() && body.get("code").is_none(), "{body}");
    assert!(!body["data"].is_null(), "{body}");
    let took = body["metadata"]["processing_time_ms"].as_f64();
    assert!(took.is_some_and(|took| took >= 0.0), "{body}");
    body
}

/// The error of a refusal with this status and code, after checking everything around it.
pub(crate) fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let body = refusal(answer);
    assert_eq!((answer.status, body["code"].as_str()), (status, Some(code)), "{body}");
    body
}

/// The body of any refusal.
pub(crate) fn refusal(answer: &Answer) -> Value {
    assert!(answer.status >= 400, "not refused: {} {}", answer.status, answer.text());
    let body = check(answer);
    assert_eq!(body["success"], false, "{body}");
    assert!(body.get("data").is_none(), "{body}");
    let sentence = body["error"].as_str().unwrap_or_default();
    assert!(!sentence.is_empty(), "{body}");
    assert!(body["retryable"].is_boolean(), "{body}");
    let told = body.get("retry_after").and_then(Value::as_u64).map(|wait| wait.to_string());
    assert_eq!(answer.header("retry-after"), told.as_deref(), "{body}");
    assert!(told.is_none_or(|wait| wait != "0"), "{body}");
    body
}

/// What holds for every JSON answer.
fn check(answer: &Answer) -> Value {
    check_headers(answer);
    let kind = answer.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{kind}");
    let body = answer.json();
    let metadata = &body["metadata"];
    assert_eq!(metadata["request_id"].as_str(), answer.header("x-request-id"), "{body}");
    assert_eq!(metadata["api_version"], "1", "{body}");
    let timestamp = metadata["timestamp"].as_str().unwrap_or_default();
    assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{body}");
    body
}

/// What holds for every answer, whatever its body.
pub(crate) fn check_headers(answer: &Answer) {
    for name in SECURITY {
        assert!(answer.header(name).is_some(), "{name} is missing: {:?}", answer.headers);
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    assert!(answer.header("cache-control").is_some(), "{:?}", answer.headers);
}

/// `Cache-Status` and `Age` say the same as the metadata.
fn check_cache_facts(answer: &Answer, metadata: &Value) {
    let tier = metadata["cache_tier"].as_str().unwrap_or_default();
    let hit = tier != "none";
    assert_eq!(metadata["cache_hit"], hit, "{metadata}");
    assert!(metadata["cache_enabled"].is_boolean(), "{metadata}");
    assert!(metadata["stale"].is_boolean(), "{metadata}");
    let age = metadata["age_seconds"].as_u64().expect("an age");
    let degraded = metadata["degraded"].as_array().expect("a list");
    assert_eq!(metadata["stale"], degraded.contains(&Value::from("stale")), "{metadata}");
    let status = answer.header("cache-status").expect("a Cache-Status");
    if hit {
        assert!(status.starts_with("breakwater; hit; ttl="), "{status}");
        assert!(status.contains(&format!("; detail={tier}")), "{status}");
        // `max-age` is counted from the answer, `Age` from the fetch: only one is told.
        let said = answer.header("cache-control").unwrap_or_default();
        let is_kept = said.contains("max-age=") && !said.ends_with("max-age=0");
        let age = age.to_string();
        assert_eq!(answer.header("age"), Some(age.as_str()).filter(|_| !is_kept));
    } else {
        assert!(status.starts_with("breakwater; fwd="), "{status}");
        // Whoever shared a flight may have been served some time after it landed.
        assert_eq!(answer.header("age"), None);
    }
}
