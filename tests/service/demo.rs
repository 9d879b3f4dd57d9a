//! `breakwater demo`: it starts with nothing set, its link signs in once, its clients are bounded and see
//! no error in an outage, and it refuses to run where an account is configured.

use std::fs;
use std::time::Duration;

use breakwater::app::demo::shoppers::MOST_PER_SECOND;
use breakwater::clock::monotonic;
use serde_json::{Value, json};

use crate::envelope::{data, refused};
use crate::support::gateway::{Running, breakwater, demo};
use crate::support::http::Answer;
use crate::support::process::wait_until;

const SOON: Duration = Duration::from_secs(10);

fn sign_in(demo: &Running, form: &Value) -> Answer {
    let mut page = demo.connection().with_header("content-type", "application/json");
    page.send("POST", "/admin/session", form.to_string().as_bytes()).unwrap()
}

/// The sum of a family's series that have all of these words.
fn count(demo: &Running, family: &str, words: &[&str]) -> f64 {
    let text = demo.connection().get("/metrics").unwrap().text();
    let lines = text.lines().filter(|line| line.starts_with(family));
    let lines = lines.filter(|line| words.iter().all(|word| line.contains(word)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

const REQUESTS: &str = "http_requests_total{";

#[test]
fn the_link_signs_in_once_and_the_key_as_often_as_one_likes() {
    let folder = tempfile::tempdir().unwrap();
    let (demo, key, link) = demo(folder.path());
    let (page, token) = link.split_once("#login=").unwrap();
    assert_eq!(page, format!("http://{}/admin", demo.address));
    assert!(!link.contains(&key));
    let token = json!({"login": token});
    let answer = sign_in(&demo, &token);
    assert_eq!(answer.status, 204, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let mut page = demo.connection().with_header("cookie", &cookie);
    assert_eq!(data(&page.get("/admin/live").unwrap())["access"], "full");
    let error = refused(&sign_in(&demo, &token), 403, "forbidden");
    assert!(error.to_string().contains("used before or is too old"), "{error}");
    assert_eq!(sign_in(&demo, &json!({"key": key})).status, 204);
    // The token is no key, and a wrong one is a wrong guess.
    refused(&sign_in(&demo, &json!({"key": token["login"]})), 403, "forbidden");
    assert!((count(&demo, "admin_auth_failures_total", &["wrong"]) - 2.0).abs() < 0.1);
    demo.stop();
    // What it stored is gone with it.
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["demo.log"]);
}

#[test]
fn its_clients_are_bounded_and_do_not_notice_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut demo, key, _) = demo(folder.path());
    let mut admin = demo.connection().with_header("x-admin-key", &key);
    admin = admin.with_header("content-type", "application/json");
    let mut faults = |rules: &Value| {
        let body = json!({"rules": rules}).to_string();
        let path = "/admin/simulator/faults";
        assert_eq!(admin.send("POST", path, body.as_bytes()).unwrap().status, 200);
    };
    let (begun, before) = (monotonic(), count(&demo, REQUESTS, &["/api/"]));
    assert!(before > 100.0, "everything was asked before the link was printed: {before}");
    let calls = count(&demo, "upstream_calls_total", &["ok"]);
    assert!(calls > 50.0, "{calls}");
    wait_until("the upstream is asked again", 2 * SOON, || {
        count(&demo, "upstream_calls_total", &["ok"]) > calls + 3.0
    });
    faults(&json!([{"method": "*", "share": 1.0, "fault": "status", "status": 503}]));
    let open = "circuit_breaker_state{name=\"upstream\"}";
    wait_until("the breaker opens", SOON, || (count(&demo, open, &[]) - 1.0).abs() < 0.1);
    wait_until("clients get what is stale", SOON, || {
        count(&demo, "cache_served_age_seconds_count", &[]) > 0.0
            && count(&demo, REQUESTS, &["/api/"]) > before + 60.0
    });
    let asked = count(&demo, REQUESTS, &["/api/"]) - before;
    let most = f64::from(u32::try_from(MOST_PER_SECOND).unwrap());
    assert!(asked <= most * (begun.elapsed().as_secs_f64() + 1.0), "{asked}");
    let errors = count(&demo, REQUESTS, &["/api/", "status=\"4"])
        + count(&demo, REQUESTS, &["/api/", "status=\"5"]);
    assert!(errors < 0.1, "{errors}");
    faults(&json!([]));
    wait_until("the breaker closes", 2 * SOON, || count(&demo, open, &[]) < 0.1);
    demo.process.ask_to_end();
    let said =
        demo.process.line(SOON, |line| line.starts_with("clients asked ").then(|| line.to_owned()));
    assert!(said.ends_with(" and got 0 errors"), "{said}");
    assert!(demo.process.wait().success());
}

#[test]
fn it_does_not_run_where_something_live_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let account = [("ALIEXPRESS_APP_KEY", "123456"), ("ALIEXPRESS_APP_SECRET", "do-not-show-me")];
    let accounts = r#"[{"app_key": "1", "app_secret": "do-not-show-me"}]"#;
    for set in [
        &account[..],
        &[("ALIEXPRESS_GATEWAY_URL", "http://127.0.0.1:9090/sync")],
        &[("ALIEXPRESS_TRACKING_ID", "mine")],
        &[account[0], account[1], ("ALIEXPRESS_ACCOUNTS_JSON", accounts)],
    ] {
        let mut command = breakwater(folder.path());
        let output = command.arg("demo").envs(set.to_vec()).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{complaint}");
        for (name, _) in set {
            assert!(complaint.contains(name), "{name} in {complaint}");
        }
        assert!(complaint.contains("demo") && !complaint.contains("do-not-show-me"), "{complaint}");
    }
    // The file counts as well.
    let file = "[upstream]\ngateway_url = \"https://api.example.com/sync\"\n";
    fs::write(folder.path().join("breakwater.toml"), file).unwrap();
    let output = breakwater(folder.path()).arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
