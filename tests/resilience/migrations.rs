//! A database of the version before: its keys and lists are kept, up and down.

use std::path::Path;
use std::sync::Arc;

use breakwater::access::Table;
use breakwater::clock;
use breakwater::database::{DatabaseSettings, Store, revert};
use breakwater::replication::{Changes, Topic};
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use slog::Logger;

pub(crate) fn execute(path: &Path, sql: &str) {
    let mut connection = SqliteConnection::establish(&path.to_string_lossy()).unwrap();
    connection.batch_execute(sql).unwrap();
}

/// Keys and entries of the version before, as it wrote them.
const BEFORE: &str = "INSERT INTO api_keys VALUES \
     ('0123456789ab', 'the shop', 'DIGEST', 7, '203.0.113.0/24,::1', 5, NULL, 0, 'S', 1), \
     ('0123456789ac', 'old', 'DIGEST', NULL, '', 6, 70, 0, 'S', 2), \
     ('0123456789ad', 'gone', 'DIGEST', NULL, '', 6, NULL, 1, 'S', 3), \
     ('0123456789ae', x'ff', 'DIGEST', NULL, '', 6, NULL, 0, 'S', 4); \
     INSERT INTO access_list VALUES \
     ('deny', '203.0.113.7', 'scrapes \"all\"', 8, 90, 0, 'S', 1), \
     ('allow', '10.0.0.0/8', '', 8, NULL, 0, 'S', 2), \
     ('deny', '203.0.113.8', 'gone', 8, NULL, 1, 'S', 3);";

#[tokio::test]
async fn keys_and_lists_of_the_version_before_are_kept_up_and_down() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("breakwater.db");
    let (store, _) = Store::open(DatabaseSettings::at(&path), clock::monotonic(), clock::now());
    drop(store);
    revert(&(&path).into()).unwrap();
    execute(&path, &BEFORE.replace("DIGEST", &"0f".repeat(32)).replace("'S'", "'1'"));
    let state = async || {
        let (store, _) = Store::open(DatabaseSettings::at(&path), clock::monotonic(), clock::now());
        let table = Arc::new(Table::default());
        let topic: Arc<dyn Topic> = Arc::<Table>::clone(&table);
        let changes = Changes::new(store, vec![topic], Logger::root(slog::Discard, slog::o!()));
        changes.catch_up().await.unwrap();
        assert_eq!(changes.counts().unreadable, 0);
        table.state()
    };
    let first = state().await;
    let keys: Vec<_> =
        first.iter().map(|draft| (draft.key.as_str(), draft.at.as_millis())).collect();
    assert_eq!(
        keys,
        [
            ("key:0123456789ab", 5),
            ("key:0123456789ac", 6),
            ("allow:10.0.0.0/8", 8),
            ("deny:203.0.113.7", 8),
        ]
    );
    let payload = first[0].payload.clone().unwrap();
    assert!(payload.contains("\"networks\":[\"203.0.113.0/24\",\"::1\"]"), "{payload}");
    revert(&(&path).into()).unwrap();
    assert_eq!(state().await, first);
}
