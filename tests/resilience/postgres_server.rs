//! A server of Postgres that stops, dies, hangs and comes back, under gateways that go on.
//!
//! Owns: the rules of promises P7, P10 and P20 for Postgres. No request fails while memory or the upstream
//! can answer; what was stored is found after a restart; several gateways make the tables once and agree
//! within a second; it is connected to again without anybody's help.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use breakwater::clock;
use breakwater::database::{Store, describe};
use serde_json::json;

use crate::database_engines::settings;
use crate::pair::{Instance, Upstream, get, search, until};
use crate::support::postgres::{PASSWORD, Postgres};

const COLD: (&str, &str) = ("CACHE_WARM_KEYS", "0");

fn on(server: &Postgres, upstream: &Upstream) -> Instance {
    Instance::start(upstream, None, &[COLD, ("DATABASE_URL", server.url().as_str())])
}

pub(crate) fn rows(server: &Postgres) -> usize {
    server.sql("SELECT count(*) FROM cache_entries").parse().unwrap()
}

/// What the gateway says of its database: an empty text while all is well.
pub(crate) fn trouble(instance: &Instance) -> String {
    let health = instance.get("/health/detailed").json();
    let all = health["data"]["components"].as_array().cloned().unwrap_or_default();
    let own = all.iter().find(|one| one["name"] == "database");
    let own = own.unwrap_or_else(|| panic!("{health}"));
    if own["status"] == "healthy" { String::new() } else { own["detail"].to_string() }
}

#[test]
fn what_was_stored_is_found_after_a_restart() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let gateway = on(&server, &upstream);
    (0..20).for_each(|n| drop(gateway.ask(&search(n))));
    until("they are stored", || rows(&server) == 20);
    assert_eq!(trouble(&gateway), "");
    upstream.faults(&json!([{"fault": "status", "status": 503}]));
    let gateway = gateway.crashed();
    (0..20).for_each(|n| assert_eq!(gateway.tier(&search(n)), "database", "{n}"));
    let gateway = gateway.restarted(|_| {});
    (0..20).for_each(|n| assert_eq!(gateway.tier(&search(n)), "database", "{n}"));
    gateway.stop();
    upstream.stop();
    server.stop();
}

