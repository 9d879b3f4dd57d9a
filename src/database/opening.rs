//! Opening the database file: pragmas, pool, schema.
//!
//! Owns: what has to be true before a connection is lent. Refuses: a file that is no database, or
//! that lost a part of its schema; the store then quarantines it.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::r2d2::{ConnectionManager, CustomizeConnection, PooledConnection};
use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::schema::{Connection, check, migrate};
use super::{DatabaseError, Harm};

/// A connection that goes back to the pool when it is dropped.
pub type Lent = PooledConnection<ConnectionManager<Connection>>;
pub(super) type Pool = diesel::r2d2::Pool<ConnectionManager<Connection>>;

/// Longest wait for a free connection.
const LEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Readers never wait for the writer (WAL). A loss of power may lose the last transactions but never
/// the file (`synchronous = NORMAL`); the log of changes is written with more care. The write-ahead
/// log is cut back after a large transaction.
const PRAGMAS: &str = "PRAGMA busy_timeout = 200; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY; \
     PRAGMA journal_size_limit = 16777216;";

/// Longest wait for a pool's first connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for the lock of another process, one that is about to end perhaps. Whoever is
/// there longer is waited for by trying again.
const OPEN_PRAGMAS: &str = "PRAGMA busy_timeout = 1000; PRAGMA journal_mode = WAL;";

#[derive(Debug)]
struct Pragmas;

impl CustomizeConnection<Connection, diesel::r2d2::Error> for Pragmas {
    fn on_acquire(&self, connection: &mut Connection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute(PRAGMAS).map_err(diesel::r2d2::Error::QueryError)
    }
}

/// Opens the file at `path` or makes it, and brings its schema up to date. When `suspect`, reads
/// all of it first.
pub(super) fn open(path: &Path, size: u32, suspect: bool) -> Result<Pool, DatabaseError> {
    // Alone, before the pool opens connections in the background: the change to WAL needs the
    // file for itself, and SQLite refuses it at once, without waiting, when two try it together.
    let mut first = connect(path)?;
    if suspect {
        read_all(&mut first)?;
    }
    bring_up_to_date(&mut first)?;
    let manager = ConnectionManager::<Connection>::new(path.to_string_lossy());
    let pool = Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .connection_timeout(LEND_TIMEOUT)
        // A file does not tire of its connections.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_on_check_out(false)
        .connection_customizer(Box::new(Pragmas))
        .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
        .build_unchecked(manager);
    // Held until the pool has one of its own: the last to close the file would take the WAL away.
    drop(pool.get_timeout(OPEN_TIMEOUT).map_err(DatabaseError::new)?);
    drop(first);
    Ok(pool)
}

/// Whether a connection made just now finds a database and its tables.
/// Connections that are older may not have noticed: they keep pages in memory.
pub(super) fn look(path: &Path) -> Result<(), DatabaseError> {
    let mut connection =
        Connection::establish(&path.to_string_lossy()).map_err(DatabaseError::new)?;
    connection.batch_execute("PRAGMA busy_timeout = 50").map_err(DatabaseError::new)?;
    check(&mut connection)
}

/// What a gateway would find at `path`, in words; changes nothing.
///
/// # Errors
/// It could not use the file.
pub fn describe(path: &Path) -> Result<String, DatabaseError> {
    if !path.try_exists().map_err(DatabaseError::new)? {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return match folder.map(std::fs::metadata) {
            Some(Err(error)) => Err(DatabaseError::new(format!("no folder for the file: {error}"))),
            Some(Ok(_)) | None => Ok("there is no file yet; serve makes one".to_owned()),
        };
    }
    let address = format!("file:{}?mode=ro", path.to_string_lossy());
    let mut connection = Connection::establish(&address).map_err(DatabaseError::new)?;
    let is_current = check(&mut connection);
    match is_current {
        Ok(()) => Ok("opened".to_owned()),
        Err(error) if error.harm() == Harm::Schema => {
            Ok("opened; serve brings its tables up to date".to_owned())
        }
        Err(error) => Err(error),
    }
}

/// A connection of its own, which says what is wrong; the pool's error says only "timed out".
fn connect(path: &Path) -> Result<Connection, DatabaseError> {
    // For its owner only; SQLite gives the files beside it the same permissions. A file that cannot be
    // made is SQLite's to report.
    drop(OpenOptions::new().create_new(true).write(true).mode(0o600).open(path));
    let mut connection =
        Connection::establish(&path.to_string_lossy()).map_err(DatabaseError::new)?;
    connection
        .batch_execute(OPEN_PRAGMAS)
        .and_then(|()| connection.batch_execute("SELECT count(*) FROM sqlite_master"))
        .map_err(DatabaseError::new)?;
    Ok(connection)
}

fn bring_up_to_date(connection: &mut Connection) -> Result<(), DatabaseError> {
    // What the migrations made is gone, or the record of them is.
    let clashes = |text: &str| text.contains("already exists") || text.contains("duplicate column");
    migrate(connection).and_then(|_| check(connection)).map_err(|error| {
        let lost = error.harm() == Harm::Schema || clashes(&error.to_string());
        if lost { error.of(Harm::File) } else { error }
    })
}

#[derive(QueryableByName)]
struct Finding {
    #[diesel(sql_type = Text)]
    quick_check: String,
}

fn read_all(connection: &mut Connection) -> Result<(), DatabaseError> {
    let query = sql_query("PRAGMA quick_check(1)");
    let found: Vec<Finding> = query.load(connection).map_err(DatabaseError::new)?;
    match found.first() {
        Some(finding) if finding.quick_check != "ok" => {
            Err(DatabaseError::new(finding.quick_check.replace('\n', " ")).of(Harm::File))
        }
        Some(_) | None => Ok(()),
    }
}
