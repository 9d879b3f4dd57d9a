//! Who may come in, for all workers of the process: the table behind every decision.
//!
//! Owns: the snapshot that requests read without a lock, the book behind it, and what an admin may do
//! to both. A change is in force on every worker when the call that made it returns. Refuses: what
//! the book refuses. It does no input and output: stores are told, and heard, by `store` and
//! `distribution`; when they are away everything goes on with what is known.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::sync::Notify;

use super::audit::{Deed, Unstored};
use super::book::{Book, Bounds, Full, Heard};
use super::debts::Place;
use super::identifier::Identifier;
use super::keys::{Held, KeyRing, NewKey, NoRandomness, PresentedKey};
use super::record::{Body, Entry, ListName, Record, StoredKey, Subject};
use super::snapshot::{Sizes, Snapshot, Verdict};
use crate::clock::{self, Timestamp};
use crate::config;
use crate::limits::KeyId;

/// Who may come in. Cheap to clone; all clones are the same table.
#[derive(Debug, Clone)]
pub struct Access {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    book: Mutex<Book>,
    ring: KeyRing,
    unstored: Unstored,
    /// Rung when there is something to tell a store.
    news: [Notify; 2],
    /// Rung when a store was told something.
    told: Notify,
    /// Whether the database, and Redis, were read since the start.
    read: [AtomicBool; 2],
}

/// A key that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What its owner calls it.
    pub label: String,
    /// Its own limit in each class of routes.
    pub per_minute: Option<NonZeroU32>,
    /// Where it may be used from; anywhere when empty.
    pub networks: Vec<IpNet>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
}

/// Why a key was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMade {
    /// There are too many already.
    Full(Full),
    /// There is nothing to make it of.
    NoRandomness(NoRandomness),
}

/// A key that was made, the only time its text is known.
pub struct Made {
    /// Its id.
    pub id: KeyId,
    /// What is stored of it.
    pub key: StoredKey,
    /// The key itself.
    pub secret: String,
}

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, key, secret: _ } = self;
        f.debug_struct("Made").field("id", id).field("key", key).finish_non_exhaustive()
    }
}

/// What a process knows and owes, for status pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// What is in force.
    pub sizes: Sizes,
    /// Subjects the database is still to be told.
    pub owed_database: usize,
    /// Subjects Redis is still to be told.
    pub owed_redis: usize,
    /// Deeds the database is still to store.
    pub deeds_waiting: usize,
    /// Deeds that were given up since the start.
    pub deeds_given_up: u64,
}