/// Asks for what is in memory and for what is new, all the time; how many answers were no 200.
pub(crate) fn under_load(instance: &Instance, work: impl FnOnce()) -> usize {
    let (address, over, failed) = (instance.address(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ask = |mut number: usize| {
            let (over, failed) = (&over, &failed);
            move || {
                while !over.load(Ordering::Relaxed) {
                    for path in [search(1), search(number)] {
                        let answer = get(address, &path);
                        if answer.status != 200 {
                            eprintln!("{path}: {}", answer.text());
                            failed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    number += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        for from in [10_000, 20_000] {
            scope.spawn(ask(from));
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
    failed.into_inner()
}

pub(crate) fn passes(time: Duration) {
    let started = clock::monotonic();
    until("time passes", || started.elapsed() > time);
}

#[test]
fn a_server_that_dies_hangs_or_restarts_costs_no_answer() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let gateway = on(&server, &upstream);
    gateway.ask(&search(1));
    until("it is stored", || rows(&server) == 1);
    let mut server = Some(server);
    let failed = under_load(&gateway, || {
        let stopped = server.take().unwrap().killed();
        until("it is said", || !trouble(&gateway).is_empty());
        passes(Duration::from_secs(1));
        server = Some(stopped.start());
        until("it is connected to again", || trouble(&gateway).is_empty());
    });
    assert_eq!(failed, 0, "killed and restarted");
    let server = server.unwrap();
    let failed = under_load(&gateway, || {
        server.signal("STOP");
        until("it is said", || !trouble(&gateway).is_empty());
        passes(Duration::from_secs(8));
        server.signal("CONT");
        until("it is used again", || trouble(&gateway).is_empty());
    });
    assert_eq!(failed, 0, "stopped and continued");
    assert!(gateway.metric("db_slow_queries_total") > 0.0);
    assert!(gateway.metric("db_connection_pool_size") > 0.0);
    let log = std::fs::read_to_string(gateway.folder.path().join("gateway.log")).unwrap();
    let slow = log.lines().find(|line| line.contains("slow query")).expect("a line");
    assert!(slow.contains("\"shape\":") && slow.contains("\"query_type\":"), "{slow}");
    assert!(!slow.contains("binds"), "{slow}");
    let before = rows(&server);
    gateway.ask(&search(2));
    until("it is stored again", || rows(&server) > before);
    gateway.stop();
    upstream.stop();
    server.stop();
}

#[test]
fn a_server_that_is_not_there_at_the_start_is_used_when_it_is() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let url = server.url();
    let stopped = server.killed();
    let gateway = Instance::start(&upstream, None, &[COLD, ("DATABASE_URL", &url)]);
    assert_eq!(gateway.get(&search(1)).status, 200);
    assert!(!trouble(&gateway).contains(PASSWORD));
    assert!(!trouble(&gateway).is_empty());
    let server = stopped.start();
    until("it is connected to", || trouble(&gateway).is_empty());
    gateway.ask(&search(2));
    until("it is stored", || rows(&server) > 0);
    // Tables that are lost are made again.
    server.sql("DROP TABLE cache_entries");
    until("they are made again", || {
        server.sql("SELECT to_regclass('cache_entries') IS NOT NULL") == "t"
            && trouble(&gateway).is_empty()
    });
    let log = std::fs::read_to_string(gateway.folder.path().join("gateway.log")).unwrap();
    assert!(!log.contains(PASSWORD), "{log}");
    gateway.stop();
    upstream.stop();
    server.stop();
}

#[test]
fn three_that_start_at_once_make_the_tables_once_and_agree_within_a_second() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let url = server.url();
    let settings = [COLD, ("DATABASE_URL", url.as_str())];
    let gateways: [_; 3] = Instance::start_together(&upstream, &settings);
    for gateway in &gateways {
        until("it has its database", || trouble(gateway).is_empty());
    }
    assert_eq!(server.sql("SELECT count(*) FROM __diesel_schema_migrations"), "1");
    let [a, b, c] = &gateways;
    // An admin's change; no text of Postgres can hold the sign in this reason.
    let deny = |reason: &str| json!({"identifier": "203.0.113.9", "reason": reason}).to_string();
    let odd = a.try_admin("POST", "/admin/rate-limit/blacklist", &deny("te\u{0}st"));
    assert!([200, 400].contains(&odd.status), "{}", odd.text());
    a.admin("POST", "/admin/rate-limit/blacklist", &deny("test"));
    let committed = clock::monotonic();
    let listed = |gateway: &Instance| {
        gateway.admin("GET", "/admin/rate-limit/status", "").to_string().contains("203.0.113.9")
    };
    until("both others have it", || listed(b) && listed(c));
    assert!(committed.elapsed() < Duration::from_secs(1), "{:?}", committed.elapsed());
    // An invalidation.
    let path = search(1);
    gateways.iter().for_each(|gateway| drop(gateway.ask(&path)));
    until("all have it in memory", || gateways.iter().all(|g| g.tier(&path) == "memory"));
    let calls = upstream.calls();
    let told = a.invalidate(&json!({"pattern": "*", "all": true}));
    assert_eq!(told["unreached"], json!([]), "{told}");
    until("the others ask again", || {
        [b, c].iter().for_each(|gateway| drop(gateway.ask(&path)));
        upstream.calls() > calls
    });
    // The audit is one.
    let audit = |gateway: &Instance| gateway.admin("GET", "/admin/audit", "").to_string();
    until("the audit is stored", || audit(c).contains("203.0.113.9"));
    gateways.into_iter().for_each(Instance::stop);
    upstream.stop();
    server.stop();
}

#[test]
fn bytes_are_encrypted_and_the_server_is_verified_as_the_address_says() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let keys = tempfile::tempdir().unwrap();
    let (certificate, key) = (keys.path().join("server.crt"), keys.path().join("server.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Postgres::start_with_tls(&certificate, &key);
    let port = server.address().port();
    let address = |host: &str, options: &str| {
        let url = server.url().replace(&format!("127.0.0.1:{port}"), &format!("{host}:{port}"));
        settings(&format!("{url}?{options}")).address
    };
    let tried = |host: &str, options: &str| describe(&address(host, options));
    let root = format!("sslmode=verify-full&sslrootcert={}", certificate.display());
    for options in ["", "sslmode=disable", "sslmode=prefer", "sslmode=require"] {
        tried("127.0.0.1", options).unwrap();
    }
    tried("localhost", &root).unwrap();
    let told = |host, options: &str| tried(host, options).unwrap_err().to_string();
    assert!(told("localhost", "sslmode=verify-full").contains("UnknownIssuer"));
    assert!(told("127.0.0.1", &root).contains("not valid for name"));
    assert!(told("localhost", "sslmode=verify-full&sslrootcert=/none.pem").contains("/none.pem"));
    let wrong = server.url().replace(PASSWORD, "wrong");
    let told = describe(&settings(&wrong).address).unwrap_err().to_string();
    assert!(told.contains("28P01") && !told.contains("wrong@"), "{told}");
    // What the session itself says.
    let (store, _) = Store::open(
        settings(&format!("{}?sslmode=require", server.url())),
        clock::monotonic(),
        clock::now(),
    );
    assert!(store.is_open());
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'breakwater'";
    assert_eq!(server.sql(encrypted), "t");
    drop(store);
    server.stop();
}
