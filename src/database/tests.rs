//! Real files that break under a store which looks after them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::{Connection, Event, Store};
use crate::clock::{self, Timestamp};

/// A store in a folder of its own, with a clock that is moved by hand.
struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    at: Instant,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

const NOW: Timestamp = Timestamp::from_millis(1_000);

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = clock::monotonic();
        let (store, events) = Store::open(&folder.path().join("x.db"), 2, at, NOW);
        assert_eq!(events, [Event::Opened]);
        Self { folder, store, at }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("x.db")
    }

    /// Looks, a minute later.
    fn look(&mut self) -> Vec<Event> {
        self.look_after(Duration::from_secs(60))
    }

    fn look_after(&mut self, passed: Duration) -> Vec<Event> {
        self.at += passed;
        self.store.look_after(self.at, NOW)
    }

    fn run(&self, sql: &str) -> Result<(), String> {
        let mut connection = self.store.lend().map_err(|error| error.to_string())?;
        connection.batch_execute(sql).map_err(|error| {
            self.store.blame(&error.to_string());
            error.to_string()
        })
    }

    fn store_rows(&self, count: i32) {
        self.run(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO cache_entries (key, kind, entry, stored_at, stale_until) \
             SELECT 'k' || i, 'search', randomblob(3000), 1, 1 FROM n"
        ))
        .unwrap();
    }

    fn count(&self) -> Result<i64, String> {
        let mut connection = self.store.lend().map_err(|error| error.to_string())?;
        let query = sql_query("SELECT count(*) AS n FROM cache_entries WHERE length(entry) > 1");
        query.get_result::<Number>(&mut connection).map(|found| found.n).map_err(|error| {
            self.store.blame(&error.to_string());
            error.to_string()
        })
    }

    fn kept_aside(&self) -> usize {
        let files = fs::read_dir(self.folder.path()).unwrap().filter_map(Result::ok);
        let name = |file: fs::DirEntry| file.file_name().to_string_lossy().into_owned();
        files.map(name).filter(|name| name.contains(".corrupt-") && !name.ends_with("-wal")).count()
    }
}

fn beside(path: &Path) -> Connection {
    Connection::establish(&path.to_string_lossy()).unwrap()
}

fn garble(path: &Path, from: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes.iter_mut().skip(from).for_each(|byte| *byte = b'x');
    // In place: it stays the same file.
    fs::File::options().write(true).open(path).unwrap().write_all(&bytes).unwrap();
}

fn words(events: &[Event]) -> String {
    let word = |event: &Event| match event {
        Event::Opened => "opened".to_owned(),
        Event::MovedAside(_) => "moved".to_owned(),
        Event::Lost(why) => format!("lost ({why})"),
    };
    events.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn nothing_is_done_while_all_is_well() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    assert_eq!((0..5).map(|_| bench.look().len()).sum::<usize>(), 0);
    assert_eq!(bench.count(), Ok(10));
}

#[test]
fn several_stores_open_a_new_file_together() {
    // Several at a time, so that the threads of a pool are held up at bad moments.
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        let openers = [(); 4].map(|()| {
            let path = path.clone();
            std::thread::spawn(move || {
                let mut at = clock::monotonic();
                let (store, mut events) = Store::open(&path, 2, at, NOW);
                // Another one may be at it: what counts is that it comes right by itself.
                for _ in 0..20 {
                    if store.is_open() {
                        break;
                    }
                    at += Duration::from_secs(10);
                    events = store.look_after(at, NOW);
                }
                assert!(store.lend().is_ok(), "{}", words(&events));
                assert!(!words(&events).contains("moved"));
            })
        });
        openers.into_iter().for_each(|opener| opener.join().unwrap());
    }
}

#[test]
fn garbage_at_the_start_is_moved_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.db");
    fs::write(&path, "not a database at all, sorry. ".repeat(300)).unwrap();
    let (store, events) = Store::open(&path, 2, clock::monotonic(), NOW);
    let [Event::MovedAside(aside), Event::Opened] = &events[..] else { panic!("{events:?}") };
    assert!(fs::read_to_string(aside).unwrap().starts_with("not a database"));
    assert!(store.lend().is_ok());
}

#[test]
fn what_could_not_be_opened_is_opened_when_it_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later").join("x.db");
    let mut at = clock::monotonic();
    let (store, events) = Store::open(&path, 2, at, NOW);
    assert!(matches!(&events[..], [Event::Lost(_)]), "{events:?}");
    assert!(store.lend().is_err() && store.absence().is_some());
    assert_eq!(store.look_after(at, NOW), [], "not at once again");
    at += Duration::from_secs(1);
    assert_eq!(store.look_after(at, NOW), [], "nothing new to say");
    fs::create_dir(folder.path().join("later")).unwrap();
    at += Duration::from_secs(5);
    assert_eq!(store.look_after(at, NOW), [Event::Opened]);
    assert!(store.lend().is_ok() && store.absence().is_none());
}

