//! Locks that make one load of those of several instances, in a real Redis.
//!
//! Owns: the rule that one token holds a key at a time, that nobody lets go of another's, and that
//! a lock ends with its life when its holder is gone.

use std::time::Duration;

use bytes::Bytes;

use crate::redis_rig::{LIFE, Rig, eventually, key, until};

/// A short life that a test waits out.
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn one_token_holds_a_key_and_only_it_lets_go() {
    let rig = Rig::start();
    let (one, two) = (key("one"), key("two"));
    let tier = &rig.tier;
    // A first try that was too late may have been done: the token tells that it is ours.
    let mut held = eventually(async || tier.try_hold(&[&one], "mine", LIFE).await).await;
    let again = eventually(async || tier.try_hold(&[&one, &two], "yours", LIFE).await).await;
    held.extend(again);
    assert!(!held[1], "another's");
    assert!(eventually(async || tier.peek(&[&one, &two]).await).await.iter().all(|seen| seen.1));

    assert_eq!(
        eventually(async || tier.release(&[&one], "yours").await).await,
        0,
        "a foreign token"
    );
    assert_eq!(eventually(async || tier.peek(&[&one]).await).await, [(None, true)]);
    until("both are let go by who holds them", async || {
        drop(tier.release(&[&one, &two], "mine").await);
        drop(tier.release(&[&one, &two], "yours").await);
        tier.peek(&[&one, &two]).await.is_ok_and(|seen| seen == [(None, false), (None, false)])
    })
    .await;
    let mut taken = Vec::new();
    until("it is free again", async || {
        taken = tier.try_hold(&[&one], "yours", LIFE).await.unwrap_or_default();
        !taken.is_empty()
    })
    .await;
    assert_eq!(eventually(async || tier.peek(&[&one]).await).await, [(None, true)]);
    rig.stop();
}

#[tokio::test]
async fn a_lock_ends_with_its_life() {
    let rig = Rig::start();
    let orphan = key("orphan");
    eventually(async || rig.tier.try_hold(&[&orphan], "gone", SHORT).await).await;
    until("another may hold it", async || {
        rig.tier.try_hold(&[&orphan], "next", LIFE).await.is_ok_and(|held| held == [true])
            || rig.tier.release(&[&orphan], "next").await.is_ok_and(|released| released == 1)
    })
    .await;
    rig.stop();
}

#[tokio::test]
async fn who_waits_sees_the_entry_and_the_lock_at_once() {
    let rig = Rig::start();
    let (loading, loaded, idle) = (key("loading"), key("loaded"), key("idle"));
    eventually(async || rig.tier.try_hold(&[&loading, &loaded], "other", LIFE).await).await;
    rig.store(&loaded, "body").await;
    let seen = eventually(async || rig.tier.peek(&[&loading, &loaded, &idle]).await).await;
    let body = Bytes::from_static(b"body");
    assert_eq!(seen, [(None, true), (Some(body), true), (None, false)]);
    rig.stop();
}

#[tokio::test]
async fn another_type_in_the_place_of_a_lock_spoils_nothing() {
    let rig = Rig::start();
    let (spoilt, good) = (key("spoilt"), key("good"));
    let name = format!("breakwater:2:lock:{{breakwater:2:e:{spoilt}}}");
    rig.redis().command(&[b"RPUSH", name.as_bytes(), b"item"]);
    eventually(async || rig.tier.try_hold(&[&good], "mine", LIFE).await).await;
    let held = eventually(async || rig.tier.try_hold(&[&spoilt], "mine", LIFE).await).await;
    assert_eq!(held, [false]);
    assert_eq!(eventually(async || rig.tier.peek(&[&spoilt]).await).await, [(None, false)]);
    until("the good one is let go", async || {
        drop(rig.tier.release(&[&spoilt, &good], "mine").await);
        rig.tier.peek(&[&good]).await.is_ok_and(|seen| !seen[0].1)
    })
    .await;
    rig.stop();
}
