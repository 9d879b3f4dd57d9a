//! Affiliate links: one for each page that is another, in order, partly failing; and smart match, which
//! reads the same addresses.

use serde_json::{Value, json};

use crate::envelope::{data, metadata, refused};
use crate::test_app::TestApp;

const LINK: &str = "/api/affiliate/link?url=";
const LINKS: &str = "/api/affiliate/links";
const ITEM: &str = "https://www.aliexpress.com/item/1005006860981590.html";

/// One field of every link.
fn each(links: &Value, field: &str) -> Vec<Value> {
    links["links"].as_array().unwrap().iter().map(|link| link[field].clone()).collect()
}

fn asked(app: &TestApp, urls: &[&str]) -> Value {
    data(&app.post(LINKS, &json!({"urls": urls})))
}

/// Addresses of products of the catalogue.
fn urls_of(app: &TestApp, how_many: usize) -> Vec<String> {
    let found = data(&app.get(&format!("/api/products/search?page_size={how_many}")));
    let products = found["products"].as_array().unwrap();
    products.iter().map(|one| one["product_url"].as_str().unwrap().to_owned()).collect()
}

fn sentence(refusal: &Value) -> &str {
    refusal["error"].as_str().unwrap()
}

/// For a query string.
fn escaped(url: &str) -> String {
    url::form_urlencoded::byte_serialize(url.as_bytes()).collect()
}

#[test]
fn links_in_the_order_asked_with_their_state() {
    let app = TestApp::start();
    let urls = urls_of(&app, 3);
    let one = app.get(&format!("{LINK}{}", escaped(&urls[1])));
    let link = data(&one)["links"][0].clone();
    assert_eq!((&link["url"], &link["status"]), (&json!(urls[1]), &json!("generated")));
    let made = link["affiliate_url"].as_str().unwrap();
    assert!(made.starts_with("https://s.click.aliexpress.com/"), "{made}");

    // Nobody pays for leading to another shop.
    let unknown = "https://another-shop.test/item/7.html";
    let asked = [&urls[2], &urls[1], unknown, &urls[0], &urls[2]];
    let answer = app.post(LINKS, &json!({"urls": asked}));
    let links = data(&answer);
    let of = |field| each(&links, field);
    assert_eq!(of("url"), asked.map(Value::from));
    assert_eq!(
        of("status"),
        ["generated", "cached", "failed", "generated", "generated"].map(Value::from)
    );
    let targets = of("affiliate_url");
    assert_eq!((&targets[1], &targets[2]), (&json!(made), &Value::Null));
    assert_eq!(targets[0], targets[4]);
    let counts = ["requested_count", "cached_count", "generated_count", "failed_count"];
    assert_eq!(counts.map(|count| links[count].as_u64().unwrap()), [5, 1, 3, 1]);
    assert_eq!(metadata(&answer)["degraded"], json!(["affiliate_links"]));
    assert_eq!(app.upstream.calls_of("link.generate"), 2);
}

#[test]
fn fifty_links_cost_one_call() {
    let app = TestApp::start();
    let urls = urls_of(&app, 50);
    let links = data(&app.post(LINKS, &json!({"urls": urls})));
    assert_eq!((&links["generated_count"], &links["failed_count"]), (&json!(50), &json!(0)));
    assert_eq!(app.upstream.calls_of("link.generate"), 1);
    let again = data(&app.post(LINKS, &json!({"urls": urls})));
    assert_eq!(again["cached_count"], 50);
    assert_eq!(app.upstream.calls_of("link.generate"), 1);
}

#[test]
fn pages_told_apart_by_their_query_have_links_of_their_own() {
    let app = TestApp::start();
    let pages = [
        "https://m.aliexpress.com/p/coin-index/index.html?productIds=1005006860981590",
        "https://m.aliexpress.com/p/coin-index/index.html?productIds=1005009178167326",
        "https://www.aliexpress.com/item/1005006860981590.html?sourceType=620&channel=coin",
        "https://www.aliexpress.com/item/1005006860981590.html?sourceType=562",
        "https://www.aliexpress.com/wholesale?SearchText=usb+hub",
        "https://www.aliexpress.com/wholesale?SearchText=garden+hose",
    ];
    let mut made = each(&asked(&app, &pages), "affiliate_url");
    assert!(made.iter().all(Value::is_string), "{made:?}");
    made.sort_by_key(Value::to_string);
    made.dedup();
    assert_eq!(made.len(), pages.len());
}

