//! The SQL database: connections, schema, migrations.
//!
//! Owns: the pool and the state of the file behind it. A file that is no database is moved aside,
//! never deleted, and a new one is begun; a place that cannot be written means no database at all,
//! and the service goes on with the tiers that are left.

mod migrations;
mod pool;
pub mod schema;

pub use migrations::{MigrationError, migrate};
pub use pool::{Connection, DatabaseError, Opened, Pool, open};