impl Access {
    /// Only what the settings say; `by` is a number that no other instance has, most likely.
    #[must_use]
    pub fn new(settings: &config::Access, by: u32, bounds: Bounds, with_redis: bool) -> Self {
        let shared = Shared {
            snapshot: ArcSwap::default(),
            book: Mutex::new(Book::new(by, bounds, with_redis)),
            ring: KeyRing::from_settings(settings),
            unstored: Unstored::default(),
            news: [Notify::new(), Notify::new()],
            told: Notify::new(),
            read: Default::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The key that a request holds, if it holds one that is known and good from there.
    #[must_use]
    pub fn held(&self, presented: PresentedKey<'_>, from: IpAddr) -> Option<Held> {
        let snapshot = self.shared.snapshot.load();
        self.shared.ring.held(presented, &snapshot, from, clock::now)
    }

    /// The key that a request holds and what the lists say of it, at one and the same moment.
    #[must_use]
    pub fn meet(&self, presented: PresentedKey<'_>, from: IpAddr) -> (Option<Held>, Verdict) {
        let snapshot = self.shared.snapshot.load();
        let held = self.shared.ring.held(presented, &snapshot, from, clock::now);
        (held, snapshot.judge(from, held.map(|held| held.id), clock::now))
    }

    /// What the lists say of a request.
    #[must_use]
    pub fn judge(&self, from: IpAddr, key: Option<KeyId>) -> Verdict {
        self.shared.snapshot.load().judge(from, key, clock::now)
    }

    /// Makes a key. It is known when this returns.
    ///
    /// # Errors
    /// There are too many, or there is no randomness.
    pub fn make_key(&self, wanted: Wanted, now: Timestamp) -> Result<Made, NotMade> {
        let NewKey { id, text, digest } = NewKey::make().map_err(NotMade::NoRandomness)?;
        let Wanted { label, per_minute, networks, expires_at } = wanted;
        let key = StoredKey { label, digest, per_minute, networks, created_at: now, expires_at };
        self.change(Subject::Key(id), Some(Body::Key(Box::new(key.clone()))), now)
            .map_err(NotMade::Full)?;
        Ok(Made { id, key, secret: text })
    }

    /// Revokes a key; false when there is none. It is unknown when this returns.
    pub fn revoke_key(&self, id: KeyId, now: Timestamp) -> bool {
        self.remove(Subject::Key(id), now)
    }

    /// So many stored keys in the order of their ids, those after `after` first; also for a while
    /// those that have expired.
    #[must_use]
    pub fn key_page(&self, after: Option<KeyId>, most: usize) -> Vec<(KeyId, StoredKey)> {
        self.book().keys(after).take(most).map(|(id, key)| (id, key.clone())).collect()
    }

    /// Puts somebody on a list, or changes reason and end of who is there. In force when this
    /// returns.
    ///
    /// # Errors
    /// The list is full.
    pub fn put(
        &self,
        list: ListName,
        identifier: Identifier,
        entry: Entry,
        now: Timestamp,
    ) -> Result<(), Full> {
        self.change(Subject::Entry(list, identifier), Some(Body::Entry(entry)), now)
    }

    /// Takes somebody from a list; false when nobody was there.
    pub fn take_out(&self, list: ListName, identifier: Identifier, now: Timestamp) -> bool {
        self.remove(Subject::Entry(list, identifier), now)
    }

    /// So many entries of a list in their order, those after `after` first.
    #[must_use]
    pub fn entries(
        &self,
        list: ListName,
        after: Option<Identifier>,
        most: usize,
        now: Timestamp,
    ) -> Vec<(Identifier, Entry)> {
        let book = self.book();
        let entries = book.entries(list, after, now).take(most);
        entries.map(|(identifier, entry)| (identifier, entry.clone())).collect()
    }

    /// Notes what an admin did.
    pub fn note(&self, deed: Deed) {
        self.shared.unstored.note(deed);
        self.news(Place::Database).notify_one();
    }

    /// Deeds that the database does not have yet, the oldest first.
    #[must_use]
    pub fn unstored_deeds(&self) -> Vec<Deed> {
        self.shared.unstored.all()
    }

    pub(super) fn unstored(&self) -> &Unstored {
        &self.shared.unstored
    }

    /// Merges what a store holds; it is in force when this returns.
    pub fn hear(&self, records: Vec<Record>, from: Place, now: Timestamp) -> Heard {
        if records.is_empty() {
            return Heard::default();
        }
        let heard = self.rewrite(|book, snapshot| book.hear(records, from, now, snapshot));
        for place in Place::ALL {
            if self.book().debt(place) > 0 {
                self.news(place).notify_one();
            }
        }
        heard
    }

    /// Whether something a store holds was not believed for its time, and may be now (our clock was
    /// put right): it is to be read from its beginning. Told once, and once a minute at most.
    #[must_use]
    pub fn may_believe_more(&self, place: Place, now: Timestamp) -> bool {
        self.book().may_believe_more(place, now)
    }

    /// A store was read to its end.
    pub fn was_read(&self, place: Place) {
        let [database, redis] = &self.shared.read;
        let read = match place {
            Place::Database => database,
            Place::Redis => redis,
        };
        read.store(true, Ordering::Relaxed);
    }

    /// Whether any store was read since the start. As long as none was, only what was changed here is
    /// in force: nobody who is denied elsewhere is, and no stored key is known.
    #[must_use]
    pub fn is_informed(&self) -> bool {
        self.shared.read.iter().any(|read| read.load(Ordering::Relaxed))
    }

    /// What a store is to be told next; it stays owed until it was [`Access::told`].
    #[must_use]
    pub fn owed(&self, place: Place, most: usize) -> Vec<Record> {
        self.book().owed(place, most)
    }

    /// A store was told these.
    pub fn told(&self, place: Place, records: &[Record]) {
        self.book().told(place, records);
        self.shared.told.notify_waiters();
    }

    /// A store lost what it held, and is owed everything.
    pub fn owe_all(&self, place: Place) {
        self.book().owe_all(place);
        self.news(place).notify_one();
    }

    /// Waits until there may be something to tell a store, for `limit` at most.
    pub async fn until_news(&self, place: Place, limit: Duration) {
        drop(tokio::time::timeout(limit, self.news(place).notified()).await);
    }

    /// Waits until every store was told of a subject, for `limit` at most; the stores that were not.
    pub async fn until_told(&self, subject: Subject, limit: Duration) -> Vec<&'static str> {
        let unreached = || -> Vec<&'static str> {
            let book = self.book();
            let owed = Place::ALL.into_iter().filter(|place| book.owes(*place, &subject));
            owed.map(Place::label).collect()
        };
        let all = async {
            loop {
                let told = self.shared.told.notified();
                if unreached().is_empty() {
                    return;
                }
                told.await;
            }
        };
        drop(tokio::time::timeout(limit, all).await);
        unreached()
    }

