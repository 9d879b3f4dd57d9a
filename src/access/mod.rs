//! Room: access. Who may come in, and what admins did.
//!
//! Owns: clients' keys beside the one of the settings, the allow and deny lists, the bound on wrong
//! admin keys, and the audit table. Keys and lists are a topic of the log of changes: a change is in
//! force on every worker when the call returns, and within a second on every instance that shares the
//! database. While that is away what is known decides over requests, and changes fail. Knows no HTTP.
//!
//! | question | file |
//! |---|---|
//! | what does every request read | [`table`] |
//! | whose key is this, how does a key look | [`keys`] |
//! | what is stored, what can stand on a list | [`record`] |
//! | what a browser of an admin holds | [`session`] |
//! | who guesses the admin's key, what did admins do | [`guesses`], [`audit`] |

pub mod audit;
pub mod guesses;
pub mod keys;
pub mod record;
pub mod session;
pub mod table;

use std::net::IpAddr;
use std::sync::Arc;

pub use audit::{Audit, AuditEvent, AuditPage};
pub use guesses::Guesses;
pub use keys::{AccessSettings, Held, NewKey, NoKey, PresentedKey, SecretDigest};
pub use record::{Entry, Identifier, ListName, StoredKey, Subject};
pub use session::{AdminKeys, Role};
pub use table::{DeniedBy, ListStatus, Sizes, Table};

use self::keys::InternalKey;
use crate::clock::{self, Timestamp};
use crate::database::Store;
use crate::limits::KeyId;
use crate::replication::{Away, Changes};

const MOST_KEYS: usize = 10_000;
const MOST_ENTRIES: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotChanged {
    Full(usize),
    Away(Away),
}

impl From<Away> for NotChanged {
    fn from(away: Away) -> Self {
        Self::Away(away)
    }
}

/// Who may come in. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Access {
    table: Arc<Table>,
    internal: Arc<InternalKey>,
    changes: Changes,
    pub audit: Audit,
}

impl Access {
    /// Over a table that follows these changes.
    pub fn new(
        settings: &AccessSettings,
        table: Arc<Table>,
        changes: Changes,
        store: Store,
    ) -> Self {
        let internal = Arc::new(InternalKey::from_settings(settings));
        Self { table, internal, changes, audit: Audit::new(store) }
    }

    /// The key that a request holds, and what the lists say of it, at one and the same moment.
    pub fn meet(
        &self,
        presented: PresentedKey<'_>,
        from: IpAddr,
    ) -> (Result<Held, NoKey>, ListStatus) {
        let state = self.table.read();
        let held = self.internal.held(presented, &state, from, clock::now);
        (held, state.evaluate(from, held.ok().map(|held| held.id), clock::now))
    }

    pub fn evaluate(&self, from: IpAddr, key: Option<KeyId>) -> ListStatus {
        self.table.read().evaluate(from, key, clock::now)
    }

    /// Whether keys and lists were read since the start. Until then nobody is denied, and no stored
    /// key is known.
    pub fn is_informed(&self) -> bool {
        self.changes.was_read()
    }

    /// Stores a new key. It is known when this returns.
    pub async fn add_key(&self, id: KeyId, key: &StoredKey) -> Result<(), NotChanged> {
        if self.table.read().sizes(key.created_at).keys >= MOST_KEYS {
            return Err(NotChanged::Full(MOST_KEYS));
        }
        Ok(self.changes.commit(table::draft_of_key(id, key)).await?)
    }

    /// Puts somebody on a list, or changes reason and end of an entry. In force when this returns.
    pub async fn put(
        &self,
        list: ListName,
        who: Identifier,
        entry: &Entry,
    ) -> Result<(), NotChanged> {
        let full = {
            let (state, now) = (self.table.read(), entry.created_at);
            let is_new = !state.has(Subject::Entry(list, who), now);
            is_new && state.sizes(now).of(list) >= MOST_ENTRIES
        };
        if full {
            return Err(NotChanged::Full(MOST_ENTRIES));
        }
        Ok(self.changes.commit(table::draft_of_entry(list, who, entry)).await?)
    }

    /// Revokes a key, or takes somebody from a list; false when nothing was there. Out of force when
    /// this returns.
    pub async fn remove(&self, subject: Subject, now: Timestamp) -> Result<bool, Away> {
        // Another instance may have made it a moment ago.
        self.changes.catch_up().await?;
        if !self.table.read().has(subject, now) {
            return Ok(false);
        }
        self.changes.commit(table::removal(subject, now)).await?;
        Ok(true)
    }

    /// At most `most` stored keys in the order of their ids, those after one; also those that expired
    /// a while ago.
    pub fn key_page(&self, after: Option<KeyId>, most: usize) -> Vec<(KeyId, StoredKey)> {
        let state = self.table.read();
        state.keys(after).take(most).map(|(id, key)| (id, key.clone())).collect()
    }

    /// At most `most` entries of a list in their order, those after one.
    pub fn entries(
        &self,
        list: ListName,
        after: Option<Identifier>,
        most: usize,
        now: Timestamp,
    ) -> Vec<(Identifier, Entry)> {
        let state = self.table.read();
        let in_force = state.entries(list, after).filter(|(_, entry)| entry.is_in_force(|| now));
        in_force.take(most).map(|(who, entry)| (who, entry.clone())).collect()
    }

    pub fn drop_expired(&self, now: Timestamp) {
        self.table.drop_expired(now);
    }

    /// How many keys and entries there are.
    pub fn sizes(&self) -> Sizes {
        self.table.read().sizes(clock::now())
    }
}
