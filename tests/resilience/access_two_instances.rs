//! Keys and lists on two gateways with one database: the same within a second, over outages,
//! restarts and losses.

use std::time::Duration;

use breakwater::clock;
use diesel::Connection as _;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};

use crate::pair::{Instance, Pair, Upstream, until};
use crate::support::http::{Answer, Connection};

/// A change is in force everywhere within this.
const SOON: Duration = Duration::from_secs(1);
const DENY: &str = "/admin/rate-limit/blacklist";
const SETTINGS: &[(&str, &str)] = &[("TRUSTED_PROXIES", "127.0.0.1"), ("REQUIRE_API_KEY", "true")];

fn deny(instance: &Instance, address: &str) -> Value {
    instance.admin("POST", DENY, &json!({"identifier": address, "reason": "test"}).to_string())
}

fn let_in(instance: &Instance, address: &str) -> Value {
    instance.admin("DELETE", DENY, &json!({"identifier": address}).to_string())
}

fn make_key(instance: &Instance) -> (String, String) {
    let made = instance.admin("POST", "/admin/keys", "{\"label\": \"test\"}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

fn revoke(instance: &Instance, id: &str) {
    instance.admin("DELETE", "/admin/keys", &json!({"id": id}).to_string());
}

fn ask(instance: &Instance, address: &str, key: &str) -> Answer {
    let connection = Connection::to(instance.address()).with_header("x-forwarded-for", address);
    connection.with_header("x-internal-key", key).get("/api/status").unwrap()
}

/// 403 for who is denied, 401 for everybody else: nobody shows a key.
fn denied(instance: &Instance, address: &str) -> bool {
    ask(instance, address, "").status == 403
}

fn known(instance: &Instance, key: &str) -> bool {
    ask(instance, "198.51.100.1", key).status == 200
}

/// A connection beside those of the gateway.
fn connect(instance: &Instance) -> SqliteConnection {
    let file = instance.folder.path().join("gateway.db");
    let mut connection = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    connection
}

#[test]
fn a_change_is_in_force_at_the_other_within_a_second() {
    let pair = Pair::on_one_file(SETTINGS);
    let (a, b) = (&pair.a, &pair.b);
    for (round, (here, there)) in [(a, b), (b, a), (a, b)].into_iter().enumerate() {
        if round == 2 {
            // Redis carries none of it.
            pair.redis.process().signal("STOP");
        }
        let address = format!("203.0.113.{round}");
        deny(here, &address);
        assert!(denied(here, &address), "at once");
        let took = until("it is denied there", || denied(there, &address));
        eprintln!("a denied address is denied at the other after {took:?}");
        assert!(took < SOON, "{took:?}");
        let_in(there, &address);
        let took = until("it is let in here", || !denied(here, &address));
        assert!(took < SOON, "{took:?}");
        let (id, secret) = make_key(here);
        assert!(known(here, &secret), "at once");
        let took = until("the key is known there", || known(there, &secret));
        assert!(took < SOON, "{took:?}");
        revoke(there, &id);
        assert!(!known(there, &secret), "at once");
        let took = until("the key is unknown here", || !known(here, &secret));
        eprintln!("a revoked key is unknown at the other after {took:?}");
        assert!(took < SOON, "{took:?}");
    }
    pair.redis.process().signal("CONT");
    pair.stop();
}

#[test]
fn a_key_can_be_revoked_elsewhere_the_moment_it_is_made() {
    let upstream = Upstream::start();
    let a = Instance::start(&upstream, None, SETTINGS);
    let b = a.neighbour(&upstream, None, SETTINGS);
    for _ in 0..5 {
        let (id, secret) = make_key(&a);
        revoke(&b, &id);
        until("it is unknown", || !known(&a, &secret));
    }
    b.stop();
    a.stop();
    upstream.stop();
}

#[test]
fn a_restart_keeps_everything() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, SETTINGS);
    let (revoked, of_revoked) = make_key(&gateway);
    let (_, secret) = make_key(&gateway);
    deny(&gateway, "203.0.113.0/24");
    deny(&gateway, "203.0.114.0/24");
    let_in(&gateway, "203.0.114.0/24");
    revoke(&gateway, &revoked);
    let check = |gateway: &Instance| {
        assert!(denied(gateway, "203.0.113.9") && !denied(gateway, "203.0.114.9"));
        assert!(known(gateway, &secret) && !known(gateway, &of_revoked));
        let page = gateway.admin("GET", "/admin/audit", "");
        assert_eq!(page["entries"].as_array().unwrap().len(), 6, "{page}");
    };
    check(&gateway);
    let gateway = gateway.restarted(|_| {});
    check(&gateway);
    // What was answered is in the file, also when the process is killed. Audit events follow.
    until("the audit is stored", || gateway.metric("audit_waiting") < 0.5);
    let gateway = gateway.crashed();
    check(&gateway);
    gateway.stop();
    upstream.stop();
}

