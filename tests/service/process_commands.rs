//! The binary's commands: what they print and how they end.

use std::path::Path;
use std::process::{Command, Output};

use crate::collector::{Collector, Says};
use crate::support::gateway::breakwater;
use crate::support::redis::Redis;
use crate::test_app::Upstream;

fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (i32, String, String) {
    let mut command: Command = breakwater(folder);
    let output: Output = command.args(arguments).envs(settings.to_vec()).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("texts are UTF-8");
    let status = output.status.code().expect("it was not killed");
    (status, text(output.stdout), text(output.stderr))
}

#[test]
fn bad_settings_stop_the_start_with_every_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("API_PORT", "eighty"),
        ("UPSTREAM_TIMEOUT_MS", "-5"),
        ("ALIEXPRESS_APP_SECRET", "do-not-show-me-anywhere"),
        ("CACHE_TTL", "soon"),
        ("REDIS_URL", "http://localhost"),
        ("LOG_LEVEL", "loud"),
    ];
    let everywhere: [&[&str]; 5] = [
        &[],
        &["serve"],
        &["check-config"],
        &["migrate"],
        &["simulate", "--listen", "127.0.0.1:0"],
    ];
    for arguments in everywhere {
        let (status, said, complaint) = run(folder.path(), arguments, &settings);
        assert_eq!((status, said.as_str()), (2, ""), "{arguments:?}");
        for name in [
            "API_PORT",
            "UPSTREAM_TIMEOUT_MS",
            "ALIEXPRESS_APP_KEY",
            "CACHE_TTL",
            "REDIS_URL",
            "LOG_LEVEL",
        ] {
            assert!(complaint.contains(name), "{name} is not named by {arguments:?}:\n{complaint}");
        }
        assert!(complaint.contains("eighty") && complaint.contains("expected"), "{complaint}");
        assert!(!complaint.contains("do-not-show-me"), "{complaint}");
    }
}

#[test]
fn a_file_and_its_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("breakwater.toml"), "[server]\nport = 0\nprot = 1\n")
        .unwrap();
    let (status, _, complaint) = run(folder.path(), &["check-config"], &[]);
    assert_eq!(status, 2);
    assert!(complaint.contains("line 3") && complaint.contains("prot"), "{complaint}");
    let (status, _, complaint) =
        run(folder.path(), &["--config", "none.toml", "check-config"], &[]);
    assert_eq!(status, 2);
    assert!(complaint.contains("none.toml"), "{complaint}");
}

#[test]
fn good_settings_are_shown_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("breakwater.toml"), "[server]\nport = 8123\n").unwrap();
    let settings = [("ADMIN_API_KEY", "do-not-show-me-anywhere"), ("HTTP_WORKERS", "3")];
    let (status, said, complaint) = run(folder.path(), &["check-config"], &settings);
    assert_eq!((status, complaint.as_str()), (0, ""));
    for words in ["API_PORT", "8123", "(file)", "HTTP_WORKERS", "(environment)", "(default)"] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!said.contains("do-not-show-me"), "{said}");
}

#[test]
fn wrong_usage_and_help() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in
        [&["dance"][..], &["--listen"], &["simulate", "--listen", "here"], &["serve", "-x"]]
    {
        let (status, _, complaint) = run(folder.path(), wrong, &[]);
        assert_eq!(status, 2, "{wrong:?}");
        assert!(!complaint.is_empty());
    }
    let (status, said, _) = run(folder.path(), &["--version"], &[]);
    assert_eq!((status, said.trim()), (0, concat!("breakwater ", env!("CARGO_PKG_VERSION"))));
    let (status, said, _) = run(folder.path(), &["--help"], &[]);
    assert_eq!(status, 0);
    for command in ["serve", "simulate", "check-config", "migrate", "openapi"] {
        assert!(said.contains(command), "{said}");
    }
}

