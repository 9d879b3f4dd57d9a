//! The third tier behind memory: restarts, corrupt rows, clean-ups.

use std::path::Path;

use diesel::prelude::*;

use crate::cache::tests::fixture::{Brings, Fixture, Source, body_of, fresh, key};
use crate::cache::{Mode, Subject, Tier};
use crate::clock;
use crate::database::schema::cache_entries::dsl;

async fn flush(fixture: &Fixture) {
    fixture.client.tables().database.writer.flush().await;
}

/// A connection beside those of the tier.
fn beside(path: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    diesel::sql_query("PRAGMA busy_timeout = 5000").execute(&mut connection).unwrap();
    connection
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let changed = diesel::update(dsl::cache_entries).set(dsl::entry.eq(bytes));
    assert_eq!(changed.execute(&mut beside(path)), Ok(1));
}

#[actix::test]
async fn a_restart_on_the_same_file_answers_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let source = Source::open(Brings::Bodies);
    let before = Fixture::over(&path);
    before.get("a", &source).await.unwrap();
    flush(&before).await;
    drop(before);
    let after = Fixture::over(&path);
    let first = after.get("a", &source).await.unwrap();
    let second = after.get("a", &source).await.unwrap();
    assert_eq!((first.tier, second.tier), (Tier::Database, Tier::Memory), "promoted on the way");
    assert_eq!(body_of(&first), "load 1 place 0");
    assert_eq!(source.asked().len(), 1);
}

#[actix::test]
async fn a_corrupt_row_is_a_miss_counted_and_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let source = Source::open(Brings::Bodies);
    let first = Fixture::over(&path);
    first.get("a", &source).await.unwrap();
    flush(&first).await;
    let foreign = fresh("someone else's").encode(&key("b"));
    for (load, bytes) in [(2, &b"garbage"[..]), (3, &[][..]), (4, &foreign[..])] {
        overwrite(&path, bytes);
        let fixture = Fixture::over(&path);
        let answer = fixture.get("a", &source).await.unwrap();
        assert_eq!(answer.tier, Tier::Upstream);
        assert_eq!(fixture.metric("cache_corrupt_entries_total{tier=\"database\"}"), 1);
        fixture.until_loaded().await;
        flush(&fixture).await;
        let healed = Fixture::over(&path).get("a", &source).await.unwrap();
        assert_eq!(healed.tier, Tier::Database);
        assert_eq!(body_of(&healed), format!("load {load} place 0"));
    }
}

#[actix::test]
async fn a_glob_clears_all_tiers_and_says_how_many() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let source = Source::open(Brings::Bodies);
    let fixture = Fixture::over(&path);
    for name in ["x1", "x2", "y1"] {
        fixture.get(name, &source).await.unwrap();
    }
    fixture.until_loaded().await;
    // One more that memory does not hold.
    let row = std::sync::Arc::new(fresh("behind"));
    fixture.stores("x3", row.clone()).await;
    let cleared = fixture
        .client
        .invalidate(Subject::Pattern("*:x?".into()), Mode::Hard, "admin")
        .await
        .unwrap();
    assert_eq!((cleared.memory, cleared.redis, cleared.database), (2, 0, 3));
    assert!(cleared.unreached.is_empty());
    let line = "cache_invalidations_total{cache_type=\"all\",reason=\"admin\"}";
    assert_eq!(fixture.metric(line), 3);
    assert_eq!(fixture.get("x1", &source).await.unwrap().tier, Tier::Upstream);
    assert_eq!(fixture.get("y1", &source).await.unwrap().tier, Tier::Memory);
}

#[actix::test]
async fn a_table_that_is_gone_is_a_miss_and_then_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let source = Source::open(Brings::Bodies);
    let fixture = Fixture::over(&path);
    diesel::sql_query("DROP TABLE cache_entries").execute(&mut beside(&path)).unwrap();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(fixture.get(name, &source).await.unwrap().tier, Tier::Upstream);
    }
    assert_eq!(fixture.client.tables().degraded(), ["database"], "its breaker is open");
    let errors = "cache_errors_total{cache_type=\"search\",cache_layer=\"database\"}";
    assert_eq!(fixture.metric(errors), 3, "the fourth was not tried");
    let cleared =
        fixture.client.invalidate(Subject::Everything, Mode::Hard, "admin").await.unwrap();
    assert_eq!(cleared.unreached, ["database"]);
}

#[actix::test]
async fn entries_survive_with_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.db");
    let source = Source::open(Brings::Bodies);
    let before = Fixture::over(&path);
    let stored = before.get("a", &source).await.unwrap().entry;
    flush(&before).await;
    let found = Fixture::over(&path).get("a", &source).await.unwrap().entry;
    assert_eq!(found.times.stored_at, stored.times.stored_at);
    assert_eq!(found.times.fresh_until, stored.times.fresh_until);
    assert_eq!(found.times.stale_until, stored.times.stale_until);
    assert!(found.times.fresh_until > clock::now());
}
