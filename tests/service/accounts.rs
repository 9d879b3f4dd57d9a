//! Several accounts at the upstream, as an operator sets and sees them.

use std::net::SocketAddr;

use breakwater::clock;
use breakwater::config::Secret;
use breakwater::origin::{Origin, Request};
use breakwater::services::products::aliexpress::{AliExpress, Request as Question};
use breakwater::services::products::endpoints::links::METHOD;
use breakwater::services::products::settings;
use breakwater::services::products::simulator::{Credentials, DEMO_APP_KEY};
use serde_json::{Value, json};

use crate::envelope::data;
use crate::support::gateway::{Plan, breakwater, simulate};
use crate::support::http::Connection;
use crate::test_app::{TestApp, Upstream};

const SECRET: &str = "second-secret-that-must-not-show";

const ACCOUNTS: &str = "ALIEXPRESS_ACCOUNTS_JSON";
const SECOND: &str = r#"[{"app_key":"500002","app_secret":"second-secret-that-must-not-show","tracking_id":"shop-two"}]"#;

/// A simulator that knows the second account, too.
fn upstream() -> Upstream {
    let second = Credentials {
        app_key: "500002".to_owned(),
        app_secret: SECRET.to_owned(),
        tracking_id: "shop-two".to_owned(),
    };
    Upstream::knowing(vec![Credentials::demonstration(), second])
}

/// Every setting's name and shown value.
fn shown(config: &Value) -> Vec<(&str, &str)> {
    let settings = config.as_array().expect("a list").iter();
    settings
        .map(|one| (one["name"].as_str().expect("a name"), one["value"].as_str().unwrap_or("none")))
        .collect()
}

#[test]
fn every_mistake_in_the_accounts_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = "[upstream]\napp_key = 1\napp_secret = 's'\n\
        [[upstream.accounts]]\napp_key = 1\napp_secret = 's'\n\
        [[upstream.accounts]]\napp_key = 2\n";
    std::fs::write(folder.path().join("breakwater.toml"), file).unwrap();
    let old = [("ALIEXPRESS_APP_SECRET_2", SECRET)];
    for command in ["serve", "check-config", "simulate"] {
        let output = breakwater(folder.path()).arg(command).envs(old).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
        let complaint = String::from_utf8(output.stderr).unwrap();
        for words in [
            "upstream.accounts = [hidden]: expected a JSON list of up to 3 objects",
            "[1].app_secret is missing",
            "ALIEXPRESS_APP_SECRET_2: expected no such setting; it was removed: list",
        ] {
            assert!(complaint.contains(words), "{words}\n{complaint}");
        }
        assert!(complaint.contains("2 mistakes") && !complaint.contains(SECRET), "{complaint}");
    }
}

#[test]
fn a_further_account_is_shown_without_its_secret() {
    let app = TestApp::before(upstream(), &[(ACCOUNTS, SECOND)]);
    for number in 0..4 {
        data(&app.get(&format!("/api/products/search?keywords=usb&min_sale_price={number}")));
    }
    let calls = [DEMO_APP_KEY, "500002"].map(|app_key| app.upstream.calls_by(app_key));
    assert_eq!(calls, [2, 2], "they are used in turn");
    let config = app.admin().get("/admin/config").unwrap();
    let settings = data(&config);
    let settings = shown(&settings);
    let hidden = SECOND.replace(SECRET, "[hidden]");
    assert!(settings.contains(&(ACCOUNTS, hidden.as_str())), "{settings:?}");
    assert!(!config.text().contains(SECRET) && !app.log().contains(SECRET));
}

