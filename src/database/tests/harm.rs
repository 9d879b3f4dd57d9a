//! Files that come to harm while they are open.

use std::fs;

use diesel::connection::SimpleConnection;

use super::{Bench, NOW, beside, garble, words};
use crate::database::{DatabaseError, DatabaseSettings, Event, Harm, Store};

#[test]
fn garbage_in_place_of_an_open_file_is_noticed_without_traffic() {
    let mut bench = Bench::new();
    bench.store_rows(100);
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    garble(&bench.path(), 0);
    let events = bench.look();
    assert!(
        matches!(&events[..], [Event::Lost(_), Event::Quarantined(_), Event::Opened]),
        "{events:?}"
    );
    assert_eq!(bench.count(), Ok(0));
    bench.store_rows(3);
    assert_eq!((bench.count(), bench.quarantined()), (Ok(3), 1));
    assert_eq!(bench.look(), []);
}

#[test]
fn garbage_in_the_middle_is_noticed_by_whoever_meets_it() {
    let mut bench = Bench::new();
    bench.store_rows(2_000);
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    garble(&bench.path(), 100_000);
    assert_eq!(bench.look(), [], "the head is whole");
    let error = bench.count().unwrap_err();
    assert!(error.contains("malformed"), "{error}");
    let events = bench.look();
    assert!(
        matches!(&events[..], [Event::Lost(_), Event::Quarantined(_), Event::Opened]),
        "{events:?}"
    );
    assert_eq!(bench.count(), Ok(0));
}

#[test]
fn a_slander_costs_one_reading_and_no_file() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    bench.look();
    bench.store.accuse(DatabaseError::new("database disk image is malformed"));
    bench.store.accuse(DatabaseError::new("database is locked"));
    let events = bench.look();
    assert!(matches!(&events[..], [Event::Lost(_), Event::Opened]), "{events:?}");
    assert_eq!((bench.count(), bench.quarantined()), (Ok(10), 0));
}

#[test]
fn a_file_that_is_deleted_is_begun_anew() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    let held = bench.store.lend().unwrap();
    fs::remove_file(bench.path()).unwrap();
    let events = bench.look();
    assert!(words(&events).starts_with("lost (the file was deleted), opened"), "{events:?}");
    assert_eq!(bench.count(), Ok(0), "its log is not replayed into the new one");
    bench.store_rows(5);
    // The last connection of the old file is closed beside the new one's.
    drop(held);
    assert_eq!(bench.count(), Ok(5));
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert_eq!((bench.count(), bench.look()), (Ok(5), Vec::new()));
}

#[test]
fn a_file_that_is_replaced_is_used() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    let other = Bench::new();
    other.store_rows(7);
    other.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    fs::copy(other.path(), bench.folder.path().join("new")).unwrap();
    fs::rename(bench.folder.path().join("new"), bench.path()).unwrap();
    let events = bench.look();
    assert_eq!(words(&events), "lost (the file was replaced), opened");
    assert_eq!(bench.count(), Ok(7));
    fs::write(bench.folder.path().join("new"), "garbage ".repeat(1_000)).unwrap();
    fs::rename(bench.folder.path().join("new"), bench.path()).unwrap();
    let events = bench.look();
    assert_eq!(words(&events), "lost (the file was replaced), quarantined, opened");
    assert_eq!(bench.count(), Ok(0));
}

#[test]
fn a_file_without_a_table_or_a_column_is_quarantined() {
    for (lost, what) in [
        ("DROP TABLE kept_state", "no such table: kept_state"),
        ("DROP TABLE __diesel_schema_migrations; DROP TABLE audit_log", "no such table: audit_log"),
        (
            "DROP INDEX cache_entries_uses; ALTER TABLE cache_entries DROP COLUMN bytes",
            "no such column: cache_entries.bytes",
        ),
    ] {
        let mut bench = Bench::new();
        bench.store_rows(10);
        beside(&bench.path()).batch_execute(lost).unwrap();
        assert_eq!(words(&bench.look()), format!("lost ({what}), quarantined, opened"));
        assert_eq!((bench.count(), bench.quarantined()), (Ok(0), 1));
        assert_eq!(bench.look(), []);
    }
}

#[test]
fn a_file_without_the_record_of_its_migrations_is_quarantined_when_it_is_opened() {
    let bench = Bench::new();
    bench.run("DELETE FROM __diesel_schema_migrations").unwrap();
    let (store, events) = Store::open(DatabaseSettings::at(bench.path()), bench.at, NOW);
    assert_eq!(words(&events), "quarantined, opened");
    assert!(store.lend().is_ok());
}

#[test]
fn two_that_share_a_file_share_the_new_one() {
    let mut bench = Bench::new();
    bench.store_rows(100);
    let (other, _) = Store::open(DatabaseSettings::at(bench.path()), bench.at, NOW);
    let mut other = Bench { folder: tempfile::tempdir().unwrap(), store: other, at: bench.at };
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    garble(&bench.path(), 0);
    assert!(words(&bench.look()).ends_with("quarantined, opened"));
    assert_eq!(words(&other.look()), "lost (the file was replaced), opened");
    bench.store_rows(3);
    assert_eq!((other.count(), bench.quarantined()), (Ok(3), 1));
    assert_eq!((other.look(), bench.look()), (Vec::new(), Vec::new()));
}

#[test]
fn texts_tell_the_harm() {
    for (text, harm) in [
        ("database is locked", Harm::None),
        ("database or disk is full", Harm::None),
        ("no such table: cache_entries", Harm::Schema),
        ("table kept_state has no column named at", Harm::Schema),
        ("Unexpected null for non-null column", Harm::Schema),
        ("disk I/O error", Harm::Connections),
        ("file is not a database", Harm::File),
        ("malformed database schema (x) - near \"garbage\": syntax error", Harm::File),
    ] {
        assert_eq!(Harm::of(text), harm, "{text}");
    }
}
