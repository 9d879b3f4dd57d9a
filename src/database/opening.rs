//! Opening the database: pragmas, pool, schema.
//!
//! Owns: what has to be true before a connection is lent. Refuses: a file that is no database, or
//! that lost a part of its schema; the store then quarantines it. Refuses of Postgres: a server that takes
//! no writes. Tables that are missing there are made again.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use diesel::connection::Connection as _;
use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl, SqliteConnection, sql_query};

use super::connection::{Connection, query};
use super::pool::{Pool, pool_of};
use super::postgres::{self, Patience, PostgresAddress};
use super::schema::{check, is_pending, migrate, migrate_again};
use super::settings::{Address, DatabaseSettings};
use super::watch::Watch;
use super::{DatabaseError, Harm};

/// Readers never wait for the writer (WAL). A loss of power may lose the last transactions but never
/// the file (`synchronous = NORMAL`); the log of changes is written with more care. The write-ahead
/// log is cut back after a large transaction.
pub(super) const PRAGMAS: &str = "PRAGMA busy_timeout = 200; PRAGMA journal_mode = WAL; \
     PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY; \
     PRAGMA journal_size_limit = 16777216;";

/// Longest wait for the lock of another process, one that is about to end perhaps. Whoever is
/// there longer is waited for by trying again.
const OPEN_PRAGMAS: &str = "PRAGMA busy_timeout = 1000; PRAGMA journal_mode = WAL;";

/// Opens the file at `path` or makes it, and brings its schema up to date. When `suspect`, reads
/// all of it first.
pub(super) fn open(
    path: &Path,
    settings: &DatabaseSettings,
    watch: &Watch,
    suspect: bool,
) -> Result<Pool, DatabaseError> {
    // Alone, before the pool opens connections in the background: the change to WAL needs the
    // file for itself, and SQLite refuses it at once, without waiting, when two try it together.
    let mut first = connect(path)?;
    if suspect {
        read_all(&mut first)?;
    }
    bring_up_to_date(&mut first)?;
    // Held until the pool has one of its own: the last to close the file would take the WAL away.
    let pool = pool_of(settings, watch)?;
    drop(first);
    Ok(pool)
}

/// Connects to a server, and brings its schema up to date.
pub(super) fn open_postgres(
    address: &PostgresAddress,
    settings: &DatabaseSettings,
    watch: &Watch,
) -> Result<Pool, DatabaseError> {
    let mut first = postgres::connect(address, Patience::Usual)?;
    if address.is_replica() {
        // Its tables come from the primary; whether they are there is asked with how far it is.
        return pool_of(settings, watch);
    }
    takes_writes(&mut first)?;
    if is_pending(&mut first)? {
        migrate(&mut postgres::connect(address, Patience::Schema)?)?;
    }
    if check(&mut first).is_err_and(|error| error.harm() == Harm::Schema) {
        migrate_again(&mut postgres::connect(address, Patience::Schema)?)?;
    }
    check(&mut first)?;
    pool_of(settings, watch)
}

#[derive(QueryableByName)]
struct ReadOnly {
    #[diesel(sql_type = Text)]
    transaction_read_only: String,
}

fn takes_writes(connection: &mut Connection) -> Result<(), DatabaseError> {
    let asked =
        sql_query("SELECT current_setting('transaction_read_only') AS transaction_read_only");
    let found: diesel::QueryResult<ReadOnly> = query!(connection, |c| asked.get_result(c));
    if found.map_err(|error| connection.error(&error))?.transaction_read_only == "off" {
        return Ok(());
    }
    Err(DatabaseError::new("the server is read-only: is it a standby?"))
}

/// Whether a connection made just now finds a database and its tables.
/// Connections that are older may not have noticed: they keep pages in memory.
pub(super) fn look(path: &Path) -> Result<(), DatabaseError> {
    let mut connection = establish(&path.to_string_lossy())?;
    connection.batch_execute("PRAGMA busy_timeout = 50").map_err(DatabaseError::new)?;
    check(&mut connection)
}

fn establish(path: &str) -> Result<Connection, DatabaseError> {
    SqliteConnection::establish(path).map(Connection::Sqlite).map_err(DatabaseError::new)
}

/// What a gateway would find there, in words; changes nothing.
///
/// # Errors
/// It could not use the database.
pub fn describe(address: &Address) -> Result<String, DatabaseError> {
    let mut connection = match address {
        Address::Sqlite(path) => {
            if !path.try_exists().map_err(DatabaseError::new)? {
                return describe_folder_of(path);
            }
            establish(&format!("file:{}?mode=ro", path.to_string_lossy()))?
        }
        Address::Postgres(address) => {
            let mut connection = postgres::connect(address, Patience::Usual)?;
            takes_writes(&mut connection)?;
            connection
        }
    };
    let pending = is_pending(&mut connection)?;
    match check(&mut connection) {
        Ok(()) if !pending => Ok("opened".to_owned()),
        Ok(()) => Ok("opened; serve brings its tables up to date".to_owned()),
        Err(error) if error.harm() == Harm::Schema => {
            Ok("opened; serve brings its tables up to date".to_owned())
        }
        Err(error) => Err(error),
    }
}

fn describe_folder_of(path: &Path) -> Result<String, DatabaseError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match folder.map(std::fs::metadata) {
        Some(Err(error)) => Err(DatabaseError::new(format!("no folder for the file: {error}"))),
        Some(Ok(_)) | None => Ok("there is no file yet; serve makes one".to_owned()),
    }
}

/// A connection of its own, which says what is wrong; the pool's error says only "timed out".
fn connect(path: &Path) -> Result<Connection, DatabaseError> {
    // For its owner only; SQLite gives the files beside it the same permissions. A file that cannot be
    // made is SQLite's to report.
    drop(OpenOptions::new().create_new(true).write(true).mode(0o600).open(path));
    let mut connection = establish(&path.to_string_lossy())?;
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
    let reading = sql_query("PRAGMA quick_check(1)");
    let found: diesel::QueryResult<Vec<Finding>> = query!(connection, |c| reading.load(c));
    let found = found.map_err(DatabaseError::new)?;
    match found.first() {
        Some(finding) if finding.quick_check != "ok" => {
            Err(DatabaseError::new(finding.quick_check.replace('\n', " ")).of(Harm::File))
        }
        Some(_) | None => Ok(()),
    }
}
