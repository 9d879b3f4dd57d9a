//! What a look through the tiers finds, and that it is bounded.

use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, HOUR, entry, fresh, key};
use crate::cache::{Freshness, Mode, Subject, Tier};
use crate::database::tests::run_beside;

#[actix::test]
async fn the_newest_copy_counts_and_what_is_dead_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::over(&folder.path().join("cache.db"));
    fixture.holds("both", fresh("in memory"));
    fixture.stores("both", Arc::new(entry("older", HOUR / 2, HOUR))).await;
    fixture.stores("stale", Arc::new(entry("stale", HOUR, Duration::from_secs(60)))).await;
    fixture.holds("dead", entry("dead", 9 * HOUR, HOUR));
    let survey = fixture.client.tables().survey(&[]).await;
    assert!(survey.complete && survey.missed.is_empty());
    assert_eq!(survey.found.len(), 2);
    let both = &survey.found[&key("both")];
    assert_eq!(both.tiers, [Tier::Memory, Tier::Database]);
    assert_eq!(&*both.entry.representation.body, b"in memory");
    let stale = &survey.found[&key("stale")];
    assert_eq!(
        (stale.freshness, &*stale.tiers),
        (Freshness::StaleWhileRevalidate, &[Tier::Database][..])
    );
    let only = fixture.client.tables().survey(&[Subject::Key(key("both").to_string())]).await;
    assert_eq!((only.found.len(), only.count(Tier::Database)), (1, 1));
}

#[actix::test]
async fn a_tier_that_is_away_is_missed_with_the_reason() {
    let fixture = Fixture::of_memory();
    fixture.holds("a", fresh("a"));
    let survey = fixture.client.tables().survey(&[]).await;
    assert_eq!((survey.found.len(), survey.missed.len()), (1, 1));
    assert_eq!(survey.missed[0].tier, "database");
    assert!(!survey.missed[0].reason.is_empty());
}

#[actix::test]
async fn of_a_large_table_a_part_is_looked_at_and_a_pattern_leaves_it_in_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let fixture = Fixture::over(&path);
    // Behind all others in the order of keys.
    fixture.holds("~last", fresh("last"));
    fixture.stores("~last", Arc::new(fresh("last"))).await;
    fixture.client.tables().database.writer.flush().await;
    run_beside(
        &path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
             FROM n WHERE i < 100001) INSERT INTO cache_entries (key, kind, entry, stored_at, \
             stale_until) SELECT CASE WHEN i < 20002 THEN 'test:hot:' ELSE 'test:list:' END || i, \
             'x', x'00', 0, 0 FROM n",
    );
    let tables = fixture.client.tables();
    let survey = tables.survey(&[]).await;
    assert!(!survey.complete && survey.missed.is_empty());
    assert_eq!(survey.count(Tier::Database), 1, "what memory knows is looked for");
    let hot = Subject::Pattern("test:hot:*".into());
    let cleared = fixture.client.invalidate(hot, Mode::Hard, "test").await.unwrap();
    assert_eq!((cleared.database, cleared.complete), (20_001, true), "{cleared:?}");
    assert!(tables.survey(&[Subject::Pattern("test:search:*".into())]).await.complete);
}