    /// Takes out of force what has ended.
    pub fn end(&self, now: Timestamp) {
        if self.book().ends_by(now) {
            self.rewrite(|book, snapshot| book.end(now, snapshot));
        }
    }

    /// Forgets what nobody needs to know any more; how much that was.
    pub fn forget(&self, now: Timestamp) -> usize {
        self.book().forget(now)
    }

    /// What is to be taken out of Redis because nobody needs to know it any more.
    #[must_use]
    pub fn take_forgotten(&self, most: usize) -> Vec<Record> {
        self.book().take_forgotten(most)
    }

    /// What is known and owed.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let sizes = self.shared.snapshot.load().sizes();
        let book = self.book();
        let (owed_database, owed_redis) = (book.debt(Place::Database), book.debt(Place::Redis));
        drop(book);
        let unstored = &self.shared.unstored;
        let (deeds_waiting, deeds_given_up) = (unstored.len(), unstored.given_up());
        Counts { sizes, owed_database, owed_redis, deeds_waiting, deeds_given_up }
    }

    fn change(&self, subject: Subject, body: Option<Body>, now: Timestamp) -> Result<(), Full> {
        self.rewrite(|book, snapshot| book.change(subject, body, now, snapshot).map(drop))?;
        Place::ALL.into_iter().for_each(|place| self.news(place).notify_one());
        Ok(())
    }

    fn remove(&self, subject: Subject, now: Timestamp) -> bool {
        let is_there = self.book().get(&subject).is_some_and(|record| match subject {
            // One that has expired can be revoked: it may have been prolonged elsewhere.
            Subject::Key(_) => record.body.is_some(),
            Subject::Entry(..) => record.is_alive(now),
        });
        // To remove needs no room.
        is_there && self.change(subject, None, now).is_ok()
    }

    /// Changes the book, and what is in force with it. Readers see all of it or nothing.
    fn rewrite<T>(&self, work: impl FnOnce(&mut Book, &mut Snapshot) -> T) -> T {
        let mut book = self.book();
        let mut next = Snapshot::clone(&self.shared.snapshot.load());
        let done = work(&mut book, &mut next);
        // Under the lock of the book: of two changes the later one is published later.
        self.shared.snapshot.store(Arc::new(next));
        done
    }

    fn news(&self, place: Place) -> &Notify {
        let [database, redis] = &self.shared.news;
        match place {
            Place::Database => database,
            Place::Redis => redis,
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A record is put in with one call; whoever panics leaves a book that is whole.
        self.shared.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Access {
        let settings = config::Access { admin_key: None, internal_key: None, require_key: false };
        Access::new(&settings, 1, Bounds::default(), false)
    }

    fn make(access: &Access, expires_at: Option<Timestamp>) -> Made {
        let (per_minute, networks) = (None, Vec::new());
        let wanted = Wanted { label: "shop".into(), per_minute, networks, expires_at };
        access.make_key(wanted, clock::now()).unwrap()
    }

    #[test]
    fn a_key_that_was_made_does_not_show_its_text() {
        let made = make(&table(), None);
        let shown = format!("{made:?} {made:#?}");
        assert!(shown.contains("label: \"shop\""), "{shown}");
        assert!(!shown.contains(&made.secret[16..]), "{shown}");
    }

    #[test]
    fn pages_of_keys_are_all_keys_also_when_one_is_revoked_between_two_pages() {
        let (access, now) = (table(), clock::now());
        let mut ids: Vec<_> = (0..23).map(|_| make(&access, None).id).collect();
        ids.push(make(&access, Some(now)).id);
        ids.sort_unstable();
        access
            .put(
                ListName::Deny,
                Identifier::Key(ids[0]),
                Entry { reason: String::new(), created_at: now, expires_at: None },
                now,
            )
            .unwrap();
        let mut seen = Vec::new();
        loop {
            let page = access.key_page(seen.last().copied(), 5);
            let Some((last, _)) = page.last().cloned() else { break };
            seen.extend(page.into_iter().map(|(id, _)| id));
            assert!(access.revoke_key(last, now));
        }
        assert_eq!(seen, ids);
        assert_eq!(access.key_page(None, usize::MAX).len(), 24 - 5);
    }
}
