//! Real files that break under a store which looks after them.

mod harm;
mod opening;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::{DatabaseSettings, Event, Store, query};
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
        let (store, events) =
            Store::open(DatabaseSettings::at(folder.path().join("x.db")), at, NOW);
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
            self.store.blame(&connection, &error);
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
        let counting = sql_query("SELECT count(*) AS n FROM cache_entries WHERE length(entry) > 1");
        let found = query!(connection, |c| counting.get_result::<Number>(c));
        found.map(|found| found.n).map_err(|error| {
            self.store.blame(&connection, &error);
            error.to_string()
        })
    }

    fn quarantined(&self) -> usize {
        let files = fs::read_dir(self.folder.path()).unwrap().filter_map(Result::ok);
        let name = |file: fs::DirEntry| file.file_name().to_string_lossy().into_owned();
        files.map(name).filter(|name| name.contains(".corrupt-") && !name.ends_with("-wal")).count()
    }
}

/// Runs statements on a file that somebody else has open.
pub(crate) fn run_beside(path: &Path, sql: &str) {
    beside(path).batch_execute(&format!("PRAGMA busy_timeout = 5000; {sql}")).unwrap();
}

fn beside(path: &Path) -> SqliteConnection {
    SqliteConnection::establish(&path.to_string_lossy()).unwrap()
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
        Event::Quarantined(_) => "quarantined".to_owned(),
        Event::Lost(why) => format!("lost ({why})"),
    };
    events.iter().map(word).collect::<Vec<_>>().join(", ")
}
