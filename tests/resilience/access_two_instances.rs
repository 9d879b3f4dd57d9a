//! Keys and lists on two gateways: of one mind within a second, over outages, restarts and losses.

use std::time::Duration;

use breakwater::clock;
use diesel::Connection as _;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};

use crate::pair::{Instance, Pair, Upstream, until};
use crate::support::http::{Answer, Connection};
use crate::support::redis::Redis;

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
    let pair = Pair::start(SETTINGS);
    let (a, b) = (&pair.a, &pair.b);
    for (round, (here, there)) in [(a, b), (b, a), (a, b)].into_iter().enumerate() {
        let address = format!("203.0.113.{round}");
        let told = deny(here, &address);
        assert_eq!(told["unreached"], json!([]));
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
    pair.stop();
}

#[test]
fn what_changes_while_redis_is_away_is_told_when_it_is_back() {
    let Pair { redis, upstream, a, b } = Pair::start(SETTINGS);
    let (old, of_old) = make_key(&a);
    deny(&a, "203.0.113.1");
    until("B knows", || denied(&b, "203.0.113.1") && known(&b, &of_old));
    let address = redis.address();
    redis.kill();
    let told = deny(&a, "203.0.113.2");
    assert_eq!(told["unreached"], json!(["redis"]));
    let (_, of_new) = make_key(&b);
    revoke(&a, &old);
    let_in(&b, "203.0.113.1");
    assert!(denied(&a, "203.0.113.2") && !known(&a, &of_old) && known(&b, &of_new));
    assert!(!denied(&b, "203.0.113.2") && known(&b, &of_old), "B cannot know");
    // A new Redis, which knows nothing of before.
    let redis = Redis::start_at(address);
    let agree = |one: &Instance| {
        denied(one, "203.0.113.2")
            && !denied(one, "203.0.113.1")
            && known(one, &of_new)
            && !known(one, &of_old)
    };
    let took = until("they agree", || agree(&a) && agree(&b));
    eprintln!("after Redis is back they agree after {took:?}");
    assert!(took < 3 * SOON, "{took:?}");
    let status = a.admin("GET", "/admin/rate-limit/status", "");
    assert_eq!((&status["owed_to_redis"], &status["owed_to_database"]), (&json!(0), &json!(0)));
    a.stop();
    b.stop();
    redis.stop();
    upstream.stop();
}

#[test]
fn the_later_change_counts_whoever_made_it_while_they_could_not_talk() {
    let pair = Pair::start(SETTINGS);
    deny(&pair.a, "203.0.113.1");
    until("B knows", || denied(&pair.b, "203.0.113.1"));
    pair.redis.process().signal("STOP");
    let_in(&pair.a, "203.0.113.1");
    deny(&pair.a, "203.0.113.2");
    deny(&pair.b, "203.0.113.1");
    deny(&pair.b, "203.0.113.2");
    let_in(&pair.b, "203.0.113.2");
    pair.redis.process().signal("CONT");
    for instance in [&pair.a, &pair.b] {
        until("the later ones count", || {
            denied(instance, "203.0.113.1") && !denied(instance, "203.0.113.2")
        });
    }
    pair.stop();
}

#[test]
fn what_redis_forgot_it_is_told_again_by_whoever_knows() {
    let pair = Pair::start(SETTINGS);
    for round in 0..5 {
        let address = format!("203.0.113.{round}");
        deny(&pair.a, &address);
        // Before or after B has heard of it.
        if round % 2 == 0 {
            until("B knows", || denied(&pair.b, &address));
        }
        pair.redis.command(&[b"FLUSHALL"]);
        let took = until("B knows it still", || denied(&pair.b, &address));
        assert!(took < 2 * SOON, "round {round}: {took:?}");
        let holds = || {
            let told = pair.redis.command(&[b"HLEN", b"breakwater:2:{records}:all"]);
            told.starts_with(format!(":{}", round + 1).as_bytes())
        };
        until("redis holds all of it again", holds);
    }
    // A part of it is lost, as by eviction.
    pair.redis.command(&[b"DEL", b"breakwater:2:{records}:all"]);
    let holds = || pair.redis.command(&[b"HLEN", b"breakwater:2:{records}:all"]).starts_with(b":5");
    until("redis holds all of it again", holds);
    // Something else lies in its place.
    pair.redis.command(&[b"SET", b"breakwater:2:{records}:all", b"text"]);
    deny(&pair.a, "203.0.113.77");
    until("B knows", || denied(&pair.b, "203.0.113.77"));
    pair.stop();
}

