//! Opening the database file and lending connections to it.
//!
//! Owns: pragmas, pool size and time-outs, and what happens to a file that is no database. Refuses:
//! to wait longer than [`LEND_TIMEOUT`] for a connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection};
use diesel::sqlite::SqliteConnection;

use super::migrations::{MigrationError, migrate};
use crate::clock::Timestamp;

/// A connection to the database.
pub type Connection = SqliteConnection;
/// A pool of connections. Cheap to clone.
pub type Pool = diesel::r2d2::Pool<ConnectionManager<Connection>>;

/// Longest wait for a free connection.
const LEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Readers never wait for the writer (WAL); a lost power supply may lose the last transactions but
/// never the file (`synchronous = NORMAL`).
const PRAGMAS: &str = "PRAGMA busy_timeout = 200; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;";

/// Longest wait at the start, where waiting is better than going on without a database.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for locks of another process, one that is about to end perhaps.
const START_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL;";

/// The database could not be opened.
#[derive(Debug)]
pub struct DatabaseError(String);

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DatabaseError {}

impl From<MigrationError> for DatabaseError {
    fn from(error: MigrationError) -> Self {
        Self(error.to_string())
    }
}

/// What opening found.
#[derive(Debug)]
pub struct Opened {
    /// Connections to the migrated database.
    pub pool: Pool,
    /// Where a file that was no database has been moved.
    pub moved_aside: Option<PathBuf>,
}

#[derive(Debug)]
struct Pragmas;

impl CustomizeConnection<Connection, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, connection: &mut Connection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(PRAGMAS).map_err(diesel::r2d2::Error::QueryError)
    }
}

/// Opens the database at `path`, migrates it, and begins a new one beside a broken one.
///
/// # Errors
/// The place cannot be read or written, or the schema cannot be brought up to date.
pub fn open(path: &Path, size: u32, now: Timestamp) -> Result<Opened, DatabaseError> {
    match try_open(path, size) {
        Ok(pool) => Ok(Opened { pool, moved_aside: None }),
        Err(error) if is_corruption(&error) && path.is_file() => {
            let aside = move_aside(path, now)
                .map_err(|cause| DatabaseError(format!("{error}; and cannot move it: {cause}")))?;
            Ok(Opened { pool: try_open(path, size)?, moved_aside: Some(aside) })
        }
        Err(error) => Err(error),
    }
}

fn try_open(path: &Path, size: u32) -> Result<Pool, DatabaseError> {
    // Alone, before the pool opens connections in the background: the change to WAL needs the
    // file for itself, and SQLite refuses it at once, without waiting, when two try it together.
    let mut first = first_connection(path)?;
    migrate(&mut first)?;
    let manager = ConnectionManager::<Connection>::new(path.to_string_lossy());
    let pool = Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .connection_timeout(LEND_TIMEOUT)
        .test_on_check_out(false)
        .connection_customizer(Box::new(Pragmas))
        .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
        .build_unchecked(manager);
    // Held until the pool has one of its own: the last to close the file would take the WAL away.
    let lent = pool.get_timeout(START_TIMEOUT);
    drop(lent.map_err(|error| DatabaseError(error.to_string()))?);
    drop(first);
    Ok(pool)
}

/// A connection of its own, which tells what is wrong; the pool's error says only "timed out".
fn first_connection(path: &Path) -> Result<Connection, DatabaseError> {
    use diesel::Connection as _;
    let mut connection = Connection::establish(&path.to_string_lossy())
        .map_err(|error| DatabaseError(error.to_string()))?;
    connection
        .batch_execute(START_PRAGMAS)
        .and_then(|()| connection.batch_execute("SELECT count(*) FROM sqlite_master"))
        .map_err(|error| DatabaseError(error.to_string()))?;
    Ok(connection)
}

/// SQLite's texts for `SQLITE_NOTADB` and `SQLITE_CORRUPT`; diesel passes no codes on.
fn is_corruption(error: &DatabaseError) -> bool {
    error.0.contains("file is not a database") || error.0.contains("disk image is malformed")
}

/// Moves the file and what belongs to it to names that say what they are.
fn move_aside(path: &Path, now: Timestamp) -> std::io::Result<PathBuf> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = named(&format!(".corrupt-{}", now.as_millis()));
    std::fs::rename(path, &aside)?;
    for belonging in ["-wal", "-shm"] {
        // They may not exist; a stale one would be replayed into the new file.
        if named(belonging).exists() {
            std::fs::remove_file(named(belonging))?;
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::{QueryDsl, RunQueryDsl};

    fn now() -> Timestamp {
        Timestamp::from_millis(1_000)
    }

    #[test]
    fn a_new_file_is_made_and_migrated() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(&dir.path().join("new.db"), 2, now()).unwrap();
        let mut connection = opened.pool.get().unwrap();
        let rows = super::super::schema::cache_entries::table.count().get_result(&mut connection);
        assert_eq!(rows, Ok(0_i64));
        assert!(opened.moved_aside.is_none());
    }

    #[test]
    fn opening_a_new_file_does_not_stand_in_its_own_way() {
        // Several at a time, so that the threads of a pool are held up at bad moments.
        let openers = [(); 8].map(|()| {
            std::thread::spawn(|| {
                let dir = tempfile::tempdir().unwrap();
                for attempt in 0..25 {
                    let opened = open(&dir.path().join(format!("{attempt}.db")), 4, now());
                    assert!(opened.is_ok(), "attempt {attempt}: {:?}", opened.err());
                }
            })
        });
        openers.into_iter().for_each(|opener| opener.join().unwrap());
    }

    #[test]
    fn garbage_is_moved_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("garbage.db");
        std::fs::write(&path, "not a database at all, sorry. ".repeat(300)).unwrap();
        let opened = open(&path, 2, now()).unwrap();
        let aside = opened.moved_aside.unwrap();
        assert!(std::fs::read_to_string(aside).unwrap().starts_with("not a database"));
        assert!(opened.pool.get().is_ok());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let error = open(Path::new("/nowhere/at/all.db"), 2, now()).unwrap_err();
        assert!(error.to_string().contains("Unable to open"), "{error}");
    }
}
