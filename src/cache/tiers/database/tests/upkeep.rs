//! What is counted, kept, swept and read back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::cache::tests::fixture::{key, open};
use crate::cache::tiers::Row;
use crate::cache::tiers::database::statements::DAY;
use crate::cache::tiers::database::{DatabaseTier, Swept};
use crate::clock::{self, Timestamp};
use crate::database::schema::cache_entries::dsl;

struct Table {
    tier: DatabaseTier,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

const fn day(day: i64) -> Timestamp {
    Timestamp::from_millis(day * DAY + 1)
}

impl Table {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache.db");
        Self { tier: open(&path), path, _folder: folder }
    }

    fn put(&self, name: &str, bytes: usize, stale_until: Timestamp) {
        assert!(self.tier.writer.put(Row {
            key: key(name),
            kind: "search",
            entry: vec![1; bytes].into(),
            stored_at: day(1),
            stale_until,
            question: (!name.starts_with('-')).then(|| Arc::from("{\"q\":1}")),
        }));
    }

    fn beside(&self, sql: &str) {
        let mut connection = SqliteConnection::establish(&self.path.to_string_lossy()).unwrap();
        connection.batch_execute(sql).unwrap();
    }

    /// All steps of a sweep.
    async fn sweep(&self, now: Timestamp, max_bytes: u64) -> Swept {
        let mut whole = Swept::default();
        loop {
            let step = self.tier.sweep(now, max_bytes).await.unwrap();
            let (expired, evicted) = (whole.expired + step.expired, whole.evicted + step.evicted);
            whole = Swept { expired, evicted, ..step };
            if !step.unfinished {
                return whole;
            }
        }
    }

    async fn most_used(&self, now: Timestamp) -> Vec<(String, u64)> {
        let found = self.tier.most_used(10, now).await.unwrap();
        found.into_iter().map(|row| (row.key.to_string(), row.uses)).collect()
    }
}

fn named(name: &str, uses: u64) -> (String, u64) {
    (key(name).to_string(), uses)
}

#[actix::test]
async fn uses_are_added_survive_a_new_entry_and_fade() {
    let table = Table::new();
    for name in ["a", "b", "-without question"] {
        table.put(name, 10, day(100));
    }
    table.tier.writer.flush().await;
    table.tier.writer.used(vec![(key("a"), 5), (key("b"), 8), (key("unknown"), 1)], day(1));
    table.tier.writer.used(vec![(key("a"), 5)], day(1));
    table.tier.writer.flush().await;
    table.put("a", 20, day(100));
    table.tier.writer.flush().await;
    // By somebody who does not know the question.
    let unasked = Row {
        key: key("b"),
        kind: "search",
        entry: vec![1; 10].into(),
        stored_at: day(1),
        stale_until: day(100),
        question: None,
    };
    assert!(table.tier.writer.put(unasked));
    table.tier.writer.flush().await;
    assert_eq!(table.most_used(day(1)).await, [named("a", 10), named("b", 8)]);
    table.tier.writer.used(vec![(key("b"), 1)], day(2));
    table.tier.writer.flush().await;
    // Used yesterday only: half. Used today as well: half and what came.
    assert_eq!(table.most_used(day(2)).await, [named("b", 5), named("a", 5)]);
    assert_eq!(table.most_used(day(90)).await, [named("b", 0), named("a", 0)]);
    assert_eq!(table.most_used(day(0)).await, [named("a", 10), named("b", 5)], "clocks step back");
    let row = &table.tier.most_used(1, day(1)).await.unwrap()[0];
    assert_eq!((&*row.question, row.entry.len()), ("{\"q\":1}", 20));
}

#[actix::test]
async fn a_sweep_takes_what_is_past_its_time() {
    let table = Table::new();
    (0..3_000).for_each(|n| table.put(&n.to_string(), 10, day(if n < 2_900 { 2 } else { 9 })));
    table.tier.writer.flush().await;
    let swept = table.sweep(day(3), u64::MAX).await;
    assert_eq!((swept.expired, swept.evicted, swept.rows), (2_900, 0, 100));
    assert!(swept.bytes > 100 * 10 && !swept.unfinished);
}

#[actix::test]
async fn a_sweep_for_room_keeps_the_most_used() {
    let table = Table::new();
    (0..1_000).for_each(|n| table.put(&n.to_string(), 10_000, day(9)));
    table.tier.writer.flush().await;
    let wanted: Vec<_> = (0..300).map(|n| (key(&n.to_string()), 3)).collect();
    // Many uses, but long ago.
    let faded = (300..400).map(|n| (key(&n.to_string()), 20)).collect();
    table.tier.writer.used(faded, day(-9));
    table.tier.writer.used(wanted, day(2));
    table.tier.writer.flush().await;
    table.beside("UPDATE cache_entries SET used_at = -9 * 86400000 WHERE uses = 20");
    let swept = table.sweep(day(2), 4_000_000).await;
    assert_eq!(swept.rows, u64::try_from(1_000 - swept.evicted).unwrap());
    assert!((3_500_000..=3_600_000).contains(&swept.bytes), "{swept:?}");
    let keys: Vec<_> = (0..400).map(|n| key(&n.to_string())).collect();
    let found = table.tier.get(&keys.iter().collect::<Vec<_>>()).await.unwrap();
    assert!(found[..300].iter().all(Option::is_some), "the used are kept");
    assert!(found[300..].iter().all(Option::is_none), "old fame has faded");
}

