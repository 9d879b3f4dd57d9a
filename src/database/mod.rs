//! The SQL database: connections, schema, migrations.
//!
//! Owns: the state of the file and the pool over it. A file that is no database, or lacks a table, is
//! quarantined, never deleted, and a new one is begun; a path that cannot be used means no database
//! for now, and the service goes on with the tiers that are left.

mod care;
mod error;
mod opening;
mod quarantine;
pub mod schema;
mod settings;
mod store;
#[cfg(test)]
mod tests;

pub use error::{DatabaseError, Harm};
pub use opening::Lent;
pub use schema::{Connection, migrate, revert};
pub use settings::DatabaseSettings;
pub use store::{Event, Store};
