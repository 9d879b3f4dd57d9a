//! Smart search: quality, order, links, and what it does without them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::envelope::{data, metadata};
use crate::support::process::wait_until;
use crate::test_app::TestApp;

const PATH: &str = "/api/products/smart-search";
const LINKS: &str = "aliexpress.affiliate.link.generate";

fn scores(found: &Value) -> Vec<f64> {
    let products = found["products"].as_array().unwrap();
    products.iter().map(|product| product["quality_score"].as_f64().unwrap()).collect()
}

fn states(found: &Value) -> Vec<&str> {
    let products = found["products"].as_array().unwrap();
    products.iter().map(|product| product["affiliate_status"].as_str().unwrap()).collect()
}

#[test]
fn best_first_with_links() {
    let app = TestApp::start();
    let found = data(&app.get(&format!("{PATH}?keywords=usb&page_size=10")));
    let scores = scores(&found);
    assert!(!scores.is_empty() && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert!(states(&found).iter().all(|state| *state == "generated"));
    let figures = &found["performance_metrics"];
    assert_eq!(figures["affiliate_links_generated"], scores.len());
    assert_eq!(
        (&figures["affiliate_links_cached"], &figures["api_calls_saved"]),
        (&json!(0), &json!(0))
    );
    assert!(figures["dropped"].is_object());
    for product in found["products"].as_array().unwrap() {
        let link = product["affiliate_url"].as_str().unwrap();
        assert!(link.starts_with("https://s.click.aliexpress.com/"), "{link}");
    }
    let again = app.post(PATH, &json!({"keywords": "usb", "page_size": 10}));
    assert_eq!(metadata(&again)["cache_tier"], "memory");
    let again = data(&again);
    assert!(states(&again).iter().all(|state| *state == "cached"));
    assert_eq!(again["performance_metrics"]["api_calls_saved"], 2);
    assert_eq!(app.upstream.calls(), 2);
}

#[test]
fn a_least_quality_leaves_out_and_counts() {
    let app = TestApp::start();
    let all = data(&app.get(&format!("{PATH}?keywords=usb&page_size=50")));
    let least = 0.9;
    let good = data(&app.get(&format!("{PATH}?keywords=usb&page_size=50&min_quality={least}")));
    let expected: Vec<f64> = scores(&all).into_iter().filter(|score| *score >= least).collect();
    assert_eq!(scores(&good), expected);
    let left_out = scores(&all).len() - expected.len();
    assert!(left_out > 0);
    let dropped = |found: &Value| -> u64 {
        let reasons = found["performance_metrics"]["dropped"].as_object().unwrap();
        reasons.values().filter_map(Value::as_u64).sum()
    };
    assert_eq!(dropped(&good) - dropped(&all), u64::try_from(left_out).unwrap());
}

#[test]
fn without_links_none_are_made() {
    let app = TestApp::start();
    let found = data(&app.get(&format!("{PATH}?keywords=usb&generate_affiliate_links=false")));
    assert!(states(&found).iter().all(|state| *state == "not_requested"));
    assert_eq!(app.upstream.calls_of("link.generate"), 0);
}

#[test]
fn a_failing_link_call_leaves_no_address_and_says_so() {
    let app = TestApp::start();
    app.upstream.fails_with(&json!({"method": LINKS, "fault": "status", "status": 503}));
    let answer = app.get(&format!("{PATH}?keywords=usb&page_size=5"));
    let found = data(&answer);
    assert_eq!(states(&found), ["failed"; 5]);
    for product in found["products"].as_array().unwrap() {
        assert_eq!(product["affiliate_url"], Value::Null);
    }
    let degraded = metadata(&answer)["degraded"].clone();
    assert!(degraded.as_array().unwrap().contains(&json!("affiliate_links")), "{degraded}");
    app.upstream.recovers();
    // A failure is remembered for a moment; links are made again soon.
    wait_until("links are made again", Duration::from_secs(10), || {
        let found = data(&app.get(&format!("{PATH}?keywords=usb&page_size=5")));
        // All in one call again: keys that failed together are tried together.
        states(&found) == ["generated"; 5]
    });
    assert_eq!(app.upstream.calls_of("link.generate"), 2);
}

#[test]
fn a_forced_refresh_reads_past_the_cache_and_stores() {
    let app = TestApp::start();
    let path = format!("{PATH}?keywords=usb&generate_affiliate_links=false");
    data(&app.get(&path));
    let forced = metadata(&app.get(&format!("{path}&force_refresh=true")));
    assert_eq!((&forced["cache_hit"], app.upstream.calls()), (&json!(false), 2));
    assert_eq!(metadata(&app.get(&path))["cache_tier"], "memory");
    // When it fails, what is there is better than nothing.
    app.upstream.fails_with(&json!({"fault": "status", "status": 503}));
    let kept = app.get(&format!("{path}&force_refresh=true"));
    assert_eq!(metadata(&kept)["cache_tier"], "memory");
}

#[test]
fn a_smart_search_shares_its_page_with_the_plain_one() {
    let app = TestApp::start();
    data(&app.get("/api/products/search?keywords=lamp"));
    let smart = app.get(&format!("{PATH}?keywords=lamp&generate_affiliate_links=false"));
    assert_eq!(metadata(&smart)["cache_tier"], "memory");
    assert_eq!(app.upstream.calls(), 1);
}