#[test]
fn a_redis_that_comes_back_with_older_contents_revives_nothing_and_splits_nobody() {
    let Pair { redis, upstream, a, b } = Pair::start(SETTINGS);
    let (revoked, of_revoked) = make_key(&a);
    let (_, kept) = make_key(&a);
    deny(&a, "203.0.113.1");
    until("B knows", || known(&b, &kept) && denied(&b, "203.0.113.1"));
    assert!(redis.command(&[b"SAVE"]).starts_with(b"+OK"));
    revoke(&a, &revoked);
    let_in(&a, "203.0.113.1");
    (0..30).for_each(|number| drop(deny(&a, &format!("198.51.100.{}", 100 + number))));
    until("B knows", || !known(&b, &of_revoked) && denied(&b, "198.51.100.129"));
    // Neither of them is there when it comes back, so that a stranger can write first.
    a.signal("STOP");
    b.signal("STOP");
    let redis = redis.crashed();
    let stranger = Instance::start(&upstream, Some(&redis), SETTINGS);
    assert!(known(&stranger, &of_revoked), "nobody has told it yet");
    (0..40).for_each(|number| drop(deny(&stranger, &format!("192.0.2.{}", 100 + number))));
    a.signal("CONT");
    b.signal("CONT");
    deny(&b, "203.0.113.2");
    let fresh = Instance::start(&upstream, Some(&redis), SETTINGS);
    let all = [&a, &b, &stranger, &fresh];
    let took = until("they agree", || {
        all.iter().all(|one| {
            !known(one, &of_revoked)
                && known(one, &kept)
                && !denied(one, "203.0.113.1")
                && denied(one, "203.0.113.2")
                && denied(one, "198.51.100.129")
                && denied(one, "192.0.2.139")
        })
    });
    eprintln!("after redis has gone back they agree after {took:?}");
    assert!(took < 3 * SOON, "{took:?}");
    for instance in [a, b, stranger, fresh] {
        instance.stop();
    }
    redis.stop();
    upstream.stop();
}

#[test]
fn a_restart_keeps_everything_with_redis_or_without() {
    let upstream = Upstream::start();
    let redis = Redis::start();
    for redis in [None, Some(&redis)] {
        let gateway = Instance::start(&upstream, redis, SETTINGS);
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
        // What was told to be stored is, also when it is killed.
        let gateway = gateway.crashed();
        check(&gateway);
        gateway.stop();
    }
    // And a gateway that never was there hears of it from Redis.
    let other = Instance::start(&upstream, Some(&redis), SETTINGS);
    until("it hears of it", || denied(&other, "203.0.113.9"));
    other.stop();
    redis.stop();
    upstream.stop();
}

