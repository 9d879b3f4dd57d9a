//! Abuse as its client, his neighbours and the operator see it.

use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::snapshot::assert_refusal;
use crate::support::http::Answer;
use crate::test_app::TestApp;

const KEY: &str = "a-client-key-for-tests";
const SEARCH: &str = "/api/products/search?keywords=usb";

/// A gateway that watches, without limits.
fn watching(mode: &'static str) -> TestApp {
    TestApp::with(&[("ABUSE_DETECTION", mode), ("INTERNAL_API_KEY", KEY)])
}

/// Asks these until one is refused; returns which, counted from 1, and the refusal.
fn first_refused(
    app: &TestApp,
    paths: impl IntoIterator<Item = String>,
) -> Option<(usize, Answer)> {
    let mut connection = app.connection();
    let answers = paths.into_iter().map(|path| connection.get(&path).unwrap());
    (1..).zip(answers).find(|(_, answer)| answer.status == 429)
}

fn again(path: &str) -> impl Iterator<Item = String> {
    std::iter::repeat_n(path.to_owned(), 30)
}

/// How often a pattern was found.
fn detected(app: &TestApp, pattern: &str) -> f64 {
    app.metric(&format!("rate_limit_abuse_detected_total{{pattern=\"{pattern}\"}}"))
}

fn abuse(app: &TestApp) -> Value {
    data(&app.admin().get("/admin/rate-limit/status").unwrap())["abuse"].clone()
}

/// A gateway at which somebody without a key is throttled now; and his refusal.
fn throttled() -> (TestApp, Answer) {
    let app = watching("on");
    let (at, answer) = first_refused(&app, again(SEARCH)).unwrap();
    assert_eq!(at, 21);
    (app, answer)
}

#[test]
fn the_same_query_again_and_again() {
    let (app, answer) = throttled();
    assert_refusal!("abuse_throttled", answer);
    assert_eq!(answer.header("retry-after"), Some("30"));
    assert_eq!(answer.json()["retry_after"], 30);
    assert!(answer.header("x-ratelimit-limit").is_some(), "as a limit of nought");
    let error = refused(&app.get(SEARCH), 429, "abuse_throttled");
    for word in ["repeated_query", "keep its answer", "client key"] {
        assert!(error["error"].as_str().unwrap().contains(word), "{error}");
    }
    // Nothing else of the same client: most of those repetitions were hits.
    for path in ["/api/products/search?keywords=lamp", "/api/categories"] {
        data(&app.get(path));
    }
    data(&app.connection().with_header("x-internal-key", KEY).get(SEARCH).unwrap());
}

#[test]
fn a_scan_throttles_everything_that_its_client_asks() {
    let app = watching("on");
    let ids = (1_000..1_040).map(|id| format!("/api/products/details/{id}"));
    let (at, answer) = first_refused(&app, ids).unwrap();
    assert_eq!(at, 21);
    for answer in [answer, app.get(SEARCH), app.get("/api/categories"), app.get("/nowhere")] {
        let error = refused(&answer, 429, "abuse_throttled");
        assert!(error["error"].as_str().unwrap().contains("sequential_ids"), "{error}");
    }
    // What is never limited, what an operator needs, and who shows a key.
    assert_eq!(app.get("/health/live").status, 200);
    data(&app.get("/api/status"));
    data(&app.connection().with_header("x-internal-key", KEY).get(SEARCH).unwrap());
}

#[test]
fn what_an_operator_sees_of_it() {
    let (app, _) = throttled();
    refused(&app.get(SEARCH), 429, "abuse_throttled");
    let status = abuse(&app);
    assert_eq!((&status["mode"], &status["throttled_now"]), (&json!("on"), &json!(1)));
    let worst = &status["offenders"][0];
    assert_eq!((&worst["principal"], &worst["seen"]), (&json!("127.0.0.1"), &json!(21)));
    assert_eq!((&worst["pattern"], &worst["refused"]), (&json!("repeated_query"), &json!(1)));
    for (series, figure) in [
        ("rate_limit_abuse_detected_total{pattern=\"repeated_query\"}", 1.0),
        ("rate_limit_abuse_refused_total{mode=\"on\"}", 2.0),
        ("rate_limit_abuse_throttled", 1.0),
    ] {
        assert!((app.metric(series) - figure).abs() < 0.1, "{series}");
    }
}

