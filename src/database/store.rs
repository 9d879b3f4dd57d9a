//! The database as a whole: open, or away for a reason.
//!
//! Owns: address, pool and the decision when to open anew. Opening never fails: absence is a state.
//! [`Store::lend`] never waits for an opening; [`Store::look_after`] is where time is spent, and a
//! file that turned out to be broken, replaced, deleted or without its tables is dealt with there:
//! nothing is lent any more, the file is quarantined, and a new one is begun. A server that was lost is
//! connected to anew.

use std::fmt;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use arc_swap::ArcSwap;
use diesel::QueryResult;
use diesel::result::Error;
use foldhash::quality::SeedableRandomState;

use super::care::{Care, Identities, part_from, quarantine};
use super::connection::Connection;
use super::pool::{Lent, Pool};
use super::settings::{Address, DatabaseSettings};
use super::watch::Watch;
use super::{DatabaseError, Harm, opening, schema};
use crate::clock::{self, Timestamp};
use crate::resilience::sharded_map::{ShardedMap, secret_hasher};

/// Keys of which it is known when they were written: more than are written in the time of a usual lag.
const WRITTEN: usize = 65_536;

/// What looking after the database did or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Opened,
    /// The file was broken and is kept under this name; a new one is begun.
    Quarantined(PathBuf),
    /// It cannot be used for now, and why.
    Lost(String),
}

#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    settings: DatabaseSettings,
    watch: Watch,
    /// Read without a lock: every answer asks whether it is open.
    state: ArcSwap<State>,
    openings: AtomicU64,
    blamed: Mutex<Option<DatabaseError>>,
    care: Mutex<Care>,
    /// When a key was written last, by its hash; while there are replicas that may not have it yet.
    written: ShardedMap<u64, Option<Instant>>,
    hasher: SeedableRandomState,
}

enum State {
    Open(Pool),
    Away(DatabaseError),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("address", &self.0.settings.address).finish_non_exhaustive()
    }
}

impl Store {
    /// The database of these settings; tries to open it at once. Blocks.
    pub fn open(settings: DatabaseSettings, at: Instant, now: Timestamp) -> (Self, Vec<Event>) {
        Self::open_watched(settings, Watch::default(), at, now)
    }

    /// The same, and `watch` is told of every statement.
    pub fn open_watched(
        settings: DatabaseSettings,
        watch: Watch,
        at: Instant,
        now: Timestamp,
    ) -> (Self, Vec<Event>) {
        let state = State::Away(DatabaseError::new("not opened yet"));
        let written = if settings.replicas.is_empty() { 1 } else { WRITTEN };
        let store = Self(Arc::new(Shared {
            settings,
            watch,
            state: ArcSwap::from_pointee(state),
            openings: AtomicU64::new(0),
            blamed: Mutex::default(),
            care: Mutex::default(),
            written: ShardedMap::new(written),
            hasher: secret_hasher(),
        }));
        // On a thread of its own: a connection to a server must not be waited for on an async one.
        let opened = std::thread::scope(|scope| scope.spawn(|| store.look_after(at, now)).join());
        (store, opened.unwrap_or_default())
    }

    /// Lends a connection, waiting for a free one as long as the settings say.
    pub fn lend(&self) -> Result<Lent, DatabaseError> {
        let pool = match &**self.0.state.load() {
            State::Open(pool) => pool.clone(),
            State::Away(reason) => return Err(reason.clone()),
        };
        pool.get().map_err(DatabaseError::new)
    }