#[test]
fn while_the_database_is_away_changes_are_refused_and_requests_are_not() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, SETTINGS);
    let (id, before) = make_key(&gateway);
    deny(&gateway, "203.0.113.2");
    until("the audit is stored", || gateway.metric("audit_waiting") < 0.5);
    let mut lock = connect(&gateway);
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    for (method, path, body) in [
        ("POST", DENY, json!({"identifier": "203.0.113.1"})),
        ("DELETE", DENY, json!({"identifier": "203.0.113.2"})),
        ("POST", "/admin/keys", json!({"label": "new"})),
        ("DELETE", "/admin/keys", json!({"id": id})),
    ] {
        let asked = clock::monotonic();
        let answer = gateway.try_admin(method, path, &body.to_string());
        let error = answer.json();
        assert_eq!((answer.status, &error["retryable"]), (503, &json!(true)), "{error}");
        assert!(error["error"].as_str().unwrap().contains("database"), "{error}");
        assert!(asked.elapsed() < 3 * SOON, "{:?}", asked.elapsed());
    }
    assert!(!denied(&gateway, "203.0.113.1") && denied(&gateway, "203.0.113.2"));
    assert!(known(&gateway, &before));
    let page = gateway.admin("GET", "/admin/audit", "");
    let entries = page["entries"].as_array().unwrap();
    assert_eq!(
        (entries.len(), &page["complete"]),
        (6, &json!(true)),
        "what waits is shown: {page}"
    );
    assert_eq!((&entries[0]["id"], &entries[0]["outcome"]), (&json!(null), &json!("overloaded")));
    lock.batch_execute("COMMIT").unwrap();
    until("the audit is stored", || gateway.metric("audit_waiting") < 0.5);
    deny(&gateway, "203.0.113.1");
    assert!(denied(&gateway, "203.0.113.1"));
    drop(lock);
    gateway.stop();
    upstream.stop();
}

/// Whether it says that it knows nothing of what was stored.
fn says_uninformed(instance: &Instance) -> bool {
    let answer = ask(instance, "198.51.100.1", "of-the-settings").json();
    let degraded = answer["data"]["degraded"].as_array().expect("a list").clone();
    degraded.contains(&json!("access_lists"))
}

/// A database nobody else can read, until this is dropped.
fn locked(folder: &tempfile::TempDir) -> SqliteConnection {
    let file = folder.path().join("gateway.db");
    let mut connection = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    let exclusive = "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;";
    connection.batch_execute(exclusive).unwrap();
    connection
}

#[test]
fn before_it_serves_the_log_is_read_and_if_it_cannot_be_it_says_so() {
    let upstream = Upstream::start();
    let settings = [SETTINGS, &[("INTERNAL_API_KEY", "of-the-settings")]].concat();
    let gateway = Instance::start(&upstream, None, &settings);
    let (_, secret) = make_key(&gateway);
    deny(&gateway, "203.0.113.1");
    let knows = |gateway: &Instance| denied(gateway, "203.0.113.1") && known(gateway, &secret);
    let gateway = gateway.restarted(|_| {});
    assert!(knows(&gateway) && !says_uninformed(&gateway), "it was read");
    let mut lock = None;
    let gateway = gateway.restarted(|folder| lock = Some(locked(folder)));
    assert!(!knows(&gateway) && says_uninformed(&gateway), "nobody could be asked");
    drop(lock);
    until("it has read the log", || knows(&gateway) && !says_uninformed(&gateway));
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_file_that_is_lost_gets_everything_again() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, SETTINGS);
    let (_, secret) = make_key(&gateway);
    deny(&gateway, "203.0.113.1");
    std::fs::remove_file(gateway.folder.path().join("gateway.db")).unwrap();
    until("it is begun anew and has all of it", || {
        let mut there = connect(&gateway);
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "SELECT count(*) FROM changes WHERE topic = 'access'",
        );
        count.get_result::<i64>(&mut there).is_ok_and(|rows| rows == 2)
    });
    let gateway = gateway.crashed();
    assert!(denied(&gateway, "203.0.113.1") && known(&gateway, &secret));
    gateway.stop();
    upstream.stop();
}
