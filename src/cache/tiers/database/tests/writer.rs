//! Writing behind: batches, the bound, what is given up.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::prelude::*;

use crate::cache::tests::fixture::{fresh, key};
use crate::cache::tiers::Row;
use crate::cache::tiers::database::Writer;
use crate::clock;
use crate::database::schema::cache_entries::dsl;
use crate::database::schema::kept_state;
use crate::database::{DatabaseSettings, Store, query};

type Told = Result<usize, (usize, String)>;

/// A writer that is held up after each batch until it is let go.
struct Fixture {
    writer: Writer,
    store: Store,
    told: Receiver<Told>,
    go: SyncSender<()>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        let (store, _) = Store::open(DatabaseSettings::at(&path), clock::monotonic(), clock::now());
        let (tell, told) = channel();
        let (go, may_go) = sync_channel(1_000);
        let hold = Mutex::new((tell, may_go));
        let report = Arc::new(move |outcome: Told| {
            let hold = hold.lock().unwrap();
            hold.0.send(outcome).unwrap();
            // At the end of the test nobody lets it go any more.
            hold.1.recv().unwrap_or_default();
        });
        let writer = Writer::start(store.clone(), report).unwrap();
        Self { writer, store, told, go, folder }
    }

    fn put(&self, name: &str, body: &str) -> bool {
        self.put_as("search", name, body)
    }

    fn put_as(&self, kind: &'static str, name: &str, body: &str) -> bool {
        self.writer.put(Row::new(kind, key(name), &fresh(body), None))
    }

    fn let_go(&self, batches: usize) {
        (0..batches).for_each(|_| self.go.send(()).unwrap());
    }

    fn rows(&self) -> i64 {
        let count = dsl::cache_entries.count();
        query!(self.store.lend().unwrap(), |c| count.get_result(c)).unwrap()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache.db")
    }

    /// Another process, so to speak, that holds the file for itself.
    fn locked(&self) -> SqliteConnection {
        let mut beside = SqliteConnection::establish(&self.path().to_string_lossy()).unwrap();
        let lock = "PRAGMA busy_timeout = 5000; BEGIN EXCLUSIVE";
        diesel::connection::SimpleConnection::batch_execute(&mut beside, lock).unwrap();
        beside
    }

    fn until_refused(&self, refused: bool) {
        while self.writer.is_refused() != refused {
            std::thread::yield_now();
        }
    }
}

fn let_be(mut lock: SqliteConnection) {
    diesel::sql_query("ROLLBACK").execute(&mut lock).unwrap();
}

#[test]
fn what_came_meanwhile_is_stored_in_batches() {
    let fixture = Fixture::new();
    assert!(fixture.put("first", ""));
    assert_eq!(fixture.told.recv(), Ok(Ok(1)));
    (0..600).for_each(|n| assert!(fixture.put(&n.to_string(), "")));
    fixture.let_go(4);
    let batches: Vec<_> = (0..3).map(|_| fixture.told.recv().unwrap().unwrap()).collect();
    assert_eq!(batches, [256, 256, 88]);
    assert_eq!(fixture.rows(), 601);
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let fixture = Fixture::new();
    assert!(fixture.put("first", ""));
    assert_eq!(fixture.told.recv(), Ok(Ok(1)));
    let accepted = (0..5_000).filter(|n| fixture.put(&n.to_string(), "")).count();
    assert_eq!(accepted, 4_096);
    fixture.let_go(17);
    let stored: usize = (0..16).map(|_| fixture.told.recv().unwrap().unwrap()).sum();
    assert_eq!(stored, 4_096);
    assert!(fixture.put("later", ""), "there is room again");
}

#[test]
fn bytes_have_their_bound_too() {
    let fixture = Fixture::new();
    assert!(fixture.put("first", ""));
    assert_eq!(fixture.told.recv(), Ok(Ok(1)));
    let body = "x".repeat(64 << 17);
    assert_eq!((0..20).filter(|n| fixture.put(&n.to_string(), &body)).count(), 7);
    fixture.let_go(2);
    assert_eq!(fixture.told.recv(), Ok(Ok(7)));
    assert!(fixture.put("later", &body), "there is room again");
}

#[test]
fn of_several_rows_of_a_key_the_last_wins() {
    let fixture = Fixture::new();
    assert!(fixture.put("first", ""));
    assert_eq!(fixture.told.recv(), Ok(Ok(1)));
    (0..10).for_each(|n| assert!(fixture.put("same", &n.to_string())));
    fixture.let_go(2);
    assert_eq!(fixture.told.recv(), Ok(Ok(10)));
    let same = key("same");
    let found = dsl::cache_entries.find(same.as_str()).select(dsl::entry);
    let found: Vec<u8> = query!(fixture.store.lend().unwrap(), |c| found.get_result(c)).unwrap();
    assert!(found.ends_with(b"9"));
}

