//! A gateway that loses the way to its Redis for a while, and stores of entries that meet newer ones.

use breakwater::cache::CacheKey;
use breakwater::failure::StoreError;
use bytes::Bytes;

use crate::pair::{Instance, Upstream, search, until};
use crate::redis_rig::{LIFE, Rig, eventually, key};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::redis::Redis;

/// A gateway at the end of a wire that may break.
struct Parted {
    redis: Redis,
    wire: FaultProxy,
    upstream: Upstream,
    far: Instance,
}

impl Parted {
    fn start(settings: &[(&'static str, &str)]) -> Self {
        let (redis, upstream) = (Redis::start(), Upstream::start());
        let wire = FaultProxy::before(redis.address());
        let url = format!("redis://{}/0", wire.address());
        let of_far: Vec<_> = settings.iter().copied().chain([("REDIS_URL", &*url)]).collect();
        let far = Instance::start(&upstream, Some(&redis), &of_far);
        Self { redis, wire, upstream, far }
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
        let Self { redis, wire, upstream, far } = self;
        far.stop();
        drop(wire);
        redis.stop();
        upstream.stop();
    }
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
