//! Cross-origin requests: exactly the origins that are allowed.

use crate::envelope::data;
use crate::support::http::{Answer, Connection};
use crate::test_app::TestApp;

const SEARCH: &str = "/api/products/search?keywords=usb";
const SHOP: &str = "https://shop.test";

fn from(app: &TestApp, origin: &str) -> Connection {
    app.connection().with_header("origin", origin)
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[test]
fn an_allowed_origin_is_told_so_and_no_other() {
    let app = TestApp::with(&[("ALLOWED_ORIGINS", "https://shop.test,https://other.test:8443")]);
    for origin in [SHOP, "https://other.test:8443"] {
        let answer = from(&app, origin).get(SEARCH).unwrap();
        data(&answer);
        assert_eq!(allowed(&answer), Some(origin));
        let vary: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "vary").collect();
        assert!(vary.iter().any(|(_, value)| value.contains("Origin")), "{vary:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
        assert!(exposed.contains("x-request-id"), "{exposed}");
    }
    for origin in [
        "http://shop.test",
        "https://shop.test:444",
        "https://shop.test.evil.test",
        "https://evil-shop.test",
        "https://sub.shop.test",
        "https://chatgpt.com",
        "null",
    ] {
        let answer = from(&app, origin).get(SEARCH).unwrap();
        assert_eq!(allowed(&answer), None, "{origin}");
    }
    assert_eq!(allowed(&app.get(SEARCH)), None);
}

#[test]
fn gpt_actions_are_allowed_when_nothing_is_set() {
    let app = TestApp::start();
    for origin in ["https://chat.openai.com", "https://chatgpt.com"] {
        assert_eq!(allowed(&from(&app, origin).get(SEARCH).unwrap()), Some(origin));
    }
}

#[test]
fn a_preflight_is_answered_without_work() {
    let app = TestApp::with(&[("ALLOWED_ORIGINS", SHOP)]);
    let ask = |origin, method| {
        from(&app, origin)
            .with_header("access-control-request-method", method)
            .with_header("access-control-request-headers", "content-type")
            .send("OPTIONS", "/api/products/search", b"")
            .unwrap()
    };
    let answer = ask(SHOP, "POST");
    assert!(matches!(answer.status, 200 | 204), "{}", answer.status);
    assert_eq!(allowed(&answer), Some(SHOP));
    let methods = answer.header("access-control-allow-methods").unwrap_or_default();
    assert!(methods.contains("GET") && methods.contains("POST"), "{methods}");
    assert!(answer.header("access-control-max-age").is_some());
    for (origin, method) in [("https://evil.test", "POST"), (SHOP, "DELETE")] {
        let answer = ask(origin, method);
        assert!((400..500).contains(&answer.status), "{origin} {method}: {}", answer.status);
        crate::envelope::refusal(&answer);
    }
    assert_eq!(app.upstream.calls(), 0);
}

#[test]
fn an_error_is_readable_for_an_allowed_origin() {
    let app = TestApp::with(&[("ALLOWED_ORIGINS", SHOP)]);
    for path in ["/api/products/search?page_no=0", "/nothing", "/api/orders"] {
        let answer = from(&app, SHOP).get(path).unwrap();
        assert!(answer.status >= 400);
        assert_eq!(allowed(&answer), Some(SHOP), "{path}");
    }
}