#[test]
fn it_is_logged_once() {
    let (app, _) = throttled();
    refused(&app.get(SEARCH), 429, "abuse_throttled");
    let log = app.log();
    let lines = log.lines().filter(|line| line.contains("client found abusive"));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["principal"], "127.0.0.1");
    assert_eq!((&lines[0]["seen"], &lines[0]["throttled_for_s"]), (&json!(21), &json!(30)));
    assert!(lines[0]["request_id"].is_string());
}

#[test]
fn the_same_query_in_other_words() {
    let app = watching("on");
    let mut last = 0;
    for number in 0..21 {
        let path = match number % 3 {
            0 => "/api/products/search?keywords=usb&page_no=1",
            1 => "/api/products/search?page_size=20&keywords=+usb",
            _ => "",
        };
        let answer = match path {
            "" => app.post("/api/products/search", &json!({"keywords": "usb"})),
            path => app.get(path),
        };
        last = answer.status;
    }
    assert_eq!(last, 429);
}

#[test]
fn product_ids_in_a_row() {
    for (name, step) in [("up", 1_i64), ("down", -1), ("with gaps", 7), ("by the thousand", 1_000)]
    {
        let app = watching("on");
        let ids = (0..40).map(|number| 3_256_812_497_109_248 + number * step);
        let paths = ids.enumerate().flat_map(|(number, id)| {
            // What else he asks does not hide it.
            let search = format!("/api/products/search?keywords=usb&page_size={}", number + 1);
            [search, format!("/api/products/details/{id}")]
        });
        let (at, answer) = first_refused(&app, paths).expect(name);
        refused(&answer, 429, "abuse_throttled");
        assert_eq!(at, 42, "{name}");
        assert!((detected(&app, "sequential_ids") - 1.0).abs() < 0.1, "{name}");
    }
}

#[test]
fn many_product_ids_in_one_request() {
    let app = watching("on");
    let ids = |from: u64| json!({"product_ids": (from..from + 20).collect::<Vec<_>>()});
    data(&app.post("/api/products/details", &ids(1_000)));
    refused(&app.post("/api/products/details", &ids(1_020)), 429, "abuse_throttled");
}

#[test]
fn page_after_page() {
    let app = watching("on");
    let pages = (1..40).map(|page| format!("{SEARCH}&page_size=1&page_no={page}"));
    let (at, answer) = first_refused(&app, pages).unwrap();
    refused(&answer, 429, "abuse_throttled");
    assert_eq!(at, 22);
    assert!((detected(&app, "page_scan") - 1.0).abs() < 0.1);
}

#[test]
fn products_in_a_row_by_whichever_address() {
    let item = |id: u64| format!("https://www.aliexpress.com/item/{}.html", 1_005_000_000_000 + id);
    let ways: [(&str, &dyn Fn(u64) -> String); 4] = [
        ("smart match", &|id| format!("/api/smart-match?product_url={}", item(id))),
        ("links", &|id| format!("/api/affiliate/link?url={}", item(id))),
        ("links by the thousand", &|id| format!("/api/affiliate/link?url={}", item(1_000 * id))),
        ("categories", &|id| format!("/api/categories/{id}/children")),
    ];
    for (name, path) in ways {
        let app = watching("on");
        let (at, answer) = first_refused(&app, (1..40).map(path)).expect(name);
        refused(&answer, 429, "abuse_throttled");
        assert_eq!(at, 21, "{name}");
        assert!((detected(&app, "sequential_ids") - 1.0).abs() < 0.1, "{name}");
    }
    let app = watching("on");
    let links = |from: u64| json!({"urls": (from..from + 50).map(item).collect::<Vec<_>>()});
    data(&app.post("/api/affiliate/links", &links(1)));
    refused(&app.post("/api/affiliate/links", &links(51)), 429, "abuse_throttled");
}

#[test]
fn the_same_link_and_the_same_product_again_and_again() {
    for path in [
        "/api/affiliate/link?url=https://shop.example/item/7.html?from=mail",
        "/api/smart-match?product_url=https://www.aliexpress.com/item/1005001234567890.html",
    ] {
        let app = watching("on");
        assert_eq!(first_refused(&app, again(path)).unwrap().0, 21, "{path}");
        assert!((detected(&app, "repeated_query") - 1.0).abs() < 0.1, "{path}");
    }
}