#[actix::test]
async fn what_a_locked_file_refuses_is_kept_and_stored_later() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    let lock = fixture.locked();
    (0..300).for_each(|n| assert!(fixture.put(&n.to_string(), "")));
    fixture.writer.keep("name", "1".into(), clock::now());
    fixture.until_refused(true);
    assert_eq!(fixture.rows(), 0, "readers go on");
    let_be(lock);
    fixture.writer.flush().await;
    assert_eq!(fixture.rows(), 300);
    assert!(!fixture.writer.is_refused());
    assert!(fixture.told.try_iter().all(|told| told.is_ok()), "nothing is dropped");
}

#[actix::test]
async fn beyond_half_of_the_room_the_oldest_are_dropped_with_their_count() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    let lock = fixture.locked();
    fixture.writer.keep("name", "new".into(), clock::now());
    fixture.writer.keep("name", "old".into(), clock::now().minus(Duration::from_secs(1)));
    let accepted = (0..4_000).filter(|n| fixture.put(&n.to_string(), "")).count();
    fixture.until_refused(true);
    // The batch in hand went back first, so the drop is known when the report is.
    let (dropped, cause) = fixture.told.recv().unwrap().unwrap_err();
    assert!(cause.contains("locked"), "{cause}");
    let_be(lock);
    fixture.writer.flush().await;
    let more: usize = fixture.told.try_iter().filter_map(Result::err).map(|told| told.0).sum();
    let left = fixture.rows();
    assert_eq!(usize::try_from(left).unwrap() + dropped + more, accepted);
    let first = key("0");
    let oldest = dsl::cache_entries.find(first.as_str()).count();
    let oldest = query!(fixture.store.lend().unwrap(), |c| oldest.get_result(c));
    assert_eq!(oldest, Ok(0_i64));
    let value = kept_state::table.find("name").select(kept_state::value);
    let value = query!(fixture.store.lend().unwrap(), |c| value.get_result(c));
    assert_eq!(value, Ok("new".to_owned()));
}

#[actix::test]
async fn at_the_end_nothing_is_tried_for_ever() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    let lock = fixture.locked();
    (0..300).for_each(|n| assert!(fixture.put(&n.to_string(), "")));
    fixture.writer.keep("name", "1".into(), clock::now());
    let Fixture { writer, store, told, folder, go } = fixture;
    drop(writer);
    let lost = told.iter().filter_map(Result::err).map(|told| told.0);
    assert_eq!(lost.sum::<usize>(), 300);
    drop((lock, store, folder, go));
}

#[actix::test]
async fn a_table_that_is_gone_is_waited_for() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    fixture.store.lend().unwrap().batch_execute("DROP TABLE cache_entries").unwrap();
    assert!(fixture.put("a", ""));
    fixture.until_refused(true);
    let later = clock::monotonic() + Duration::from_secs(60);
    assert!(!fixture.store.look_after(later, clock::now()).is_empty());
    fixture.writer.flush().await;
    assert_eq!(fixture.rows(), 1);
}

#[actix::test]
async fn a_batch_with_a_row_that_is_impossible_is_dropped_with_its_count() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON cache_entries WHEN NEW.kind = 'bad' \
         BEGIN SELECT RAISE(ABORT, 'datatype mismatch'); END";
    fixture.store.lend().unwrap().batch_execute(trigger).unwrap();
    assert!(fixture.put_as("bad", "a", ""));
    fixture.writer.flush().await;
    assert!(fixture.put("b", ""));
    fixture.writer.flush().await;
    assert_eq!((fixture.rows(), fixture.writer.is_refused()), (1, false));
    let lost = fixture.told.try_iter().filter_map(Result::err).map(|told| told.0);
    assert_eq!(lost.sum::<usize>(), 1);
}

#[actix::test]
async fn a_writer_that_is_dropped_stores_what_it_has() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    (0..10).for_each(|n| assert!(fixture.put(&n.to_string(), "")));
    let Fixture { writer, store, told, folder, go } = fixture;
    drop(writer);
    assert_eq!(told.iter().map(Result::unwrap).sum::<usize>(), 10);
    drop((store, folder, go));
}

#[actix::test]
async fn a_flush_comes_back_when_all_before_it_is_stored() {
    let fixture = Fixture::new();
    fixture.let_go(100);
    (0..1_000).for_each(|n| assert!(fixture.put(&n.to_string(), "")));
    fixture.writer.flush().await;
    assert_eq!(fixture.rows(), 1_000);
}
