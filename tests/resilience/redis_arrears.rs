//! What a real Redis missed while it was away is brought when it is back.

use std::time::Duration;

use breakwater::cache::tiers::redis::{Replayed, replay};
use breakwater::cache::{Arrears, Mode, Rule, Subject};
use breakwater::clock::{self, Timestamp};
use bytes::Bytes;

use crate::redis_rig::{LIFE, Rig, key, keys_of_entries, until};

/// More than one batch.
const MANY: usize = 150;

fn life_from(now: Timestamp) -> Timestamp {
    now.plus(LIFE)
}

/// Replays until nothing is left; the sums of what the replays did.
async fn replayed(rig: &Rig, arrears: &Arrears, now: Timestamp) -> Replayed {
    let mut sum = Replayed::default();
    until("nothing is left", async || {
        let done = replay(&rig.tier, arrears, now).await;
        sum.entries += done.entries;
        sum.records += done.records;
        sum.left = done.left;
        done.left == 0
    })
    .await;
    sum
}

#[tokio::test]
async fn a_redis_that_died_gets_what_it_missed_but_for_the_dead_and_the_forgotten() {
    let mut rig = Rig::start();
    rig.store(&key("before"), "body").await;
    rig.kill();
    rig.until_avoided(true).await;
    let (arrears, now) = (Arrears::new(), clock::now());
    for number in 0..MANY {
        let body = Bytes::from(format!("body {number}"));
        arrears.missed(&key(&number.to_string()), body, life_from(now));
    }
    arrears.missed(&key("dead"), Bytes::from_static(b"dead"), now);
    arrears.missed(&key("forgotten"), Bytes::from_static(b"x"), life_from(now));
    arrears.forget(&key("forgotten"));
    let [first, second] = [1, 2].map(|at| Rule {
        subject: Subject::Everything,
        mode: Mode::Soft,
        at: Timestamp::from_millis(at),
    });
    arrears.missed_record(&first);
    arrears.missed_record(&second);

    let none = replay(&rig.tier, &arrears, now).await;
    assert_eq!(none, Replayed { entries: 0, records: 0, left: MANY + 3 });
    rig.revive();
    rig.until_avoided(false).await;
    assert_eq!(
        replayed(&rig, &arrears, now).await,
        Replayed { entries: MANY, records: 2, left: 0 }
    );
    assert_eq!(keys_of_entries(rig.redis()).len(), MANY);
    rig.until_holds(&key("149"), Some("body 149")).await;
    let mut read = Vec::new();
    until("the journal is read", async || {
        read = rig.tier.read_after("0", 10).await.map_or_else(|_| Vec::new(), |page| page.records);
        !read.is_empty()
    })
    .await;
    let mut texts: Vec<_> = read.iter().map(|(_, text)| text.as_str()).collect();
    texts.dedup();
    assert_eq!(texts.first(), Some(&&*first.to_string()));
    assert_eq!(texts.last(), Some(&&*second.to_string()));
    rig.stop();
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_keeps_its_arrears_waiting() {
    let rig = Rig::start();
    rig.redis().command(&[b"CONFIG", b"SET", b"maxmemory", b"1"]);
    rig.until_refuses_writes(true).await;
    let (arrears, now) = (Arrears::new(), clock::now());
    arrears.missed(&key("late"), Bytes::from_static(b"late"), life_from(now));
    assert_eq!(replay(&rig.tier, &arrears, now).await.left, 1);
    rig.redis().command(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    rig.until_refuses_writes(false).await;
    assert_eq!(replayed(&rig, &arrears, now).await.entries, 1);
    rig.until_holds(&key("late"), Some("late")).await;
    rig.stop();
}

#[tokio::test]
async fn a_life_is_what_is_left_of_it_when_it_is_brought() {
    let rig = Rig::start();
    let (arrears, now) = (Arrears::new(), clock::now());
    let short = Duration::from_secs(30);
    arrears.missed(&key("short"), Bytes::from_static(b"short"), now.plus(short));
    replayed(&rig, &arrears, now.plus(Duration::from_secs(10))).await;
    let name = crate::redis_rig::entry_of(&key("short"));
    let told = String::from_utf8(rig.redis().command(&[b"PTTL", &name])).unwrap();
    let left: u64 = told[1..].split("\r\n").next().unwrap().parse().unwrap();
    assert!((1..=20_000).contains(&left), "{left} ms");
    rig.stop();
}
