//! A real Redis in every state a real one can be in.

use std::time::Duration;

use breakwater::clock;
use tempfile::TempDir;

use crate::front::{Answer, Front};
use crate::redis_rig::keys_of_entries;
use crate::support::redis::Redis;

/// A gateway over this Redis with a new database: what it does not load it has from Redis.
fn another(redis: &Redis) -> (Front, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Front::start(folder.path(), Some(&redis.url())), folder)
}

/// How often something is tried again that a busy machine may have made too late for the tier's
/// time-out, which is a miss then and no fault of the gateway.
const LOOKS: u32 = 20;

fn holds(redis: &Redis, entries: usize) -> bool {
    keys_of_entries(redis).len() == entries
}

/// Asks for one page after another until an empty Redis holds one; its number.
fn store_one(front: &mut Front, redis: &Redis) -> u32 {
    for number in 1..=LOOKS {
        front.ask(number);
        // Storing goes on after the answer.
        let deadline = clock::monotonic() + Duration::from_secs(1);
        while clock::monotonic() < deadline {
            if holds(redis, 1) {
                return number;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    panic!("nothing is ever stored");
}

/// Starts a gateway with a new database and asks it for a page, until that is what `wanted` says.
fn asked_anew(
    redis: &Redis,
    number: u32,
    wanted: impl Fn(&mut Front, &Answer) -> bool,
) -> (Front, TempDir) {
    for _ in 0..LOOKS {
        let (mut front, folder) = another(redis);
        let answer = front.ask(number);
        if wanted(&mut front, &answer) {
            return (front, folder);
        }
        front.stop();
    }
    panic!("no gateway ever answers as it should");
}

/// The key of the only entry Redis holds.
fn only_key(redis: &Redis) -> Vec<u8> {
    keys_of_entries(redis).into_iter().next().expect("a key of ours").into_bytes()
}

/// Whether the key holds an entry in the form of every tier.
fn is_entry(redis: &Redis, key: &[u8]) -> bool {
    redis.command(&[b"GETRANGE", key, b"0", b"2"]).starts_with(b"$3\r\nBWE")
}

/// Waits a while until the key holds an entry again: storing goes on after the answer.
fn overwritten(redis: &Redis, key: &[u8]) -> bool {
    let deadline = clock::monotonic() + Duration::from_secs(1);
    while clock::monotonic() < deadline {
        if is_entry(redis, key) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn corrupt(front: &mut Front) -> f64 {
    front.metric("cache_corrupt_entries_total{tier=\"redis\"}")
}

#[test]
fn what_memory_lacks_comes_from_redis_and_is_promoted() {
    let redis = Redis::start();
    let (mut first, _folder) = another(&redis);
    let number = store_one(&mut first, &redis);
    assert_eq!(first.ask(number).tier, "memory");
    first.stop();
    let (mut second, _folder) = asked_anew(&redis, number, |_, answer| answer.tier == "redis");
    assert_eq!(second.ask(number).tier, "memory", "promoted");
    let cleared = second.admin("/api/cache/clear");
    assert_eq!(cleared["data"]["redis"], 1, "{cleared}");
    assert!(holds(&redis, 0));
    assert_eq!(second.ask(number).tier, "none");
    second.stop();
    redis.stop();
}

#[test]
fn a_foreign_or_corrupt_value_is_a_miss_and_overwritten() {
    let redis = Redis::start();
    let (mut writer, _folder) = another(&redis);
    let number = store_one(&mut writer, &redis);
    writer.stop();
    let key = only_key(&redis);
    let spoil: [(&[&[u8]], f64); 2] =
        [(&[b"RPUSH", &key, b"a", b"list"], 0.0), (&[b"SET", &key, b"garbage"], 1.0)];
    for (command, counted) in spoil {
        redis.command(&[b"DEL", &key]);
        redis.command(command);
        let missed = |front: &mut Front, answer: &Answer| {
            assert!(answer.tier == "none" && !answer.misses("redis"), "{answer:?}");
            (corrupt(front) - counted).abs() < 0.5 && overwritten(&redis, &key)
        };
        asked_anew(&redis, number, missed).0.stop();
    }
    asked_anew(&redis, number, |_, answer| answer.tier == "redis").0.stop();
    redis.stop();
}

#[test]
fn a_redis_that_was_flushed_is_merely_empty() {
    let redis = Redis::start();
    let (mut front, _folder) = another(&redis);
    let number = store_one(&mut front, &redis);
    redis.command(&[b"FLUSHALL"]);
    assert_eq!(front.ask(number).tier, "memory");
    let answer = front.ask_anew();
    assert_eq!((answer.tier.as_str(), answer.misses("redis")), ("none", false));
    redis.command(&[b"FLUSHALL"]);
    (0..LOOKS).for_each(|_| drop(front.ask_anew()));
    assert!(!holds(&redis, 0), "stored again");
    front.stop();
    redis.stop();
}

/// Reads work, writes do not: what cannot be stored is counted, SQL has it, and nobody waits.
fn takes_no_writes(refuse: &[&[u8]], accept: &[&[u8]]) {
    let redis = Redis::start();
    let (mut front, _folder) = another(&redis);
    store_one(&mut front, &redis);
    redis.command(refuse);
    (0..10).for_each(|_| drop(front.ask_anew()));
    let errors = front.metric("cache_errors_total{cache_type=\"search\",cache_layer=\"redis\"}");
    assert!(errors >= 3.0, "only {errors} refused writes were counted");
    let dropped = front.metric("cache_writes_dropped_total{tier=\"redis\"}");
    assert!(dropped >= 3.0, "only {dropped} refused writes were counted as dropped");
    redis.command(accept);
    front.until_misses("redis", false);
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while holds(&redis, 1) {
        front.ask_anew();
        assert!(clock::monotonic() < deadline, "nothing is stored any more");
    }
    front.stop();
    redis.stop();
}

#[test]
fn a_redis_without_memory_costs_nothing_but_its_writes() {
    takes_no_writes(
        &[b"CONFIG", b"SET", b"maxmemory", b"1"],
        &[b"CONFIG", b"SET", b"maxmemory", b"0"],
    );
}

#[test]
fn a_read_only_redis_costs_nothing_but_its_writes() {
    takes_no_writes(&[b"REPLICAOF", b"127.0.0.1", b"1"], &[b"REPLICAOF", b"NO", b"ONE"]);
}

#[test]
fn a_redis_that_is_killed_or_stopped_is_left_alone_until_it_is_back() {
    let redis = Redis::start();
    let address = redis.address();
    let (mut front, _folder) = another(&redis);
    front.ask_anew();

    redis.process().signal("STOP");
    front.until_misses("redis", true);
    (0..20).for_each(|_| drop(front.ask_anew()));
    redis.process().signal("CONT");
    front.until_health("redis", "healthy");

    redis.kill();
    front.until_misses("redis", true);
    assert_eq!(front.health_of("redis"), "unhealthy");
    let redis = Redis::start_at(address);
    front.until_health("redis", "healthy");
    front.until_misses("redis", false);
    (0..LOOKS).for_each(|_| drop(front.ask_anew()));
    assert!(!holds(&redis, 0), "used again");
    front.stop();
    redis.stop();
}