#[test]
fn the_process_says_nothing_of_a_further_secret() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), upstream());
    let checked = breakwater(folder.path())
        .arg("check-config")
        .envs([("ALIEXPRESS_APP_KEY", "1"), ("ALIEXPRESS_APP_SECRET", SECRET)])
        .env("ALIEXPRESS_TRACKING_ID", "shop")
        .env(ACCOUNTS, SECOND)
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.status.success() && checked.stderr.is_empty(), "{said}");
    assert!(said.contains(ACCOUNTS) && said.contains("shop-two"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    let plan = Plan::in_folder(folder.path()).before(upstream.address).with("LOG_LEVEL", "debug");
    let gateway = plan.with(ACCOUNTS, SECOND).start();
    data(&gateway.connection().get("/api/products/search?keywords=usb").unwrap());
    gateway.stop();
    let log = std::fs::read_to_string(folder.path().join("gateway.log")).unwrap();
    assert!(!log.is_empty() && !log.contains(SECRET), "{log}");
}

fn accounts(app: &TestApp) -> Vec<Value> {
    let status = data(&app.get("/api/status"));
    status["upstream_accounts"].as_array().cloned().expect("a list")
}

fn upstream_health(app: &TestApp) -> Value {
    let report = data(&app.get("/health/detailed"));
    let components = report["components"].as_array().expect("components").clone();
    components.into_iter().find(|component| component["name"] == "upstream").expect("upstream")
}

fn search(app: &TestApp, number: u32) {
    data(&app.get(&format!("/api/products/search?keywords=usb&max_sale_price={number}")));
}

/// Two accounts, quick enough and with a budget to count on; a question is asked twice at most.
fn two() -> TestApp {
    let mut settings = vec![(ACCOUNTS, SECOND)];
    settings.extend([("UPSTREAM_DAILY_BUDGET", "100"), ("UPSTREAM_RATE_PER_SECOND", "1000")]);
    settings.push(("RETRY_MAX_ATTEMPTS", "2"));
    TestApp::before(upstream(), &settings)
}

/// What one of them has lost, the other goes on without, and an admin sees and moves each.
#[test]
fn one_whose_breaker_is_open_is_done_without() {
    let app = two();
    let moved = app.admin().send("POST", "/admin/breakers/upstream_2/open", b"").unwrap();
    assert_eq!(data(&moved)["state"], "open");
    (10..14).for_each(|number| search(&app, number));
    assert_eq!(app.upstream.calls_by("500002"), 0);
    let health = upstream_health(&app);
    assert_eq!(health["status"], "degraded", "{health}");
    let told = accounts(&app);
    let words = |name: &str| told.iter().map(|one| one[name].clone()).collect::<Vec<_>>();
    assert_eq!(words("name"), ["upstream", "upstream_2"]);
    assert_eq!(words("circuit_breaker"), ["closed", "open"]);
    assert_eq!(words("budget_remaining"), [96, 100]);
    assert_eq!(data(&app.get("/api/status"))["circuit_breaker"], "closed");
    assert!((app.metric("upstream_budget_remaining") - 196.0).abs() < 0.1);
    let series = "upstream_account_budget_remaining{account=\"upstream\"}";
    assert!((app.metric(series) - 96.0).abs() < 0.1);
    app.admin().send("POST", "/admin/breakers/upstream_2/reset", b"").unwrap();
    (20..24).for_each(|number| search(&app, number));
    assert_eq!(app.upstream.calls_by("500002"), 2);
}

#[test]
fn one_whose_key_is_wrong_is_told_and_done_without() {
    let app = two();
    let wrong = json!({"fault": "error", "code": "InvalidAppKey", "app_key": "500002"});
    app.upstream.fails_with(&wrong);
    (20..24).for_each(|number| search(&app, number));
    assert_eq!(app.upstream.calls_by("500002"), 1, "asked once, and then left alone");
    let health = upstream_health(&app);
    let detail = health["detail"].as_str().expect("detail");
    assert_eq!(health["status"], "degraded", "{health}");
    assert!(
        detail.contains("upstream_2: ") && detail.contains("ALIEXPRESS_ACCOUNTS_JSON [0].app_key"),
        "{detail}"
    );
    assert_eq!(data(&app.get("/api/status"))["upstream_problems"][0]["account"], "upstream_2");
}

/// A restart forgets of neither what it has spent, and who was replaced begins anew.
#[test]
fn what_each_has_spent_is_kept_by_its_key() {
    let app = two();
    (10..14).for_each(|number| search(&app, number));
    let left = |app: &TestApp| {
        let left = accounts(app).into_iter().map(|one| one["budget_remaining"].clone());
        left.collect::<Vec<_>>()
    };
    assert_eq!(left(&app), [98, 98]);
    let app = app.restart();
    assert_eq!(left(&app), [98, 98]);
    search(&app, 20);
    assert_eq!(left(&app), [97, 98]);
}

/// What the simulator answers to a signed call.
fn ask(simulator: SocketAddr, signed: &Request) -> Value {
    let form = "application/x-www-form-urlencoded;charset=utf-8";
    let mut connection = Connection::to(simulator).with_header("content-type", form);
    connection.send("POST", "/sync", &signed.body).unwrap().json()
}

#[test]
fn the_simulator_alone_knows_every_account_with_its_tracking_id() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!(
        "[upstream]\napp_key = 500001\napp_secret = 'first'\ntracking_id = 'shop'\n\
         [[upstream.accounts]]\napp_key = '500002'\napp_secret = '{SECRET}'\n\
         tracking_id = 'shop-two'\n\
         [[upstream.accounts]]\napp_key = '500003'\napp_secret = 'third'\n"
    );
    std::fs::write(folder.path().join("breakwater.toml"), file).unwrap();
    let simulator = simulate(folder.path(), None);
    let address = simulator.address;
    let source = "https://www.aliexpress.com/item/1005000000000001.html".to_owned();
    let request = Question::of(&METHOD)
        .set("promotion_link_type", 0)
        .set("source_values", source)
        .set("tracking_id", "shop");
    let account = |key: &str, secret: &str| {
        let app_secret = Secret::new(secret);
        AliExpress::new(
            settings::Credentials { app_key: key.to_owned(), app_secret },
            "http://unused/sync",
        )
    };
    let links = |account: &AliExpress| {
        let answer = ask(address, &account.request(&request, clock::now()));
        let result =
            &answer["aliexpress_affiliate_link_generate_response"]["resp_result"]["result"];
        assert!(result.is_object(), "{answer}");
        let links = result["promotion_links"]["promotion_link"].as_array().map_or(0, Vec::len);
        (links, result["tracking_id"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(links(&account("500001", "first")), (1, "shop".to_owned()));
    let second = || account("500002", SECRET);
    assert_eq!(links(&second()), (0, "shop".to_owned()), "it knows its own id only");
    let own = second().with_tracking_id(Some("shop-two".to_owned()));
    assert_eq!(links(&own), (1, "shop-two".to_owned()));
    assert_eq!(links(&account("500003", "third")), (1, "shop".to_owned()));
    let stats = simulator.connection().get("/__simulator/stats").unwrap().json();
    assert_eq!(stats["accounts"]["500002"], 2);
    assert_eq!(stats["bad_signatures"], 0);
    simulator.stop();
}
