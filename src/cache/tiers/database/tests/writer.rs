//! Writing behind: batches, the bound, what is given up.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};

use diesel::prelude::*;

use crate::cache::tests::stage::{fresh, key};
use crate::cache::tiers::database::{Row, Writer};
use crate::clock;
use crate::database::schema::cache_entries::dsl;
use crate::database::{self, Pool};

type Told = Result<usize, (usize, String)>;

/// A writer that is held up after each batch until it is let go.
struct Stage {
    writer: Writer,
    pool: Pool,
    told: Receiver<Told>,
    go: SyncSender<()>,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pool = open(&folder.path().join("cache.db"));
        let (tell, told) = channel();
        let (go, may_go) = sync_channel(1_000);
        let hold = Mutex::new((tell, may_go));
        let report = Arc::new(move |outcome: Told| {
            let hold = hold.lock().unwrap();
            hold.0.send(outcome).unwrap();
            // At the end of the test nobody lets it go any more.
            hold.1.recv().unwrap_or_default();
        });
        let writer = Writer::start(pool.clone(), report).unwrap();
        Self { writer, pool, told, go, _folder: folder }
    }

    fn put(&self, name: &str, body: &str) -> bool {
        let (entry, key) = (fresh(body), key(name));
        let encoded = entry.encode(&key);
        self.writer.put(Row {
            key,
            kind: "search",
            entry: encoded,
            stored_at: entry.times.stored_at,
            stale_until: entry.times.stale_until,
        })
    }

    fn let_go(&self, batches: usize) {
        (0..batches).for_each(|_| self.go.send(()).unwrap());
    }

    fn rows(&self) -> i64 {
        dsl::cache_entries.count().get_result(&mut self.pool.get().unwrap()).unwrap()
    }
}

fn open(path: &Path) -> Pool {
    database::open(path, 2, clock::now()).unwrap().pool
}

#[test]
fn what_came_meanwhile_is_stored_in_batches() {
    let stage = Stage::new();
    assert!(stage.put("first", ""));
    assert_eq!(stage.told.recv(), Ok(Ok(1)));
    (0..600).for_each(|n| assert!(stage.put(&n.to_string(), "")));
    stage.let_go(4);
    let batches: Vec<_> = (0..3).map(|_| stage.told.recv().unwrap().unwrap()).collect();
    assert_eq!(batches, [256, 256, 88]);
    assert_eq!(stage.rows(), 601);
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let stage = Stage::new();
    assert!(stage.put("first", ""));
    assert_eq!(stage.told.recv(), Ok(Ok(1)));
    let accepted = (0..5_000).filter(|n| stage.put(&n.to_string(), "")).count();
    assert_eq!(accepted, 4_096);
    stage.let_go(17);
    let stored: usize = (0..16).map(|_| stage.told.recv().unwrap().unwrap()).sum();
    assert_eq!(stored, 4_096);
    assert!(stage.put("later", ""), "there is room again");
}

#[test]
fn of_several_rows_of_a_key_the_last_wins() {
    let stage = Stage::new();
    assert!(stage.put("first", ""));
    assert_eq!(stage.told.recv(), Ok(Ok(1)));
    (0..10).for_each(|n| assert!(stage.put("same", &n.to_string())));
    stage.let_go(2);
    assert_eq!(stage.told.recv(), Ok(Ok(1)), "one row is written");
    let found: Vec<u8> = dsl::cache_entries
        .find(key("same").as_str())
        .select(dsl::entry)
        .get_result(&mut stage.pool.get().unwrap())
        .unwrap();
    assert!(found.ends_with(b"9"));
}

#[test]
fn a_batch_that_cannot_be_stored_is_given_up_with_its_count() {
    let stage = Stage::new();
    diesel::sql_query("DROP TABLE cache_entries").execute(&mut stage.pool.get().unwrap()).unwrap();
    assert!(stage.put("a", ""));
    let (dropped, cause) = stage.told.recv().unwrap().unwrap_err();
    assert!(cause.contains("no such table"), "{cause}");
    (0..10).for_each(|n| assert!(stage.put(&n.to_string(), "")));
    stage.let_go(2);
    assert_eq!(dropped + stage.told.recv().unwrap().unwrap_err().0, 11);
}

#[actix::test]
async fn a_flush_comes_back_when_all_before_it_is_stored() {
    let stage = Stage::new();
    stage.let_go(100);
    (0..1_000).for_each(|n| assert!(stage.put(&n.to_string(), "")));
    stage.writer.flush().await;
    assert_eq!(stage.rows(), 1_000);
}