#[test]
fn migrating_an_empty_folder_twice() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (status, said, complaint) = run(folder.path(), &["migrate"], &[]);
        assert_eq!((status, complaint.as_str()), (0, ""));
        assert!(said.contains("breakwater.db is up to date"), "{said}");
    }
    assert!(folder.path().join("breakwater.db").exists());
    let (status, said, _) = run(folder.path(), &["migrate", "--down"], &[]);
    assert!(status == 0 && said.contains("took back"), "{said}");
    let (status, _, complaint) =
        run(folder.path(), &["migrate"], &[("DATABASE_URL", "sqlite:///nowhere/at/all/x.db")]);
    assert_eq!(status, 1);
    assert!(!complaint.is_empty());
}

#[test]
fn the_documents_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["openapi"][..], &["openapi", "--gpt"]] {
        let (status, said, _) = run(folder.path(), arguments, &[]);
        assert_eq!(status, 0);
        let document: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(document["servers"][0]["url"], "/", "relative, while nobody says more");
        let settings = [
            ("PUBLIC_URL", "https://api.shop.example/gateway/"),
            ("REQUIRE_API_KEY", "true"),
            ("INTERNAL_API_KEY", "shop-key-shop-key-shop-key"),
        ];
        let (status, said, _) = run(folder.path(), arguments, &settings);
        assert_eq!(status, 0);
        let document: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(document["servers"][0]["url"], "https://api.shop.example/gateway");
        let search = &document["paths"]["/api/products/search"]["get"];
        let security = search["security"].as_array().or(document["security"].as_array()).unwrap();
        assert!(!security.contains(&serde_json::json!({})), "{security:?}");
        assert!(!said.contains("shop-key"), "no secret is in a document");
    }
    let (status, _, complaint) = run(folder.path(), &["openapi"], &[("PUBLIC_URL", "shop")]);
    assert!(status == 2 && complaint.contains("PUBLIC_URL"), "{complaint}");
}

#[test]
fn an_address_that_is_taken_is_a_failure_and_not_a_hang() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, said, complaint) = run(folder.path(), &["serve"], &[("API_PORT", &port)]);
    assert_eq!((status, said.as_str()), (1, ""), "{complaint}");
    let last = complaint.lines().last().unwrap_or_default();
    assert!(last.starts_with("breakwater: "), "{complaint}");
}

#[test]
fn what_serve_cannot_start_with_is_a_mistake_for_both() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("LOG_FILE", "/dev/null/breakwater.log"),
        ("LAST_RESORT_CATALOG", "missing.jsonl"),
        ("API_HOST", "192.0.2.1"),
        ("METRICS_LISTEN", "192.0.2.1:9100"),
        ("METRICS_LISTEN", "0.0.0.0:8080"),
        ("METRICS_LISTEN", "9100"),
    ] {
        for command in ["check-config", "serve"] {
            let (status, said, complaint) = run(folder.path(), &[command], &[(name, value)]);
            assert_eq!((status, said.as_str()), (2, ""), "{command} with {name}");
            let complaint = complaint.replace('"', "");
            assert!(complaint.contains(&format!("{name} = {value}: expected")), "{complaint}");
        }
    }
}

#[test]
fn names_that_are_nearly_settings_are_told_and_quotes_are_no_part_of_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("RATE_LIMIT_PER_MINUTE", "5"),
        ("API_PORT", "\"8124\""),
        ("ADMIN_API_KEY", "'0123456789abcdef0123'"),
        ("UPSTREAM_TIMEOUT_MS", "9000"),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
    ];
    let (status, said, complaint) = run(folder.path(), &["check-config"], &settings);
    assert_eq!((status, complaint.as_str()), (0, ""));
    for words in [
        "but: RATE_LIMIT_PER_MINUTE is no setting and changes nothing; did you mean",
        "but: UPSTREAM_TIMEOUT_MS is longer than REQUEST_TIMEOUT_MS",
        "8124  (environment)",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!said.contains("HTTP_PROXY is"), "{said}");
}