#[test]
fn a_menu_of_categories_is_loaded_with_every_page() {
    let app = watching("on");
    let menu = [2, 3, 6, 7, 13, 15, 44, 66].iter().cycle().take(160);
    let menu = menu.map(|id| format!("/api/categories/{id}/children"));
    assert!(first_refused(&app, menu).is_none());
    assert!(first_refused(&app, again("/api/categories")).is_none());
}

/// The fields that tell how a client stands.
fn told(answer: &Answer) -> [Option<&str>; 6] {
    [
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
    ]
    .map(|name| answer.header(name))
}

#[test]
fn a_throttle_is_told_as_a_limit_of_nought() {
    let app = TestApp::with(&[("RATE_LIMIT_ENABLED", "true"), ("MAX_REQUESTS_PER_SECOND", "0")]);
    let mut connection = app.connection();
    let mut answers = (0..22).map(|_| connection.get(SEARCH).unwrap());
    let last = answers.nth(19).unwrap();
    assert_eq!(last.header("x-ratelimit-remaining"), Some("80"));
    let by_the_handler = answers.next().unwrap();
    let at_the_gate = answers.next().unwrap();
    let nought = [
        Some("0"),
        Some("0"),
        Some("30"),
        Some("\"abuse\";r=0;t=30"),
        Some("\"abuse\";q=0;w=30"),
        Some("30"),
    ];
    for answer in [by_the_handler, at_the_gate] {
        refused(&answer, 429, "abuse_throttled");
        assert_eq!(told(&answer), nought);
    }
}

#[test]
fn a_shop_with_a_key_asks_for_all_its_visitors() {
    let app = watching("on");
    let mut shop = app.connection().with_header("x-internal-key", KEY);
    for _ in 0..100 {
        data(&shop.get("/api/products/hot").unwrap());
    }
}

#[test]
fn a_header_of_his_own_lets_nobody_out_of_a_throttle() {
    let app = TestApp::with(&[("ABUSE_DETECTION", "on"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    let from = |address: &str| app.connection().with_header("x-forwarded-for", address);
    let mut abuser = from("203.0.113.7");
    for _ in 0..20 {
        data(&abuser.get(SEARCH).unwrap());
    }
    refused(&abuser.get(SEARCH).unwrap(), 429, "abuse_throttled");
    for forged in ["for=x", "for=198.51.100.1", "for=127.0.0.1", "\""] {
        let mut hidden = from("203.0.113.7").with_header("forwarded", forged);
        refused(&hidden.get(SEARCH).unwrap(), 429, "abuse_throttled");
        let mut other = from("203.0.113.8").with_header("forwarded", forged);
        data(&other.get(SEARCH).unwrap());
    }
}

#[test]
fn in_shadow_mode_nobody_is_refused() {
    let app = watching("shadow");
    assert!(first_refused(&app, again(SEARCH)).is_none());
    let status = abuse(&app);
    assert_eq!((&status["mode"], &status["refused"]), (&json!("shadow"), &json!(10)));
    assert!((detected(&app, "repeated_query") - 1.0).abs() < 0.1);
    let shadowed = app.metric("rate_limit_abuse_refused_total{mode=\"shadow\"}");
    assert!((shadowed - 10.0).abs() < 0.1, "{shadowed}");
    assert_eq!(app.log().matches("client found abusive").count(), 1);
}

#[test]
fn who_shows_a_key_is_judged_by_himself() {
    let app = TestApp::with(&[
        ("ABUSE_DETECTION", "on"),
        ("INTERNAL_API_KEY", KEY),
        ("RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE", "60"),
    ]);
    let mut keyed = app.connection().with_header("x-internal-key", KEY);
    for _ in 0..30 {
        data(&keyed.get(SEARCH).unwrap());
    }
    let (at, _) = first_refused(&app, again(SEARCH)).unwrap();
    assert_eq!(at, 21, "what holders of keys asked does not count for others");
    refused(&keyed.get(SEARCH).unwrap(), 429, "abuse_throttled");
    let mut principals: Vec<_> = abuse(&app)["offenders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["principal"].as_str().unwrap().to_owned())
        .collect();
    principals.sort_unstable();
    assert_eq!(principals, ["127.0.0.1", "key:internal"]);
}

#[test]
fn without_limits_nobody_is_watched_unless_it_is_said() {
    let app = TestApp::start();
    assert!(first_refused(&app, again(SEARCH)).is_none());
    assert_eq!(abuse(&app)["mode"], "off");
}
