//! Stale while it revalidates, stale if that fails.

use std::time::Duration;

use super::fixture::{Brings, Fixture, HOUR, Source, body_of, down, entry, key, stale};
use crate::cache::Tier;
use crate::clock;
use crate::failure::{Failure, FailureKind};

#[actix::test]
async fn stale_is_served_at_once_and_refreshed_exactly_once() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", stale("old"));
    let source = Source::held(Brings::Bodies);
    // Nothing is let go: were anyone to wait for the refresh, this would never end.
    for answer in fixture.get_by_many(100, "a", &source).await {
        let answer = answer.unwrap();
        assert_eq!((body_of(&answer), answer.tier), ("old", Tier::Memory));
        assert!(answer.stale && answer.ttl_seconds() < 0);
    }
    source.until_asked(1).await;
    source.let_go(10);
    fixture.until_loaded().await;
    let answer = fixture.get("a", &source).await.unwrap();
    assert_eq!((body_of(&answer), answer.stale), ("load 1 place 0", false));
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn a_failed_refresh_holds_the_next_back() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", stale("old"));
    let source = Source::open(down());
    let before = clock::monotonic();
    assert!(fixture.get("a", &source).await.unwrap().stale);
    source.until_asked(1).await;
    fixture.until_loaded().await;
    for _ in 0..100 {
        assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "old");
    }
    fixture.until_loaded().await;
    assert_eq!(source.asked().len(), 1, "no further load");
    let memo = &fixture.client.tables().memo;
    assert!(memo.is_held(&key("a"), before + Duration::from_millis(1_999)));
    assert!(!memo.is_held(&key("a"), clock::monotonic() + Duration::from_millis(3_001)));
}

#[actix::test]
async fn a_refresh_waits_as_long_as_the_failure_says() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", stale("old"));
    let told = Failure::new(FailureKind::UpstreamUnavailable, "throttled")
        .retry_after(Some(Duration::from_secs(30)));
    let source = Source::open(Brings::Failure(told));
    let before = clock::monotonic();
    fixture.get("a", &source).await.unwrap();
    source.until_asked(1).await;
    fixture.until_loaded().await;
    let memo = &fixture.client.tables().memo;
    assert!(memo.is_held(&key("a"), before + Duration::from_secs(29)));
    assert!(!memo.is_held(&key("a"), clock::monotonic() + Duration::from_secs(46)));
}

#[actix::test]
async fn what_is_dead_is_not_served() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", entry("dead", Duration::from_secs(10_000), Duration::from_secs(60)));
    let source = Source::open(down());
    assert!(fixture.get("a", &source).await.is_err());
    source.now_brings(Brings::Bodies);
    fixture.client.tables().memo.clear(&key("a"));
    assert_eq!(fixture.get("a", &source).await.unwrap().tier, Tier::Upstream);
}

#[actix::test]
async fn stale_on_disk_is_served_while_its_refresh_runs() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    let tables = fixture.client.tables();
    fixture.stores("a", std::sync::Arc::new(stale("old"))).await;
    tables.database.writer.flush().await;
    let source = Source::held(Brings::Bodies);
    let answer = fixture.get("a", &source).await.unwrap();
    assert_eq!((body_of(&answer), answer.tier, answer.stale), ("old", Tier::Database, true));
    source.until_asked(1).await;
    source.let_go(1);
    fixture.until_loaded().await;
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "load 1 place 0");
}

/// A failure is remembered for a key; what lies behind memory is found all the same.
#[actix::test]
async fn a_key_that_failed_a_moment_ago_is_still_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    let source = Source::open(down());
    assert!(fixture.get("a", &source).await.is_err());
    fixture.stores("a", std::sync::Arc::new(stale("old"))).await;
    fixture.client.tables().database.writer.flush().await;
    let answer = fixture.get("a", &source).await.unwrap();
    assert_eq!((body_of(&answer), answer.tier), ("old", Tier::Database));
    fixture.client.tables().memory.remove(&key("a"));
    assert_eq!(body_of(&fixture.get("a", &source).await.unwrap()), "old");
    assert!(fixture.get("b", &source).await.is_err());
    assert!(fixture.get("b", &source).await.is_err(), "nothing anywhere");
    assert_eq!(source.asked().len(), 2, "a and b, once each");
}

/// What was to be loaded anew and cannot be is answered with what the tiers hold.
#[actix::test]
async fn a_reload_that_fails_or_is_held_back_falls_back_on_every_tier() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    for n in 0..12 {
        fixture.stores(&n.to_string(), std::sync::Arc::new(entry("old", HOUR / 60, HOUR))).await;
    }
    fixture.client.tables().database.writer.flush().await;
    fixture.holds("memory", entry("old", HOUR / 60, HOUR));
    let source = Source::open(down());
    let reload = async |name: &str| {
        fixture.client.reload(key(name), super::fixture::deadline(), source.plan()).await.unwrap()
    };
    for n in 0..12 {
        let answer = reload(&n.to_string()).await;
        assert_eq!((body_of(&answer), answer.tier), ("old", Tier::Database), "{n}");
    }
    assert!(source.asked().len() < 12, "the budget held some back");
    let answer = reload("memory").await;
    assert_eq!((body_of(&answer), answer.tier), ("old", Tier::Memory));
}
