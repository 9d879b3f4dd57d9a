//! Refusals under any name: throttles, an IP allow-list, statuses that tell to wait.

use crate::upstream_script::{Reply, Scripted, good};

/// Searches once, then for something else: what each was told, and whether the second was asked.
fn twice(reply: impl Fn() -> Reply + Send + Sync + 'static) -> ((u16, serde_json::Value), usize) {
    let mut scripted = Scripted::start(move |_| reply());
    let first = scripted.search("a");
    let (status, _) = scripted.search("b");
    assert_eq!(status, first.0);
    let calls = scripted.calls("product.query");
    let (health, words) = scripted.health();
    assert_eq!(health, "degraded", "{words}");
    assert!(words.contains("told to wait until"), "{words}");
    scripted.stop();
    (first, calls)
}

#[test]
fn whatever_says_how_long_to_wait_is_a_throttle() {
    let fields = "\"type\":\"ISV\",\"code\":\"AppCallLimit\",\
        \"msg\":\"App call limit reached. this ban will last 20 seconds\"";
    let page = || Reply::of(429, "retry-after: 20\r\ncontent-type: text/html\r\n", "<html></html>");
    let down = || Reply::of(503, "retry-after: 20\r\n", "");
    for ((status, body), calls) in [twice(move || Reply::error(fields)), twice(page), twice(down)] {
        assert_eq!((status, &body["code"]), (503, &"upstream_unavailable".into()), "{body}");
        let wait = body["retry_after"].as_u64().unwrap();
        assert!((19..=21).contains(&wait), "{body}");
        assert_eq!(calls, 1, "told to wait is told to wait");
    }
}

#[test]
fn an_ip_allow_list_is_a_matter_of_configuration() {
    let mut scripted =
        Scripted::start_with(&[("CACHE_TTL_SEARCH", "1")], |asked| match asked.number {
            1 => good(asked),
            _ => Reply::error("\"type\":\"ISV\",\"code\":\"AppWhiteIpLimit\",\"msg\":\"no\""),
        });
    assert_eq!(scripted.search("kettle").0, 200);
    let (status, body) = scripted.search("lamp");
    assert_eq!((status, &body["code"]), (502, &"upstream_rejected".into()), "{body}");
    let (health, words) = scripted.health();
    assert_ne!(health, "healthy");
    assert!(words.contains("ip_allow_list") && words.contains("ALIEXPRESS_APP_KEY"), "{words}");
    scripted.until_logged("AppWhiteIpLimit");
    // What is stored is served all the while.
    std::thread::sleep(std::time::Duration::from_millis(1_300));
    assert_eq!(scripted.search("kettle").0, 200);
    scripted.stop();
}
