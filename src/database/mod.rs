//! The SQL database: connections, schema, migrations.
//!
//! Owns: the state of the file and the pool over it. A file that is no database is moved aside,
//! never deleted, and a new one is begun; a place that cannot be used means no database for now,
//! and the service goes on with the tiers that are left.

mod aside;
mod care;
mod error;
mod migrations;
mod opening;
mod repair;
pub mod schema;
mod store;
#[cfg(test)]
mod tests;

pub use error::{DatabaseError, Harm};
pub use migrations::{migrate, revert};
pub use opening::{Connection, Lent};
pub use store::{Event, Store};
