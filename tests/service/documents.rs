//! The OpenAPI documents as an importer meets them: whole addresses, and examples that are answered.

use serde_json::{Map, Value, json};

use crate::envelope::{data, refused};
use crate::support::http::Answer;
use crate::test_app::TestApp;

const KEY: &str = "shop-key-shop-key-shop-key";
const DOCUMENTS: [&str; 2] = ["/openapi.json", "/openapi-gpt.json"];

fn server(answer: &Answer) -> String {
    let servers = answer.json()["servers"].clone();
    assert_eq!(servers.as_array().map(Vec::len), Some(1), "{servers}");
    servers[0]["url"].as_str().unwrap().to_owned()
}

#[test]
fn the_address_is_the_one_that_is_set() {
    let app = TestApp::with(&[("PUBLIC_URL", "https://api.shop.example/gateway/")]);
    for path in DOCUMENTS {
        let answer = app.connection().with_header("x-forwarded-host", "evil.example").get(path);
        assert_eq!(server(&answer.unwrap()), "https://api.shop.example/gateway");
    }
}

#[test]
fn the_address_is_what_a_trusted_proxy_tells_and_nobody_else() {
    let trusting = TestApp::with(&[("TRUSTED_PROXIES", "127.0.0.1")]);
    let wary = TestApp::start();
    for path in DOCUMENTS {
        let ask = |app: &TestApp| {
            let connection = app.connection().with_header("x-forwarded-proto", "https");
            connection.with_header("x-forwarded-host", "api.shop.example").get(path).unwrap()
        };
        let told = ask(&trusting);
        assert_eq!(server(&told), "https://api.shop.example");
        assert_eq!(server(&trusting.get(path)), format!("http://{}", trusting.address()));
        assert_eq!(server(&ask(&wary)), "/");
        assert_ne!(told.header("etag"), trusting.get(path).header("etag"));
        let vary = told.headers.iter().filter(|(name, _)| name == "vary");
        let vary: Vec<_> = vary.map(|(_, value)| value.as_str()).collect();
        assert!(vary.concat().contains("x-forwarded-host"), "{vary:?}");
    }
}

#[test]
fn stored_keys_and_cached_keys_are_described_apart() {
    let document = TestApp::start().get("/openapi.json").json();
    let answer = |path: &str| {
        let ok = &document["paths"][path]["get"]["responses"]["200"];
        ok["content"]["application/json"]["schema"]["$ref"].as_str().unwrap().to_owned()
    };
    assert_ne!(answer("/admin/keys"), answer("/admin/cache/keys"));
    assert!(document["paths"]["/api/categories"]["get"]["responses"]["400"].is_object());
}

#[test]
fn every_operation_says_who_may_use_it() {
    let document = TestApp::start().get("/openapi.json").json();
    let known = document["components"]["securitySchemes"].as_object().unwrap().clone();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let needs = operation["security"].as_array();
            let needs = needs.unwrap_or_else(|| panic!("{method} {path} says nothing"));
            for name in needs.iter().flat_map(|one| one.as_object().unwrap().keys()) {
                assert!(known.contains_key(name), "{method} {path}: {name}");
            }
        }
    }
}

/// The example of a schema, or of what it refers to.
fn example(document: &Value, schema: &Value) -> Option<Value> {
    let target = schema["$ref"].as_str().and_then(|place| document.pointer(&place[1..]));
    let schema = target.unwrap_or(schema);
    let listed = |name: &str| schema[name].get(0).cloned();
    let told = schema.get("example").cloned().or_else(|| listed("examples"));
    told.or_else(|| schema.get("default").cloned()).or_else(|| listed("enum"))
}

fn in_url(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn examples_are_answered_by_the_simulator() {
    let app = TestApp::with(&[("INTERNAL_API_KEY", KEY)]);
    let document = app.get("/openapi.json").json();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if ["Admin", "Chaos"].iter().any(|tag| operation["tags"][0] == *tag) {
                continue;
            }
            let (mut target, mut query) = (path.clone(), Vec::new());
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                // A header field that all of a kind have in common.
                let Some(name) = parameter["name"].as_str() else { continue };
                let own = parameter.get("example").cloned();
                let value = own.or_else(|| example(&document, &parameter["schema"]));
                match (parameter["in"].as_str(), value) {
                    (Some("path"), value) => {
                        let value =
                            value.unwrap_or_else(|| panic!("{path}: {name} has no example"));
                        target = target.replace(&format!("{{{name}}}"), &in_url(&value));
                    }
                    (_, Some(value)) => query.push(format!("{name}={}", in_url(&value))),
                    (_, None) => assert_ne!(parameter["required"], true, "{path}: {name}"),
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let form = body.as_str().and_then(|place| document.pointer(&place[1..]));
            let fields = form.and_then(|form| form["properties"].as_object()).into_iter().flatten();
            let fields = fields
                .filter_map(|(name, schema)| Some((name.clone(), example(&document, schema)?)));
            let body = match form {
                Some(_) => json!(fields.collect::<Map<_, _>>()).to_string(),
                None => String::new(),
            };
            if !query.is_empty() {
                target = format!("{target}?{}", query.join("&"));
            }
            let connection = app.connection().with_header("x-internal-key", KEY);
            let mut connection = connection.with_header("content-type", "application/json");
            let method = method.to_uppercase();
            let answer = connection.send(&method, &target, body.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{method} {target} {body}: {}", answer.text());
            let nothing = ["total_record_count", "returned_count"];
            let nothing = nothing.iter().any(|name| answer.json()["data"][name] == 0);
            assert!(!nothing, "{method} {target} {body}: {}", answer.text());
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
}

#[test]
fn the_root_shows_where_to_go() {
    let app = TestApp::start();
    let answer = app.get("/");
    let start = data(&answer);
    assert_eq!(start["api_integration"], "live");
    assert_eq!(start["links"]["admin"], "/admin");
    let links = start["links"].as_object().unwrap().values();
    let paths: Vec<_> = links.chain(start["examples"].as_array().unwrap()).collect();
    let paths: Vec<_> = paths.into_iter().filter_map(Value::as_str).collect();
    for path in ["/docs", "/openapi.json", "/health", "/metrics"] {
        assert!(paths.contains(&path), "{path}");
    }
    let accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = app.connection().with_header("accept", accept).get("/").unwrap();
    assert!(page.status == 200 && page.header("content-type") == Some("text/html; charset=utf-8"));
    for path in paths {
        assert_eq!(app.get(path).status, 200, "{path}");
        // From where the page is, also behind a proxy that puts something in front.
        assert!(page.text().contains(&format!("href=\"{}\"", &path[1..])), "{path}");
    }
    for answer in [&answer, &page] {
        let varies = |field: &(String, String)| field.0 == "vary" && field.1 == "accept";
        assert!(answer.headers.iter().any(varies), "{:?}", answer.headers);
    }
    assert_ne!(answer.header("etag"), page.header("etag"));
    refused(&app.post("/", &Value::Null), 405, "method_not_allowed");
}