#[actix::test]
async fn odd_rows_do_not_spoil_the_others() {
    let table = Table::new();
    ["a", "b", "c", "d", "e"].iter().for_each(|name| table.put(name, 10, day(9)));
    table.tier.writer.flush().await;
    table.beside(
        "PRAGMA ignore_check_constraints = 1; \
         UPDATE cache_entries SET entry = 'text', uses = 'many', used_at = x'00' WHERE key LIKE '%a'; \
         UPDATE cache_entries SET entry = 12, kind = x'ff', bytes = 'x' WHERE key LIKE '%b'; \
         UPDATE cache_entries SET question = x'fffe', stored_at = 'never' WHERE key LIKE '%c'; \
         UPDATE cache_entries SET key = x'c3' WHERE key LIKE '%d'",
    );
    let keys = ["a", "b", "c", "d", "e"].map(key);
    let found = table.tier.get(&keys.each_ref()).await.unwrap();
    let lengths: Vec<_> = found.iter().map(|found| found.as_ref().map(bytes::Bytes::len)).collect();
    assert_eq!(lengths, [Some(4), Some(2), Some(10), None, Some(10)]);
    let mut most = table.most_used(day(2)).await;
    most.sort_unstable();
    // What is wrong with an entry shows when it is read: its question can still be asked.
    assert_eq!(most, [named("a", 0), named("b", 0), named("e", 0)]);
    table.tier.writer.used(keys.iter().map(|key| (key.clone(), 1)).collect(), day(2));
    table.tier.writer.flush().await;
    assert!(table.sweep(day(2), 1).await.evicted > 0);
}

#[actix::test]
async fn broken_rows_are_removed_and_the_others_stay() {
    for spoilt in ["x''", "'text'", "42", "4.25", "zeroblob(5000)"] {
        let table = Table::new();
        ["a", "b"].iter().for_each(|name| table.put(name, 10, day(9)));
        table.tier.writer.flush().await;
        table.beside(&format!("UPDATE cache_entries SET entry = {spoilt} WHERE key LIKE '%a'"));
        table.tier.writer.remove(key("a"));
        table.tier.writer.flush().await;
        let found = table.tier.get(&[&key("a"), &key("b")]).await.unwrap();
        assert_eq!(
            found.iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, true],
            "{spoilt}"
        );
    }
}

#[actix::test]
async fn what_is_used_most_is_counted_when_not_all_can_be() {
    let table = Table::new();
    table.put("popular", 10, day(9));
    table.tier.writer.flush().await;
    let mut uses: Vec<_> = (0..10_000).map(|n| (key(&n.to_string()), 1)).collect();
    uses.push((key("popular"), 7));
    table.tier.writer.used(uses, day(1));
    table.tier.writer.flush().await;
    assert_eq!(table.most_used(day(1)).await, [named("popular", 7)]);
}

#[actix::test]
async fn what_is_kept_is_recalled_after_a_restart() {
    let table = Table::new();
    table.tier.writer.keep("breakers", "[1]".into(), day(1));
    table.tier.writer.keep("breakers", "[2]".into(), day(1));
    table.tier.writer.flush().await;
    let again = open(&table.path);
    assert_eq!(again.restore("breakers").await.unwrap().as_deref(), Some("[2]"));
    assert_eq!(again.restore("nothing").await, Ok(None));
}

#[actix::test]
async fn that_writes_are_refused_is_known_while_reads_go_on() {
    let table = Table::new();
    table.put("a", 10, day(9));
    table.tier.writer.flush().await;
    let mut lock = SqliteConnection::establish(&table.path.to_string_lossy()).unwrap();
    lock.batch_execute("BEGIN EXCLUSIVE").unwrap();
    while !table.tier.writer.is_refused() {
        table.tier.ping().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(table.tier.get(&[&key("a")]).await.unwrap()[0].is_some());
    assert!(!table.tier.is_avoided());
    lock.batch_execute("ROLLBACK").unwrap();
    table.tier.writer.flush().await;
    assert!(!table.tier.writer.is_refused());
    assert!(table.tier.restore("write_probe").await.unwrap().is_some());
    assert!(clock::now() > day(0));
    let rows = dsl::cache_entries.count().get_result(&mut lock);
    assert_eq!(rows, Ok(1_i64));
}
