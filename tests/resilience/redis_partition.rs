//! Two gateways, of which one loses the way to their Redis for a while.
//!
//! Owns: what has become of the same entry and of invalidations on both sides when the way is there
//! again.

use std::sync::Arc;
use std::time::Duration;

use breakwater::cache::tiers::memory::MemoryTier;
use breakwater::cache::upkeep::Journal;
use breakwater::cache::{CacheKey, CacheTables};
use breakwater::clock;
use breakwater::failure::StoreError;
use breakwater::metrics::Metrics;
use breakwater::supervision::Silent;
use bytes::Bytes;
use serde_json::json;
use slog::Logger;

use crate::pair::{Instance, Upstream, search, until};
use crate::redis_rig::{LIFE, Rig, eventually, key, keys_of_entries, until as until_so};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis::Redis;

/// A gateway at the end of a wire that may break, and one beside the server.
struct Parted {
    redis: Redis,
    wire: FaultProxy,
    upstream: Upstream,
    far: Instance,
    near: Instance,
}

impl Parted {
    fn start(settings: &[(&'static str, &str)]) -> Self {
        let (redis, upstream) = (Redis::start(), Upstream::start());
        let wire = FaultProxy::before(redis.address());
        let url = format!("redis://{}/0", wire.address());
        let of_far: Vec<_> = settings.iter().copied().chain([("REDIS_URL", &*url)]).collect();
        let far = Instance::start(&upstream, Some(&redis), &of_far);
        let near = Instance::start(&upstream, Some(&redis), settings);
        Self { redis, wire, upstream, far, near }
    }

    /// The wire breaks; the far one has noticed when this returns.
    fn part(&self) {
        self.wire.set(Fault::Cut);
        until("the far one has noticed", || {
            let avoided = "circuit_breaker_state{name=\"redis\"}";
            self.far.metric(avoided) > 0.5
        });
    }

    fn stop(self) {
        let Self { redis, wire, upstream, far, near } = self;
        far.stop();
        near.stop();
        drop(wire);
        redis.stop();
        upstream.stop();
    }
}

/// When the only entry that Redis holds was stored.
fn stored_at(redis: &Redis) -> Vec<u8> {
    let name = keys_of_entries(redis).remove(0);
    redis.command(&[b"GETRANGE", name.as_bytes(), b"8", b"15"])
}

#[test]
fn what_was_missed_does_not_take_the_place_of_what_is_newer() {
    let parted = Parted::start(&[("CACHE_WARM_KEYS", "0")]);
    let (path, other) = (search(1), search(2));
    parted.part();
    assert_eq!(parted.far.tier(&path), "none");
    assert_eq!(parted.near.tier(&path), "none");
    until("the newer one is stored", || keys_of_entries(&parted.redis).len() == 1);
    let newer = stored_at(&parted.redis);
    // Brought before what was missed first: when it is there, that was brought, too, or is next.
    parted.far.tier(&other);
    parted.wire.set(Fault::None);
    until("what was missed is brought", || keys_of_entries(&parted.redis).len() == 2);
    let name = keys_of_entries(&parted.redis);
    let held: Vec<_> = name
        .iter()
        .map(|name| parted.redis.command(&[b"GETRANGE", name.as_bytes(), b"8", b"15"]))
        .collect();
    assert!(held.contains(&newer), "the older one was brought over it");
    parted.stop();
}

/// Tables whose second tier is the rig's.
fn tables(rig: &Rig) -> CacheTables {
    let counts = Metrics::new().cache().clone();
    let memory = MemoryTier::new(10, 10_000, counts.clone());
    let log = Logger::root(slog::Discard, slog::o!());
    let tables = CacheTables::new(memory, None, counts, log, Arc::new(Silent));
    tables.with_redis(Some(rig.tier.clone()))
}

#[tokio::test]
async fn entries_are_read_only_once_the_journal_was_and_again_when_redis_was_away() {
    let rig = Rig::start_hearing();
    let (tables, entry) = (tables(&rig), key("entry"));
    let mut journal = Journal::default();
    rig.store(&entry, "body").await;
    let rule = r#"{"subject":"tag product:1","mode":"hard","at":7}"#;
    eventually(async || rig.tier.append(rule).await).await;
    assert_eq!(rig.tier.get(&[&entry]).await, Err(StoreError::Avoided));
    assert_eq!(rig.tier.peek(&[&entry]).await, Err(StoreError::Avoided));

    eventually(async || journal.catch_up(&tables).await).await;
    assert_eq!(tables.invalidations.version(), 1, "it is known");
    until_so("it is read", async || {
        drop(journal.catch_up(&tables).await);
        rig.tier.get(&[&entry]).await.is_ok_and(|found| found[0].is_some())
    })
    .await;

    rig.proxy.set(Fault::Cut);
    rig.until_avoided(true).await;
    until_so("it was away for long", async || !rig.tier.is_heard()).await;
    tables.arrears.missed(&key("missed"), "body".into(), clock::now().plus(LIFE));
    rig.proxy.set(Fault::None);
    rig.until_avoided(false).await;
    assert_eq!(rig.tier.get(&[&entry]).await, Err(StoreError::Avoided), "who knows what happened");
    eventually(async || journal.catch_up(&tables).await).await;
    until_so("it is read again", async || {
        drop(journal.catch_up(&tables).await);
        rig.tier.get(&[&entry]).await.is_ok_and(|found| found[0].is_some())
    })
    .await;
    rig.stop();
}

#[tokio::test]
async fn a_redis_that_has_no_journal_for_us_is_used_all_the_same() {
    let rig = Rig::start_hearing();
    let (tables, mut journal) = (tables(&rig), Journal::default());
    rig.store(&key("entry"), "body").await;
    rig.redis().command(&[b"SET", b"breakwater:2:journal", b"no stream"]);
    until_so("it is read", async || {
        drop(journal.catch_up(&tables).await);
        rig.tier.get(&[&key("entry")]).await.is_ok_and(|found| found[0].is_some())
    })
    .await;
    rig.stop();
}

#[test]
fn an_invalidation_that_was_promised_outlasts_the_process_that_promised_it() {
    let parted = Parted::start(&[("CACHE_WARM_KEYS", "0")]);
    let path = search(1);
    let answer = parted.far.get(&path).json();
    let product = answer["data"]["products"][0]["product_id"].as_str().unwrap().to_owned();
    until("it is in memory", || parted.near.tier(&path) == "memory");
    parted.part();
    let told = parted.far.invalidate(&json!({"tag": format!("product:{product}")}));
    assert_eq!(told["replayed_later"], true, "{told}");
    let Parted { redis, wire, upstream, far, near } = parted;
    let far = far.restarted(|_| {});
    assert_eq!(near.tier(&path), "memory", "it cannot know");
    wire.set(Fault::None);
    let took = until("it is in force at the near one", || near.tier(&path) != "memory");
    eprintln!("after a restart without redis an invalidation is told after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    Parted { redis, wire, upstream, far, near }.stop();
}

#[test]
fn who_is_not_asked_takes_no_time() {
    let parted = Parted::start(&[]);
    let far = &parted.far;
    far.tier(&search(1));
    let asked = || {
        ["get_redis", "put_redis"].map(|what| {
            let series = "cache_operation_latency_seconds_count{cache_type=\"search\",operation=";
            far.metric(&format!("{series}\"{what}\""))
        })
    };
    until("redis was asked", || asked().iter().all(|times| *times > 0.5));
    parted.part();
    let before: f64 = asked().iter().sum();
    (2..12).for_each(|number| drop(far.tier(&search(number))));
    // What was under way when it was noticed may end only now.
    let more = asked().iter().sum::<f64>() - before;
    assert!(more < 3.0, "ten times not asked, and {more} times noted");
    parted.stop();
}

fn envelope(stored_at: i64, body: &str) -> Bytes {
    let mut bytes = b"BWE\x02\0\0\0\0".to_vec();
    bytes.extend(stored_at.to_le_bytes());
    bytes.extend(body.as_bytes());
    bytes.into()
}

#[tokio::test]
async fn an_older_entry_is_not_stored_over_a_newer_one_and_over_anything_else() {
    let rig = Rig::start();
    let entry = key("contended");
    let newer = 1_764_000_000_256;
    let put = async |key: &CacheKey, stored_at, body: &str| {
        let entries = [(key.clone(), envelope(stored_at, body), LIFE)];
        eventually(async || rig.tier.put_newer(&entries).await).await;
    };
    let holds = async |key: &CacheKey| {
        let found = eventually(async || rig.tier.get(&[key]).await).await;
        String::from_utf8(found[0].clone().unwrap()[16..].to_vec()).unwrap()
    };
    for (stored_at, body, held) in [
        (newer, "first", "first"),
        (newer - 255, "older, with a higher last byte", "first"),
        (newer, "as old", "as old"),
        (newer + 1, "newer", "newer"),
    ] {
        put(&entry, stored_at, body).await;
        assert_eq!(holds(&entry).await, held, "{body}");
    }
    let foreign = key("foreign");
    let name = format!("breakwater:2:e:{foreign}");
    let earlier = [&b"BWE\x01"[..], &envelope(newer * 2, "of another form")[4..]].concat();
    for spoilt in [b"text".to_vec(), vec![0xff; 40], earlier] {
        rig.redis().command(&[b"SET", name.as_bytes(), &spoilt]);
        put(&foreign, newer, "ours").await;
        assert_eq!(holds(&foreign).await, "ours");
    }
    rig.redis().command(&[b"DEL", name.as_bytes()]);
    rig.redis().command(&[b"RPUSH", name.as_bytes(), b"item"]);
    put(&foreign, newer, "ours").await;
    assert_eq!(holds(&foreign).await, "ours");
    let told = String::from_utf8(rig.redis().command(&[b"PTTL", name.as_bytes()])).unwrap();
    let left: u128 = told[1..].split("\r\n").next().unwrap().parse().unwrap();
    assert!((1..=LIFE.as_millis()).contains(&left), "{left} ms");
    rig.stop();
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_says_so_of_the_comparison_too() {
    let rig = Rig::start();
    let entries = [(key("any"), envelope(1, "body"), LIFE)];
    let refused = async || {
        eventually(async || match rig.tier.put_newer(&entries).await {
            Err(StoreError::Refused(cause)) => Ok(cause),
            Ok(()) => Ok("stored".to_owned()),
            Err(error) => Err(error),
        })
        .await
    };
    rig.redis().command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    assert!(refused().await.starts_with("OOM"));
    assert!(rig.tier.refuses_writes());
    rig.redis().command(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    rig.redis().command(&[b"REPLICAOF", b"127.0.0.1", b"1"]);
    assert!(refused().await.starts_with("READONLY"));
    assert_eq!(rig.moves(), 0);
    rig.stop();
}
