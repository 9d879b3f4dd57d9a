//! Two gateways, one Redis, one upstream: of one mind about what is loaded and what is invalid.

use std::thread;
use std::time::Duration;

use breakwater::clock;
use diesel::Connection as _;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use serde_json::{Value, json};

use crate::pair::{Instance, Pair, get, one_of_a_few, search, until};
use crate::redis_rig::keys_of_entries;
use crate::support::redis::Redis;

/// An invalidation is in force everywhere within this.
const SOON: Duration = Duration::from_secs(1);

/// The key of the only entry that Redis holds.
fn only_key(redis: &Redis) -> String {
    until("one entry is stored", || keys_of_entries(redis).len() == 1);
    keys_of_entries(redis)[0].trim_start_matches("breakwater:2:e:").to_owned()
}

#[test]
fn a_cold_key_asked_for_at_both_costs_one_call() {
    let pair = Pair::start(&[]);
    pair.upstream.takes(Duration::from_millis(200));
    one_of_a_few("one call for two instances", |number| {
        let calls = pair.calls_of(|| {
            let askers = [pair.a.address(), pair.b.address()]
                .map(|address| thread::spawn(move || get(address, &search(number)).status));
            assert!(askers.into_iter().all(|asker| asker.join().unwrap() == 200));
        });
        assert!((1..=2).contains(&calls), "{calls} calls");
        calls == 1
    });
    pair.stop();
}

#[test]
fn what_one_loaded_the_other_has_from_redis() {
    let pair = Pair::start(&[]);
    one_of_a_few("a hit in redis", |number| {
        let path = search(number);
        let stored = keys_of_entries(&pair.redis).len();
        assert_eq!(pair.a.tier(&path), "none");
        until("it is stored", || keys_of_entries(&pair.redis).len() > stored);
        let mut tier = String::new();
        let calls = pair.calls_of(|| tier = pair.b.tier(&path));
        assert_eq!(pair.b.tier(&path), "memory", "lifted");
        (tier.as_str(), calls) == ("redis", 0)
    });
    pair.stop();
}

#[test]
fn a_lock_whose_holder_hangs_holds_nobody_up_for_long() {
    let pair = Pair::start(&[]);
    let path = search(1);
    pair.a.tier(&path);
    let key = only_key(&pair.redis);
    pair.redis.command(&[b"DEL", format!("breakwater:2:e:{key}").as_bytes()]);
    let lock = format!("breakwater:2:lock:{{breakwater:2:e:{key}}}");
    pair.redis.command(&[b"SET", lock.as_bytes(), b"somebody", b"PX", b"600000"]);
    let asked = clock::monotonic();
    assert_eq!(pair.b.tier(&path), "none");
    let took = clock::monotonic() - asked;
    eprintln!("a hanging holder of the lock: answered after {took:?}");
    assert!(took < Duration::from_millis(1_500), "{took:?}");
    // Who loads all the same stores what it brought, and leaves the lock to whoever holds it.
    assert_eq!(only_key(&pair.redis), key);
    assert!(pair.redis.command(&[b"GET", lock.as_bytes()]).starts_with(b"$8\r\nsomebody"));
    pair.stop();
}

#[test]
fn what_one_renewed_the_other_finds_instead_of_asking() {
    let pair = Pair::start(&[("CACHE_TTL_SEARCH", "3")]);
    one_of_a_few("a renewal found in redis", |number| {
        let path = search(number);
        pair.both_have(&path);
        let before = pair.upstream.calls();
        // Only A is asked, so A it is who renews.
        until("A renews", || {
            pair.a.tier(&path);
            pair.upstream.calls() > before
        });
        until("A has what is new", || ttl(&pair.a, &path) >= 2);
        let mut seen = Vec::new();
        until("B has it too", || {
            seen.push(pair.b.tier(&path));
            ttl(&pair.b, &path) >= 2
        });
        assert!(seen.iter().all(|tier| tier == "memory"), "nobody waits: {seen:?}");
        pair.upstream.calls() == before + 1
    });
    pair.stop();
}

/// Fresh time left, in seconds.
fn ttl(instance: &Instance, path: &str) -> i64 {
    let answer = instance.get(path);
    let status = answer.header("cache-status").expect("a Cache-Status").to_owned();
    let ttl = status.split("ttl=").nth(1).and_then(|rest| rest.split(';').next());
    ttl.and_then(|ttl| ttl.parse().ok()).unwrap_or(i64::MIN)
}

/// What is invalidated, with the key and a product of the search.
fn subjects(key: &str, product: &str) -> [Value; 5] {
    [
        json!({"key": key}),
        json!({"tag": format!("product:{product}")}),
        json!({"pattern": "products:search:*"}),
        json!({"pattern": "products:search:*", "mode": "soft"}),
        json!({"tag": format!("product:{product}"), "mode": "soft"}),
    ]
}

fn product_in(answer: &Value) -> String {
    answer["data"]["products"][0]["product_id"].as_str().expect("a product").to_owned()
}