#[test]
fn garbage_in_place_of_an_open_file_is_noticed_without_traffic() {
    let mut bench = Bench::new();
    bench.store_rows(100);
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    garble(&bench.path(), 0);
    let events = bench.look();
    assert!(
        matches!(&events[..], [Event::Lost(_), Event::MovedAside(_), Event::Opened]),
        "{events:?}"
    );
    assert_eq!(bench.count(), Ok(0));
    bench.store_rows(3);
    assert_eq!((bench.count(), bench.kept_aside()), (Ok(3), 1));
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
        matches!(&events[..], [Event::Lost(_), Event::MovedAside(_), Event::Opened]),
        "{events:?}"
    );
    assert_eq!(bench.count(), Ok(0));
}

#[test]
fn a_slander_costs_one_reading_and_no_file() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    bench.look();
    bench.store.blame("database disk image is malformed");
    bench.store.blame("database is locked");
    let events = bench.look();
    assert!(matches!(&events[..], [Event::Lost(_), Event::Opened]), "{events:?}");
    assert_eq!((bench.count(), bench.kept_aside()), (Ok(10), 0));
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
    assert_eq!(words(&events), "lost (the file was replaced), moved, opened");
    assert_eq!(bench.count(), Ok(0));
}

#[test]
fn tables_that_are_dropped_come_back_and_the_others_keep_their_rows() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    beside(&bench.path()).batch_execute("DROP TABLE kept_state; DROP TABLE invalidations").unwrap();
    let events = bench.look();
    assert_eq!(words(&events), "lost (no such table: invalidations), opened");
    assert_eq!((bench.count(), bench.kept_aside()), (Ok(10), 0));
    beside(&bench.path()).batch_execute("DROP TABLE cache_entries").unwrap();
    assert!(bench.count().is_err());
    bench.look();
    assert_eq!((bench.count(), bench.kept_aside()), (Ok(0), 0));
    let mut other = beside(&bench.path());
    other.batch_execute("DROP INDEX cache_entries_uses").unwrap();
    other.batch_execute("ALTER TABLE cache_entries DROP COLUMN bytes").unwrap();
    assert!(words(&bench.look()).ends_with("moved, opened"), "that cannot be mended");
    assert_eq!(bench.kept_aside(), 1);
}

#[test]
fn a_lock_is_no_reason_to_give_the_file_up() {
    let mut bench = Bench::new();
    bench.store_rows(10);
    let mut other = beside(&bench.path());
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    assert!(bench.run("DELETE FROM cache_entries").unwrap_err().contains("locked"));
    assert_eq!((bench.count(), bench.look()), (Ok(10), Vec::new()));
}

/// What a kill or a torn copy leaves: any length of the file, any length of its log.
#[test]
fn any_cut_of_file_and_log_is_used_or_moved_aside() {
    let bench = Bench::new();
    bench.store_rows(30);
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    bench.run("DELETE FROM cache_entries WHERE stored_at = 1").unwrap();
    bench.store_rows(40);
    let main = fs::read(bench.path()).unwrap();
    let log = fs::read(bench.folder.path().join("x.db-wal")).unwrap();
    let cuts = |bytes: &[u8]| -> Vec<usize> {
        (0..=9).map(|n| bytes.len() * n / 9).chain([1, 24, 100, 4_096, 4_097, 9_000]).collect()
    };
    let whole_main = cuts(&log).into_iter().map(|cut| (main.len(), cut));
    let whole_log = cuts(&main).into_iter().map(|cut| (cut, log.len()));
    let no_log = cuts(&main).into_iter().map(|cut| (cut, 0));
    for (main_cut, log_cut) in whole_main.chain(whole_log).chain(no_log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        fs::write(&path, &main[..main_cut.min(main.len())]).unwrap();
        fs::write(folder.path().join("x.db-wal"), &log[..log_cut.min(log.len())]).unwrap();
        let at = clock::monotonic();
        let (store, events) = Store::open(&path, 1, at, NOW);
        let mut cut = Bench { folder, store, at };
        let which = format!("cut at {main_cut} and {log_cut}: {}", words(&events));
        assert!(cut.store.is_open(), "{which}");
        let found = cut.count();
        assert!(matches!(found, Ok(0 | 30 | 40) | Err(_)), "{which}: {found:?} rows");
        // It may look whole until somebody meets what is missing.
        let healed = (0..3).any(|_| {
            let gone = cut.run("DELETE FROM cache_entries");
            cut.look();
            gone.is_ok()
        });
        assert!(healed, "{which}");
        cut.store_rows(2);
        assert_eq!(cut.count(), Ok(2), "{which}");
    }
}
