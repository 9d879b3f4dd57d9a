//! Many cold keys at once on a Redis that is well.
//!
//! Owns: the rule that a worker's own queue is never taken for a Redis that is late: the breaker does
//! not move, and what is loaded is stored.

use std::thread;

use futures_util::future::join_all;

use crate::pair::{Instance, Upstream, get, one_of_a_few, search, until};
use crate::redis_rig::{LIFE, Rig, key, keys_of_entries, row};
use crate::support::redis::Redis;

/// Far more than a worker has connections.
const MANY: usize = 600;

#[tokio::test]
async fn a_worker_asks_any_number_of_things_at_once_on_one_connection() {
    let rig = Rig::start();
    let keys: Vec<_> = (0..MANY).map(|number| key(&number.to_string())).collect();
    let body = bytes::Bytes::from(vec![b'x'; 500]);
    let stores = keys.iter().map(|key| {
        let entry = [row(key, body.clone(), LIFE)];
        let tier = &rig.tier;
        async move { tier.put(&entry).await.is_ok() }
    });
    let stored = join_all(stores).await.into_iter().filter(|stored| *stored).count();
    let looks = keys.iter().map(|key| async { rig.tier.get(&[key]).await });
    let found = join_all(looks).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(rig.moves(), 0, "{stored} stored, {found} found");
    // A busy machine leaves some behind; they are late and nobody's fault.
    assert!(stored.min(found) > MANY / 10, "{stored} stored, {found} found of {MANY}");
    // One more for a connection that was given up because something on it was late.
    assert!(rig.proxy.accepted() <= 3, "{} connections", rig.proxy.accepted());
    rig.stop();
}

#[tokio::test]
async fn a_connection_that_died_unused_is_no_failure() {
    let rig = Rig::start();
    rig.store(&key("kept"), "body").await;
    for _ in 0..5 {
        // As a server does that closes what is idle.
        rig.redis().command(&[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
        let found = rig.tier.get(&[&key("kept")]).await;
        assert!(found.is_ok(), "{found:?}");
    }
    assert_eq!(rig.moves(), 0);
    rig.stop();
}

#[test]
fn a_burst_of_cold_keys_is_no_outage_of_redis() {
    let (redis, upstream) = (Redis::start(), Upstream::start());
    let gateway = Instance::start(&upstream, Some(&redis), &[("HTTP_WORKERS", "1")]);
    let address = gateway.address();
    let mut told = [0.0; 3];
    // A machine that lets the server itself wait is no news of the gateway.
    one_of_a_few("a burst without an outage", |round| {
        let ask = |number| thread::spawn(move || get(address, &search(number)).status);
        let askers: Vec<_> = (round * MANY..(round + 1) * MANY).map(ask).collect();
        let good = askers.into_iter().filter_map(|asker| asker.join().ok());
        let good = good.filter(|status| *status == 200).count();
        let now = [
            "circuit_breaker_transitions_total{name=\"redis\"",
            "cache_errors_total",
            "cache_writes_dropped_total",
        ]
        .map(|series| gateway.metric(series));
        let [moves, errors, lost] = [0, 1, 2].map(|index| now[index] - told[index]);
        told = now;
        eprintln!("{good} of {MANY} answered: breaker moved {moves}, {errors} late, {lost} lost");
        good == MANY && moves < 0.5 && errors < 100.0 && lost < 0.5
    });
    until("all that was loaded is stored", || keys_of_entries(&redis).len() >= MANY);
    gateway.stop();
    redis.stop();
    upstream.stop();
}
