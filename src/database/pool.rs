//! The pool of connections.
//!
//! Owns: how a connection is made for it and when it is thrown away, how many there are, and the wait for
//! a free one: whoever gets none in time gets an error, and nobody hangs.

use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::Connection as _;
use diesel::r2d2::{ManageConnection, NopErrorHandler, PooledConnection};

use super::DatabaseError;
use super::connection::Connection;
use super::opening::PRAGMAS;
use super::postgres::{self, Patience};
use super::settings::{Address, DatabaseSettings};
use super::watch::Watch;

/// A connection that goes back to the pool when it is dropped.
pub type Lent = PooledConnection<Manager>;
pub(super) type Pool = diesel::r2d2::Pool<Manager>;

/// Longest wait for a pool's first connection.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection to a server that was not used for so long is closed, those beyond the size for good.
const IDLE: Duration = Duration::from_secs(60);

/// Makes connections for the pool.
#[derive(Debug)]
pub struct Manager {
    address: Address,
    watch: Watch,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = DatabaseError;

    fn connect(&self) -> Result<Connection, DatabaseError> {
        let connection = match &self.address {
            Address::Sqlite(path) => {
                let opened = SqliteConnection::establish(&path.to_string_lossy());
                let mut opened = Connection::Sqlite(opened.map_err(DatabaseError::new)?);
                opened.batch_execute(PRAGMAS).map_err(DatabaseError::new)?;
                opened
            }
            Address::Postgres(address) => postgres::connect(address, Patience::Usual)?,
        };
        Ok(connection.watched(&self.watch))
    }

    fn is_valid(&self, _: &mut Connection) -> Result<(), DatabaseError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        std::thread::panicking() || connection.is_broken()
    }
}

/// A pool that has its first connection.
pub(super) fn pool_of(settings: &DatabaseSettings, watch: &Watch) -> Result<Pool, DatabaseError> {
    let DatabaseSettings { address, pool_size, pool_overflow, pool_wait, .. } = settings;
    // A file does not tire of its connections, and needs no more than its readers and its one writer.
    let (most, idle) = match address {
        Address::Sqlite(_) => (*pool_size, None),
        Address::Postgres(_) => (pool_size.saturating_add(*pool_overflow), Some(IDLE)),
    };
    let kept = if idle.is_some() { *pool_size } else { 1 };
    let pool = Pool::builder()
        .max_size(most)
        .min_idle(Some(kept))
        .connection_timeout(*pool_wait)
        .idle_timeout(idle)
        .max_lifetime(None)
        .test_on_check_out(false)
        .error_handler(Box::new(NopErrorHandler))
        .build_unchecked(Manager { address: address.clone(), watch: watch.clone() });
    drop(pool.get_timeout(OPEN_TIMEOUT).map_err(DatabaseError::new)?);
    Ok(pool)
}
