//! A fault of one question or of one method is not the upstream's.

use serde_json::Value;

use crate::support::http::Connection;
use crate::upstream_script::{Asked, Reply, Scripted, good};

const SIGNATURE: &str = "\"type\":\"ISV\",\"code\":\"IncompleteSignature\",\"msg\":\"no\"";

fn link(number: usize) -> String {
    format!("/api/affiliate/link?url=https%3A%2F%2Fwww.aliexpress.com%2Fitem%2F{number}.html")
}

fn breaker(scripted: &mut Scripted) -> Value {
    scripted.get("/api/status").json()["data"]["circuit_breaker"].clone()
}

/// One method fails, another works: so many links and searches in turn, each another one.
fn in_turn(rounds: usize, refusal: impl Fn() -> Reply + Send + Sync + 'static) -> Scripted {
    let script = move |asked: &Asked| match asked.method.as_str() {
        "link.generate" => refusal(),
        _ => good(asked),
    };
    let mut scripted = Scripted::start_with(&[("RETRY_MAX_ATTEMPTS", "1")], script);
    for round in 0..rounds {
        assert_ne!(scripted.get(&link(1_000 + round)).status, 200);
        let (status, body) = scripted.search(&format!("kettle{round}"));
        assert_eq!(status, 200, "{round}: {body}");
    }
    assert_eq!(breaker(&mut scripted), "closed");
    scripted
}

#[test]
fn a_signature_that_one_method_refuses_holds_that_method() {
    let mut scripted = in_turn(30, || Reply::error(SIGNATURE));
    assert!(scripted.calls("link.generate") < 5, "the method is left alone");
    let (health, words) = scripted.health();
    assert_eq!(health, "degraded", "{words}");
    assert!(words.contains("signature of aliexpress.affiliate.link.generate"), "{words}");
    scripted.stop();
}

#[test]
fn a_method_whose_answers_nobody_can_read_does_not_stop_the_others() {
    for garbage in ["{\"x\":", "<?xml version=\"1.0\"?>"] {
        let scripted = in_turn(40, move || Reply::json(garbage));
        scripted.stop();
    }
    let scripted = in_turn(40, || Reply::of(500, "", ""));
    scripted.stop();
}

#[test]
fn one_captcha_page_holds_its_method() {
    let mut scripted = Scripted::start(|asked| match (asked.method.as_str(), asked.number) {
        ("productdetail.get", 1) => Reply::of(200, "content-type: text/html\r\n", "<html></html>"),
        _ => good(asked),
    });
    assert_eq!(scripted.search("before").0, 200);
    assert_eq!(scripted.get("/api/products/details/7").status, 502);
    for number in 0..5 {
        assert_eq!(scripted.search(&format!("after{number}")).0, 200);
    }
    scripted.stop();
}

#[test]
fn one_question_asked_again_and_again_opens_no_breaker_and_several_do() {
    let mut scripted = Scripted::start_with(&[("RETRY_MAX_ATTEMPTS", "2")], |asked| {
        if asked.number == 1 { good(asked) } else { Reply::json("{\"x\":") }
    });
    assert_eq!(scripted.search("before").0, 200);
    let ask = |connection: &mut Connection, keywords: &str| {
        let body = format!("{{\"keywords\":\"{keywords}\"}}");
        connection.send("POST", "/api/products/search/no-cache", body.as_bytes()).unwrap().status
    };
    let connection = scripted.gateway.connection();
    let mut connection = connection.with_header("content-type", "application/json");
    for _ in 0..12 {
        assert_eq!(ask(&mut connection, "kettle"), 503);
    }
    assert_eq!(breaker(&mut scripted), "closed");
    for keywords in ["a", "b", "c", "d", "e"] {
        ask(&mut connection, keywords);
    }
    assert_eq!(breaker(&mut scripted), "open");
    scripted.stop();
}

#[test]
fn different_questions_that_are_refused_for_no_known_reason_show_in_health() {
    let mut scripted = Scripted::start(|asked| match asked.number {
        ..=4 => Reply::error("\"type\":\"ISV\",\"code\":\"F77\",\"msg\":\"no\""),
        _ => good(asked),
    });
    for keywords in ["a", "b", "c", "d"] {
        assert_eq!(scripted.search(keywords).0, 502);
        let (health, words) = scripted.health();
        let is_told = words.contains("unknown_refusal");
        assert_eq!(is_told, matches!(keywords, "c" | "d"), "{words}");
        assert_eq!(health, if is_told { "degraded" } else { "healthy" });
    }
    scripted.until_logged("F77");
    assert_eq!(scripted.search("e").0, 200);
    assert_eq!(scripted.health().0, "healthy");
    scripted.stop();
}
