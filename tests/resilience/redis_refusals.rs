//! A Redis that answers and refuses: that says nothing about its health.
//!
//! Owns: the rule that reads go on, the breaker does not move, all workers know, and the next write
//! that is taken ends it.

use breakwater::failure::StoreError;
use bytes::Bytes;

use crate::redis_rig::{LIFE, Rig, entry_of, eventually, key, keys_of_entries, row, until};

/// Refusals tried one after another: far more than failures the breaker takes.
const OFTEN: u32 = 30;

/// Whether it was refused; too late it may be, on a busy machine.
fn is_refused(outcome: &Result<(), StoreError>) -> bool {
    match outcome {
        Err(StoreError::Refused(_)) => true,
        Err(StoreError::TooLate | StoreError::Avoided) => false,
        other => panic!("neither refused nor late: {other:?}"),
    }
}

/// Reads work, writes do not, and everyone knows.
async fn refuses_writes(refuse: &[&[&[u8]]], accept: &[&[u8]], code: &str) {
    let rig = Rig::start();
    let kept = key("kept");
    rig.store(&kept, "body").await;
    refuse.iter().for_each(|command| drop(rig.redis().command(command)));

    let new = row(&key("new"), Bytes::from_static(b"new"), LIFE);
    let mut refused = 0;
    until("it is refused often", async || {
        refused += u32::from(is_refused(&rig.tier.put(std::slice::from_ref(&new)).await));
        rig.until_holds(&kept, Some("body")).await;
        refused >= OFTEN
    })
    .await;
    assert!(rig.tier.client.refuses_writes() && rig.another_worker().client.refuses_writes());
    let text = eventually(async || match rig.tier.put(std::slice::from_ref(&new)).await {
        Err(StoreError::Refused(text)) => Ok(text),
        Ok(()) => panic!("it was stored"),
        Err(other) => Err(other),
    })
    .await;
    assert!(text.starts_with(code), "{text}");
    // A sign of life all the same.
    rig.until_refuses_writes(true).await;
    assert!(!rig.tier.client.is_avoided());

    rig.redis().command(accept);
    rig.until_refuses_writes(false).await;
    rig.store(&new.key, "new").await;
    assert!(!rig.tier.client.refuses_writes());
    rig.stop();
}

#[tokio::test]
async fn without_memory_reads_go_on_and_writes_are_known_to_be_refused() {
    let limit: [&[u8]; 4] = [b"CONFIG", b"SET", b"maxmemory", b"1mb"];
    let policy: [&[u8]; 4] = [b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction"];
    // An empty server may need less than 1 MB: then this fills it.
    let filled = vec![b'x'; 1 << 20];
    let fill: [&[u8]; 3] = [b"SET", b"filler", &filled];
    let accept: [&[u8]; 4] = [b"CONFIG", b"SET", b"maxmemory", b"0"];
    refuses_writes(&[&policy, &fill, &limit], &accept, "OOM").await;
}

#[tokio::test]
async fn a_replica_of_a_dead_host_is_read_and_known_to_refuse_writes() {
    let refuse: [&[u8]; 3] = [b"REPLICAOF", b"127.0.0.1", b"1"];
    refuses_writes(&[&refuse], &[b"REPLICAOF", b"NO", b"ONE"], "READONLY").await;
}

#[tokio::test]
async fn too_few_replicas_are_a_refusal_too() {
    let refuse: [&[u8]; 4] = [b"CONFIG", b"SET", b"min-replicas-to-write", b"1"];
    let accept: [&[u8]; 4] = [b"CONFIG", b"SET", b"min-replicas-to-write", b"0"];
    refuses_writes(&[&refuse], &accept, "NOREPLICAS").await;
}

#[tokio::test]
async fn dropping_needs_no_memory_and_does_not_show_that_there_is_some() {
    let rig = Rig::start();
    let dropped = key("dropped");
    rig.store(&dropped, "body").await;
    rig.redis().command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    rig.until_refuses_writes(true).await;
    eventually(async || rig.tier.remove(&[&dropped]).await).await;
    assert!(rig.tier.client.refuses_writes());
    rig.until_holds(&dropped, None).await;
    rig.stop();
}

#[tokio::test]
async fn another_type_under_a_key_is_a_miss_and_overwritten() {
    let rig = Rig::start();
    let (list, good) = (key("list"), key("good"));
    rig.store(&good, "good").await;
    rig.redis().command(&[b"RPUSH", &entry_of(&list), b"item"]);
    let found = eventually(async || rig.tier.get(&[&list, &good]).await).await;
    assert_eq!(found, [None, Some(Bytes::from_static(b"good"))]);
    rig.store(&list, "entry").await;
    rig.until_holds(&list, Some("entry")).await;
    assert!(!rig.tier.client.refuses_writes());
    rig.stop();
}

#[tokio::test]
async fn many_are_stored_and_found_in_their_order_and_the_dead_are_left_out() {
    let rig = Rig::start();
    let keys: Vec<_> = (0..64).map(|number| key(&number.to_string())).collect();
    let lives = [LIFE, std::time::Duration::ZERO];
    let entry = |(number, life): (usize, _)| {
        row(&keys[number], Bytes::from(format!("body {number}")), life)
    };
    let entries: Vec<_> = (0..64).zip(lives.into_iter().cycle()).map(entry).collect();
    eventually(async || rig.tier.put(&entries).await).await;
    let asked: Vec<_> = keys.iter().collect();
    let found = eventually(async || rig.tier.get(&asked).await).await;
    for (number, found) in found.into_iter().enumerate() {
        let body = (number % 2 == 0).then(|| Bytes::from(format!("body {number}")));
        assert_eq!(found, body);
    }
    assert!(rig.tier.get(&[]).await.unwrap().is_empty());
    rig.tier.put(&[]).await.unwrap();
    rig.stop();
}

#[tokio::test]
async fn a_clean_up_of_everything_drops_entries_only() {
    let rig = Rig::start();
    let (one, two) = (key("one"), key("two"));
    rig.store(&one, "1").await;
    rig.store(&two, "2").await;
    rig.until_refuses_writes(false).await;
    eventually(async || rig.tier.try_hold(&[&one], "token", LIFE).await).await;
    rig.redis().command(&[b"SET", b"foreign", b"stays"]);
    eventually(async || rig.tier.remove_matching("*").await).await;
    assert!(keys_of_entries(rig.redis()).is_empty());
    // Of three others the sign of life may have ended with its time.
    let left = rig.redis().command(&[b"DBSIZE"]);
    assert!(left.starts_with(b":3\r") || left.starts_with(b":2\r"), "{left:?}");
    let peeked = eventually(async || rig.tier.peek(&[&one]).await).await;
    assert_eq!(peeked, [(None, true)]);
    rig.stop();
}

#[tokio::test]
async fn refusals_alone_never_move_the_breaker() {
    let rig = Rig::start();
    rig.until_refuses_writes(false).await;
    rig.redis().command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    let entry = row(&key("new"), Bytes::from_static(b"new"), LIFE);
    let (before, mut late) = (rig.moves(), 0);
    for _ in 0..OFTEN {
        let outcome = rig.tier.put(std::slice::from_ref(&entry)).await;
        late += u32::from(matches!(outcome, Err(StoreError::TooLate | StoreError::Avoided)));
    }
    assert!(rig.moves() == before || late >= 3, "moved by refusals, {late} late");
    rig.stop();
}
