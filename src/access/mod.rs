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
//! | whose key is this, how does a key look | [`keys`], [`secret`] |
//! | what is stored, what can stand on a list | [`record`], [`identifier`] |
//! | who guesses the admin's key, what did admins do | [`guesses`], [`audit`] |

pub mod audit;
pub mod guesses;
pub mod identifier;
pub mod keys;
pub mod record;
pub mod secret;
mod settings;
pub mod table;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;

pub use audit::{Audit, AuditEvent, AuditPage};
pub use guesses::Guesses;
pub use identifier::Identifier;
pub use keys::{Held, PresentedKey};
pub use record::{Entry, ListName, StoredKey};
pub use secret::{NewKey, NoRandomness, SecretDigest};
pub use settings::AccessSettings;
pub use table::{Sizes, Table, Verdict};

use self::keys::InternalKey;
use self::record::Subject;
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What its owner calls it.
    pub label: String,
    /// Its own limit in each class of routes.
    pub per_minute: Option<NonZeroU32>,
    /// Where it may be used from; anywhere when empty.
    pub networks: Vec<IpNet>,
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub sizes: Sizes,
    pub audit_waiting: usize,
    pub audit_dropped: u64,
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
    pub fn meet(&self, presented: PresentedKey<'_>, from: IpAddr) -> (Option<Held>, Verdict) {
        let state = self.table.read();
        let held = self.internal.held(presented, &state, from, clock::now);
        (held, state.evaluate(from, held.map(|held| held.id), clock::now))
    }

    pub fn evaluate(&self, from: IpAddr, key: Option<KeyId>) -> Verdict {
        self.table.read().evaluate(from, key, clock::now)
    }

    /// Whether keys and lists were read since the start. Until then nobody is denied, and no stored
    /// key is known.
    pub fn is_informed(&self) -> bool {
        self.changes.was_read()
    }

    /// Stores a new key. It is known when this returns.
    ///
    /// # Errors
    /// There are too many, or the database does not take it.
    pub async fn add_key(
        &self,
        new: &NewKey,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<StoredKey, NotChanged> {
        let Wanted { label, per_minute, networks, expires_at } = wanted;
        let digest = new.digest;
        let key = StoredKey { label, digest, per_minute, networks, created_at: now, expires_at };
        if self.table.read().sizes(now).keys >= MOST_KEYS {
            return Err(NotChanged::Full(MOST_KEYS));
        }
        self.changes.commit(table::draft_of_key(new.id, &key)).await?;
        Ok(key)
    }

    /// Revokes a key; false when there is none. It is unknown when this returns.
    ///
    /// # Errors
    /// The database is away.
    pub async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<bool, NotChanged> {
        self.remove(Subject::Key(id), now).await
    }

    /// Puts somebody on a list, or changes reason and end of an entry. In force when this returns.
    ///
    /// # Errors
    /// The list is full, or the database does not take it.
    pub async fn put(
        &self,
        list: ListName,
        who: Identifier,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), NotChanged> {
        let subject = Subject::Entry(list, who);
        let full = {
            let state = self.table.read();
            let sizes = state.sizes(now);
            let size = if list == ListName::Allow { sizes.allow } else { sizes.deny };
            size >= MOST_ENTRIES && !state.has(subject, now)
        };
        if full {
            return Err(NotChanged::Full(MOST_ENTRIES));
        }
        Ok(self.changes.commit(table::draft_of_entry(list, who, entry)).await?)
    }

    /// Takes somebody from a list; false when nobody was there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_out(
        &self,
        list: ListName,
        who: Identifier,
        now: Timestamp,
    ) -> Result<bool, NotChanged> {
        self.remove(Subject::Entry(list, who), now).await
    }

    async fn remove(&self, subject: Subject, now: Timestamp) -> Result<bool, NotChanged> {
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

    pub fn counts(&self) -> Counts {
        let (audit_waiting, audit_dropped) = self.audit.counts();
        Counts { sizes: self.table.read().sizes(clock::now()), audit_waiting, audit_dropped }
    }
}