#[test]
fn an_invalidation_is_in_force_at_the_other_within_a_second() {
    let pair = Pair::on_one_file(&[]);
    let path = search(1);
    let product = product_in(&pair.a.get(&path).json());
    let key = only_key(&pair.redis);
    for what in subjects(&key, &product) {
        pair.both_have(&path);
        let answer = pair.a.invalidate(&what);
        assert_eq!((&answer["unreached"], &answer["replayed_later"]), (&json!([]), &json!(false)));
        let mut tier = String::new();
        let took = until("it is in force at B", || {
            tier = pair.b.tier(&path);
            tier != "memory"
        });
        eprintln!("{what} is in force at the other after {took:?}");
        assert!(took < SOON, "{what}: {took:?}");
        assert_eq!(tier, "none", "{what}: what Redis and SQL hold is as invalid");
        // A may leave its renewal to B, which has just begun one, and says that it is stale.
        let at_a = pair.a.ask(&path);
        assert!(at_a["stale"] == true || at_a["cache_tier"] != "memory", "{what}: {at_a}");
    }
    assert!(pair.b.metric("cache_invalidations_total{cache_type=\"all\",reason=\"remote_") >= 5.0);
    pair.stop();
}

#[test]
fn a_redis_that_is_away_or_flushed_loses_no_invalidation() {
    let pair = Pair::on_one_file(&[]);
    for (round, stopped) in [true, false].into_iter().enumerate() {
        let path = search(round);
        let product = product_in(&pair.a.get(&path).json());
        pair.both_have(&path);
        if stopped {
            pair.redis.process().signal("STOP");
        }
        let answer = pair.a.invalidate(&json!({"tag": format!("product:{product}")}));
        assert_eq!((&answer["unreached"], &answer["replayed_later"]), (&json!([]), &json!(false)));
        pair.redis.process().signal("CONT");
        pair.redis.command(&[b"FLUSHALL"]);
        let took = until("it is in force at B", || pair.b.tier(&path) != "memory");
        assert!(took < 2 * SOON, "round {round}: {took:?}");
    }
    pair.stop();
}

#[test]
fn an_invalidation_while_the_database_is_away_is_in_force_here_and_told_when_it_is_back() {
    let pair = Pair::on_one_file(&[]);
    let path = search(1);
    let product = product_in(&pair.a.get(&path).json());
    pair.both_have(&path);
    let file = pair.a.folder.path().join("gateway.db");
    let mut lock = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    lock.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    let answer = pair.a.invalidate(&json!({"tag": format!("product:{product}")}));
    assert_eq!(
        (&answer["unreached"], &answer["replayed_later"]),
        (&json!(["database"]), &json!(true))
    );
    assert_eq!(pair.a.tier(&path), "none", "in force at A at once");
    assert_eq!(pair.b.tier(&path), "memory", "B cannot know");
    assert!(pair.a.metric("replication_pending") > 0.5);
    lock.batch_execute("COMMIT").unwrap();
    let took = until("it is in force at B", || pair.b.tier(&path) != "memory");
    eprintln!("after the database is back an invalidation is in force at the other after {took:?}");
    assert!(took < 3 * SOON, "{took:?}");
    drop(lock);
    pair.stop();
}

#[test]
fn a_breaker_that_an_admin_opens_is_open_at_the_other_until_it_is_reset() {
    let pair = Pair::on_one_file(&[]);
    let (a, b) = (&pair.a, &pair.b);
    let moved = |instance: &Instance, action: &str| {
        instance.admin("POST", &format!("/admin/breakers/upstream/{action}"), "")
    };
    for (action, state) in [("open", "open"), ("reset", "closed"), ("open", "open")] {
        assert_eq!(moved(a, action)["state"], state, "at once");
        let took = until("it is moved there", || b.breaker() == state);
        assert!(took < SOON, "{action}: {took:?}");
    }
    moved(b, "close");
    until("it is closed here", || a.breaker() == "closed");
    pair.stop();
}

#[test]
fn what_the_tiers_hold_is_listed_and_a_tier_that_is_away_is_named_with_the_reason() {
    let Pair { redis, upstream, a, b } = Pair::start(&[]);
    let path = search(1);
    until("it is in memory", || a.tier(&path) == "memory");
    let key = only_key(&redis);
    // Of another type, and no entry: neither hides the others.
    redis.command(&[b"LPUSH", b"breakwater:2:e:products:search:odd", b"x"]);
    redis.command(&[b"SET", b"breakwater:2:e:products:search:text", b"x"]);
    let list = |instance: &Instance| {
        instance.admin("GET", "/admin/cache/keys?tag=operation:search&pattern=*:search:*", "")
    };
    let all = json!(["memory", "redis", "database"]);
    until("every tier answers", || list(&a)["keys"][0]["tiers"] == all);
    until("the other sees what Redis holds", || list(&b)["keys"][0]["tiers"] == json!(["redis"]));
    let told = list(&b);
    assert_eq!((&told["found"], &told["keys"][0]["key"]), (&json!(1), &json!(key)), "{told}");
    let dry = json!({"tag": "operation:search", "dry_run": true});
    until("it is counted", || a.invalidate(&dry)["redis"] == 1);
    redis.kill();
    let file = a.folder.path().join("gateway.db");
    let mut lock = SqliteConnection::establish(&file.to_string_lossy()).unwrap();
    lock.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
    until("Redis is missed", || list(&a)["partial"][0]["tier"] == "redis");
    for what in [dry, json!({"tag": "operation:search"}), json!({"pattern": "*:search:*"})] {
        let told = a.invalidate(&what);
        let partial = told["partial"].as_array().unwrap();
        assert!(partial.iter().any(|missed| missed["tier"] == "redis"), "{told}");
        assert!(partial.iter().all(|missed| missed["reason"] != ""), "{told}");
        assert_eq!((&told["complete"], &told["memory"]), (&json!(false), &json!(1)), "{told}");
        assert_eq!(told["unreached"].to_string().contains("database"), what["dry_run"] != true);
        until("it is in memory again", || a.tier(&path) == "memory");
    }
    drop(lock);
    a.stop();
    b.stop();
    upstream.stop();
}
