//! What outlives a restart beside the entries: named values.
//!
//! Owns: writing them behind and reading them back. A database that is away loses none of them as
//! long as the process lives: the writer keeps them by name.

use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable};

use super::{DatabaseTier, READ_TIMEOUT};
use crate::clock::Timestamp;
use crate::database::schema::kept_state;
use crate::failure::StoreError;

impl DatabaseTier {
    /// Keeps a value (JSON) under a name, behind; the latest stays.
    pub fn keep(&self, name: &str, json: String, at: Timestamp) {
        self.writer.keep(name, json, at);
    }

    /// The value kept under a name.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        use diesel::dsl::sql;
        let name = name.to_owned();
        let value = self.run(READ_TIMEOUT, move |connection| {
            let bytes = sql::<Nullable<Binary>>("CAST(value AS BLOB)");
            let found = kept_state::table.find(name).select(bytes);
            found.first::<Option<Vec<u8>>>(connection).optional()
        });
        Ok(value.await?.flatten().and_then(|bytes| String::from_utf8(bytes).ok()))
    }
}