#[test]
fn with_connect_every_part_is_tried_and_told() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let (redis, collector) = (Redis::start(), Collector::saying(Says::Status(200)));
    let gateway_url = format!("http://{}/sync", upstream.address);
    let redis_url = redis.url();
    let mut settings = vec![
        ("ALIEXPRESS_APP_KEY", "500001"),
        ("ALIEXPRESS_APP_SECRET", "breakwater-demonstration-secret"),
        ("ALIEXPRESS_GATEWAY_URL", gateway_url.as_str()),
        ("REDIS_URL", redis_url.as_str()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
    ];
    let (status, said, _) = run(folder.path(), &["check-config", "--connect"], &settings);
    assert_eq!(status, 0, "{said}");
    assert!(said.starts_with("ok: 4 tried, and none failed\n"), "{said}");
    for words in [
        "database breakwater.db: ok (DATABASE_URL): there is no file yet",
        "redis: ok (REDIS_URL): answers and takes writes",
        "collector of traces: ok (OTEL_EXPORTER_OTLP_ENDPOINT): takes spans",
        "account upstream: ok (ALIEXPRESS_APP_KEY): answered",
    ] {
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!folder.path().join("breakwater.db").exists(), "it only looks");
    redis.stop();
    collector.says(Says::Status(404));
    settings[1].1 = "another-secret-than-that";
    std::fs::write(folder.path().join("breakwater.db"), "no database").unwrap();
    let (status, said, _) = run(folder.path(), &["check-config", "--connect"], &settings);
    assert_eq!(status, 1, "{said}");
    assert!(said.starts_with("failed: 4 of the 4 that were tried\n"), "{said}");
    assert_eq!(said.matches(": failed (").count(), 4, "{said}");
    assert!(said.contains("answers with status 404; what to do: "), "{said}");
    assert!(said.contains("write rediss:// instead of redis://"), "{said}");
    assert!(!said.contains("another-secret"), "{said}");
}

#[test]
fn with_connect_a_tracking_id_that_the_upstream_does_not_know_is_noticed() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), Upstream::start());
    let gateway_url = format!("http://{}/sync", upstream.address);
    let mut settings = [
        ("ALIEXPRESS_APP_KEY", "500001"),
        ("ALIEXPRESS_APP_SECRET", "breakwater-demonstration-secret"),
        ("ALIEXPRESS_GATEWAY_URL", gateway_url.as_str()),
        ("ALIEXPRESS_TRACKING_ID", "breakwater"),
    ];
    let (status, said, _) = run(folder.path(), &["check-config", "--connect"], &settings);
    assert_eq!(status, 0, "{said}");
    settings[3].1 = "nobodys";
    let (status, said, _) = run(folder.path(), &["check-config", "--connect"], &settings);
    let account = said.lines().find(|line| line.starts_with("account upstream: failed")).unwrap();
    assert_eq!(status, 1, "{said}");
    assert!(account.contains("our configuration (tracking_id)"), "{account}");
}

#[test]
fn what_is_good_and_unwise_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let key = "the-same-for-everybody";
    for (settings, words) in [
        (
            &[("API_PORT", port.as_str())][..],
            format!("but: API_HOST, API_PORT: 127.0.0.1:{port} is in use"),
        ),
        (
            &[("ADMIN_API_KEY", key), ("INTERNAL_API_KEY", key)],
            "but: INTERNAL_API_KEY is the same as ADMIN_API_KEY".to_owned(),
        ),
        (&[("REQUIRE_API_KEY", "true")], "but: REQUIRE_API_KEY is on, and neither".to_owned()),
    ] {
        let (status, said, _) = run(folder.path(), &["check-config"], settings);
        assert_eq!((status, said.matches(&words).count()), (0, 1), "{words} in\n{said}");
    }
    let free = [("API_PORT", "0"), ("REQUIRE_API_KEY", "true"), ("ADMIN_API_KEY", key)];
    let (_, said, _) = run(folder.path(), &["check-config"], &free);
    assert!(!said.contains("but: "), "{said}");
}