    /// Works on a connection, on a thread that may block. An error of a statement is reported.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, String> {
        let store = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut connection = store.lend().map_err(|error| error.to_string())?;
            work(&mut connection).map_err(|error| {
                store.blame(&connection, &error);
                error.to_string()
            })
        });
        work.await.map_err(|died| died.to_string())?
    }

    pub fn absence(&self) -> Option<String> {
        match &**self.0.state.load() {
            State::Open(_) => None,
            State::Away(reason) => Some(reason.to_string()),
        }
    }

    /// Notes that what is stored under this key was written just now.
    pub fn wrote(&self, key: &str) {
        let Shared { settings, written, hasher, .. } = &*self.0;
        if !settings.replicas.is_empty() {
            written.update(&hasher.hash_one(key), |at| *at = Some(clock::monotonic()));
        }
    }

    /// When the last of these keys was written that is known.
    pub(super) fn written(&self, keys: &[String]) -> Option<Instant> {
        let Shared { written, hasher, .. } = &*self.0;
        let at = |key| written.find(&hasher.hash_one(key), |at| *at).flatten();
        keys.iter().filter_map(at).max()
    }

    /// Why it is of no use to this program, whatever anybody waits for.
    pub fn unfitness(&self) -> Option<String> {
        match &**self.0.state.load() {
            State::Away(reason) if reason.harm() == Harm::Unfit => Some(reason.to_string()),
            State::Open(_) | State::Away(_) => None,
        }
    }

    /// Whether connections can be lent; waits for nobody.
    pub fn is_open(&self) -> bool {
        matches!(**self.0.state.load(), State::Open(_))
    }

    /// Connections that are idle, and that are lent.
    pub fn connections(&self) -> (u32, u32) {
        match &**self.0.state.load() {
            State::Open(pool) => {
                let pool = pool.state();
                let idle = pool.idle_connections;
                (idle, pool.connections.saturating_sub(idle))
            }
            State::Away(_) => (0, 0),
        }
    }

    /// How often it was opened. After another opening the file may be another one.
    pub fn openings(&self) -> u64 {
        self.0.openings.load(Ordering::Acquire)
    }

    /// Reports an error of a statement; the next look follows it up if it says something about the
    /// database.
    pub fn blame(&self, connection: &Connection, error: &Error) {
        self.accuse(connection.error(error));
    }

    pub(super) fn accuse(&self, error: DatabaseError) {
        if error.harm() == Harm::None {
            return;
        }
        let mut blamed = lock(&self.0.blamed);
        if blamed.as_ref().is_none_or(|before| before.harm() < error.harm()) {
            *blamed = Some(error);
        }
    }

    /// Notices what happened to the file and does what can be done. Blocks, for seconds if it
    /// must; of several callers at a time one works, the others return at once.
    #[must_use = "events are to be logged"]
    pub fn look_after(&self, at: Instant, now: Timestamp) -> Vec<Event> {
        let mut care = match self.0.care.try_lock() {
            Ok(care) => care,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        if care.closed {
            return Vec::new();
        }
        if self.is_open() {
            if care.is_settling(at) {
                // Said by statements that still ran on the file before; who means this one says
                // it again.
                *lock(&self.0.blamed) = None;
            }
            self.look_for_harm(&mut care, at);
        }
        let mut events = Vec::new();
        let harmed = lock(&self.0.blamed).clone();
        if (harmed.is_some() || !self.is_open()) && care.may_try(at) {
            if let Some(error) = harmed {
                events.push(Event::Lost(error.to_string()));
                care.reported = Some(error.to_string());
                care.suspect |= error.harm() == Harm::File;
                self.change(State::Away(error));
            }
            self.open_anew(&mut care, at, now, &mut events);
        }
        events
    }

    /// Closes it for good. With its last connection SQLite writes all of the log into the file and takes
    /// the log away: a copy of the file alone is whole then. Blocks.
    pub fn close(&self) {
        lock(&self.0.care).closed = true;
        self.change(State::Away(DatabaseError::new("closed")));
    }

    /// Is it the same file, and what would a new connection find in it?
    fn look_for_harm(&self, care: &mut Care, at: Instant) {
        let path = match &self.0.settings.address {
            Address::Sqlite(path) => path,
            Address::Postgres(address) if address.is_replica() => return,
            Address::Postgres(_) => return self.look_at_server(care, at),
        };
        let found = Identities::at(path);
        if care.files.is_some_and(|open| !open.is_still(found.as_ref())) {
            let what = if found.is_none() { "deleted" } else { "replaced" };
            let text = format!("the file was {what}");
            return self.accuse(DatabaseError::new(text).of(Harm::Connections));
        }
        care.files = found;
        if care.is_to_look(at)
            && let Err(error) = opening::look(path)
        {
            self.accuse(error);
        }
    }

    fn look_at_server(&self, care: &mut Care, at: Instant) {
        if care.is_to_look(at)
            && let Ok(mut connection) = self.lend()
            && let Err(error) = schema::check(&mut connection)
        {
            self.accuse(error);
        }
    }

    fn open_anew(&self, care: &mut Care, at: Instant, now: Timestamp, events: &mut Vec<Event>) {
        *lock(&self.0.blamed) = None;
        care.tried(at);
        let opened = match &self.0.settings.address {
            Address::Sqlite(path) => {
                let opened = self.try_open(path, care, at, now, events);
                care.files = Identities::at(path).filter(|_| opened.is_ok()).or(care.files);
                opened
            }
            Address::Postgres(address) => {
                opening::open_postgres(address, &self.0.settings, &self.0.watch)
            }
        };
        match opened {
            Ok(pool) => {
                // Before it is lent: whoever gets a connection of it knows that it is another one.
                self.0.openings.fetch_add(1, Ordering::AcqRel);
                (care.reported, care.suspect) = (None, false);
                self.change(State::Open(pool));
                events.push(Event::Opened);
            }
            Err(error) => {
                let text = error.to_string();
                if care.reported.as_ref() != Some(&text) {
                    events.push(Event::Lost(text.clone()));
                    care.reported = Some(text);
                }
                self.change(State::Away(error));
            }
        }
    }

    fn try_open(
        &self,
        path: &Path,
        care: &mut Care,
        at: Instant,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<Pool, DatabaseError> {
        let Shared { settings, watch, .. } = &*self.0;
        if let Some(open) = care.files.filter(|open| !open.is_still(Identities::at(path).as_ref()))
        {
            part_from(path, open, now).map_err(DatabaseError::new)?;
            (care.files, care.suspect) = (None, false);
        }
        let tried = Identities::at(path);
        let problem = match care.distrust(at) {
            Some(distrust) => distrust,
            None => match opening::open(path, settings, watch, care.suspect) {
                Ok(pool) => {
                    care.read_through_at = care.suspect.then_some(at).or(care.read_through_at);
                    return Ok(pool);
                }
                Err(problem) => problem,
            },
        };
        // Another process may have begun a new one meanwhile: that one is left where it is.
        let is_same = tried.is_some_and(|tried| tried.is_still(Identities::at(path).as_ref()));
        if problem.harm() != Harm::File || !is_same {
            return Err(problem);
        }
        care.suspect = true;
        care.may_quarantine(at)
            .map_err(|limit| DatabaseError::new(format!("{problem}; {limit}")))?;
        let kept = quarantine(path, now).map_err(|cause| {
            DatabaseError::new(format!("{problem}; cannot quarantine it: {cause}"))
        })?;
        (care.files, care.suspect, care.read_through_at) = (None, false, None);
        care.quarantined_at.push_back(at);
        events.push(Event::Quarantined(kept));
        opening::open(path, settings, watch, false)
    }

    fn change(&self, state: State) {
        self.0.state.store(Arc::new(state));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