#[test]
fn a_database_that_is_away_delays_what_is_kept_and_nothing_else() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, SETTINGS);
    let (_, before) = make_key(&gateway);
    let mut lock = connect(&gateway);
    lock.batch_execute("BEGIN IMMEDIATE").unwrap();
    let asked = clock::monotonic();
    let told = deny(&gateway, "203.0.113.1");
    assert_eq!(told["unreached"], json!(["database"]));
    assert!(asked.elapsed() < 2 * SOON, "{:?}", asked.elapsed());
    let (_, secret) = make_key(&gateway);
    assert!(
        denied(&gateway, "203.0.113.1") && known(&gateway, &secret) && known(&gateway, &before)
    );
    assert!(gateway.metric("access_records_owed{store=\"database\"}") >= 2.0);
    let page = gateway.admin("GET", "/admin/audit", "");
    assert_eq!(page["entries"].as_array().unwrap().len(), 3, "what waits is shown: {page}");
    lock.batch_execute("COMMIT").unwrap();
    until("it is stored", || gateway.metric("access_records_owed{store=\"database\"}") < 0.5);
    until("the deeds are stored", || gateway.metric("audit_waiting") < 0.5);
    drop(lock);
    let gateway = gateway.crashed();
    assert!(denied(&gateway, "203.0.113.1") && known(&gateway, &secret));
    // A database that is locked at the start is read as soon as it is there.
    let mut lock = None;
    let gateway = gateway.restarted(|folder| lock = Some(locked(folder)));
    assert!(!known(&gateway, &secret), "nobody could know");
    let (_, meanwhile) = make_key(&gateway);
    drop(lock);
    until("it is as before", || denied(&gateway, "203.0.113.1") && known(&gateway, &secret));
    assert!(known(&gateway, &meanwhile));
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
fn before_it_serves_any_store_is_heard_and_if_there_is_none_it_says_so() {
    let (upstream, redis) = (Upstream::start(), Redis::start());
    let settings = [SETTINGS, &[("INTERNAL_API_KEY", "of-the-settings")]].concat();
    let gateway = Instance::start(&upstream, Some(&redis), &settings);
    let (_, secret) = make_key(&gateway);
    deny(&gateway, "203.0.113.1");
    let knows = |gateway: &Instance| denied(gateway, "203.0.113.1") && known(gateway, &secret);
    let mut lock = None;
    let gateway = gateway.restarted(|folder| lock = Some(locked(folder)));
    assert!(knows(&gateway) && !says_uninformed(&gateway), "redis was heard");
    drop(lock.take());
    redis.kill();
    let gateway = gateway.restarted(|_| {});
    assert!(knows(&gateway) && !says_uninformed(&gateway), "the database was read");
    let gateway = gateway.restarted(|folder| lock = Some(locked(folder)));
    assert!(!knows(&gateway) && says_uninformed(&gateway), "nobody could be asked");
    drop(lock);
    until("it has read the database", || knows(&gateway) && !says_uninformed(&gateway));
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_database_put_back_from_a_backup_revives_nothing() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, SETTINGS);
    let (revoked, of_revoked) = make_key(&gateway);
    let file = gateway.folder.path().join("gateway.db");
    let backup = gateway.folder.path().join("backup.db");
    let mut beside = connect(&gateway);
    beside.batch_execute(&format!("VACUUM INTO '{}'", backup.display())).unwrap();
    drop(beside);
    revoke(&gateway, &revoked);
    deny(&gateway, "203.0.113.1");
    std::fs::rename(&backup, &file).unwrap();
    until("the file that was put back is told", || {
        let mut there = connect(&gateway);
        let gone = diesel::dsl::sql::<diesel::sql_types::BigInt>(
            "SELECT (SELECT sum(gone) FROM api_keys) + (SELECT count(*) FROM access_list)",
        );
        gone.get_result::<i64>(&mut there).is_ok_and(|told| told == 2)
    });
    let gateway = gateway.restarted(|_| {});
    assert!(denied(&gateway, "203.0.113.1") && !known(&gateway, &of_revoked));
    gateway.stop();
    upstream.stop();
}

#[test]
fn a_file_that_is_lost_is_told_everything_again() {
    let upstream = Upstream::start();
    let gateway = Instance::start(&upstream, None, SETTINGS);
    let (_, secret) = make_key(&gateway);
    deny(&gateway, "203.0.113.1");
    std::fs::remove_file(gateway.folder.path().join("gateway.db")).unwrap();
    until("it is begun anew and told", || {
        let owed = gateway.metric("access_records_owed{store=\"database\"}") < 0.5;
        let mut there = connect(&gateway);
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>("SELECT count(*) FROM api_keys");
        owed && count.get_result::<i64>(&mut there).is_ok_and(|rows| rows == 1)
    });
    let gateway = gateway.restarted(|_| {});
    assert!(denied(&gateway, "203.0.113.1") && known(&gateway, &secret));
    gateway.stop();
    upstream.stop();
}

#[test]
fn two_processes_on_one_file_agree_within_a_second_without_redis() {
    let upstream = Upstream::start();
    let a = Instance::start(&upstream, None, SETTINGS);
    let file = format!("sqlite://{}", a.folder.path().join("gateway.db").display());
    let settings: Vec<_> =
        SETTINGS.iter().copied().chain([("DATABASE_URL", file.as_str())]).collect();
    let settings: Vec<(&'static str, &str)> = settings;
    let b = Instance::start(&upstream, None, &settings);
    let (id, secret) = make_key(&a);
    let took = until("the key is known there", || known(&b, &secret));
    eprintln!("over the database a key is known at the other after {took:?}");
    assert!(took < SOON, "{took:?}");
    revoke(&b, &id);
    let took = until("the key is unknown here", || !known(&a, &secret));
    assert!(took < SOON, "{took:?}");
    deny(&b, "203.0.113.1");
    let took = until("it is denied here", || denied(&a, "203.0.113.1"));
    assert!(took < SOON, "{took:?}");
    b.stop();
    a.stop();
    upstream.stop();
}