#[test]
fn spellings_of_one_page_share_one_link() {
    let app = TestApp::start();
    let star = "https://star.aliexpress.com/share/share.htm?redirectUrl=";
    let long = format!("{ITEM}?spm={}", "a2g0o.".repeat(500));
    let spellings = [
        ITEM,
        &long,
        "www.aliexpress.com/item/1005006860981590.html",
        "https://m.de.aliexpress.com/i/1005006860981590.html?utm_source=a&aff_fsk=b",
        &format!("{star}https%3A%2F%2Fvi.aliexpress.com%2Fitem%2F1005006860981590.html"),
    ];
    let links = asked(&app, &spellings);
    let made = each(&links, "affiliate_url");
    assert!(made[0].is_string() && made.iter().all(|link| *link == made[0]), "{links}");
    let later = app.get(&format!("{LINK}{}", escaped(&format!("{ITEM}?gatewayAdapt=glo2esp"))));
    assert_eq!(each(&data(&later), "status"), ["cached"]);
    assert_eq!(app.upstream.calls_of("link.generate"), 1);
}

#[test]
fn a_second_address_in_one_text_is_refused() {
    let app = TestApp::start();
    let one = "https://www.aliexpress.com/item/1005006651207669.html";
    let other = "https://www.aliexpress.com/item/1005006993793752798.html";
    for between in [",", " ", "\n"] {
        let both = format!("{one}{between}{other}");
        for urls in [json!([both]), json!(both)] {
            let links = data(&app.post(LINKS, &json!({"urls": urls})));
            assert_eq!(each(&links, "affiliate_url"), [Value::Null], "{links}");
            assert!(each(&links, "reason")[0].as_str().unwrap().contains("one address each"));
        }
        for field in ["/api/affiliate/link?url", "/api/smart-match?product_url"] {
            let refusal = app.get(&format!("{field}={}", escaped(&both)));
            let refusal = refused(&refusal, 400, "invalid_request");
            assert!(sentence(&refusal).contains("one address each"), "{refusal}");
        }
    }
    let twice = app.get("/api/affiliate/link?url=a&url=b");
    let refusal = refused(&twice, 400, "invalid_request");
    assert!(sentence(&refusal).contains("given more than once"), "{refusal}");
}

#[test]
fn a_link_that_cannot_be_made_is_no_success() {
    let app = TestApp::start();
    let foreign =
        refused(&app.get(&format!("{LINK}https://www.amazon.com/dp/B01")), 422, "unprocessable");
    assert!(
        sentence(&foreign).contains("is not at this shop; allowed: an http or https address"),
        "{foreign}"
    );
    let forged = format!("{LINK}https://aliexpress.com.evil.example/item/1.html");
    refused(&app.get(&forged), 422, "unprocessable");
    assert_eq!(app.upstream.calls(), 0, "not worth a call");
    let short = app.get(&format!("{LINK}https://a.aliexpress.com/_EQPyrLx"));
    let short = refused(&short, 422, "unprocessable");
    assert!(sentence(&short).starts_with("url: the upstream makes no affiliate link"), "{short}");
    assert!(
        sentence(&short).ends_with("allowed: the address of the page that it opens"),
        "{short}"
    );
    assert_eq!(app.upstream.calls_of("link.generate"), 1);

    let links =
        asked(&app, &["https://www.amazon.com/dp/B01", "x", ITEM, "https://a.aliexpress.com/_E"]);
    assert_eq!(each(&links, "status"), ["failed", "failed", "generated", "failed"]);
    let reasons = each(&links, "reason");
    assert!(reasons.iter().map(Value::is_string).eq([true, true, false, true]), "{links}");
    assert!(each(&links, "affiliate_url").iter().map(Value::is_null).eq([true, true, false, true]));
    assert_eq!((&links["failed_count"], app.upstream.calls_of("link.generate")), (&json!(3), 2));
    let none = asked(&app, &["https://www.amazon.com/dp/B01", ""]);
    assert_eq!(none["failed_count"], 2);
}

#[test]
fn smart_match_reads_ids_in_every_form() {
    let app = TestApp::start();
    let item = "https%3A%2F%2Fvi.aliexpress.com%2Fitem%2F1005006860981590.html";
    for url in [
        format!("https://star.aliexpress.com/share/share.htm?redirectUrl={item}"),
        "https://m.aliexpress.com/p/coin-index/index.html?productIds=1005006860981590".to_owned(),
        "https://www.aliexpress.com/ssr/1/B?productIds=1005006860981590:12000,7".to_owned(),
        "m.de.aliexpress.com/i/1005006860981590.html".to_owned(),
    ] {
        let matched = data(&app.get(&format!("/api/smart-match?product_url={}", escaped(&url))));
        assert_eq!(matched["product_id"], "1005006860981590", "{url}");
    }
    let short = "/api/smart-match?product_url=https://a.aliexpress.com/_EQPyrLx";
    refused(&app.get(short), 400, "invalid_request");
    let foreign = "/api/smart-match?product_url=https://www.amazon.com/item/7.html";
    refused(&app.get(foreign), 400, "invalid_request");
}
