//! The state of an upstream over restarts: breakers, bans, the day's budgets.
//!
//! Owns: restoring what an earlier process stored, once, and storing what changed since. As long as
//! the database is away that is pending: nothing is stored that would replace what it holds, and what
//! it holds is added to what happened meanwhile when it comes back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, info, warn};

use crate::cache::tiers::database::DatabaseTier;
use crate::clock;
use crate::origin::credentials::Credential;
use crate::origin::state::OriginState;
use crate::origin::state::Persisted;

/// Restores and stores the state of one upstream, under its name.
pub(super) struct PersistedState {
    upstream: Arc<OriginState>,
    database: DatabaseTier,
    progress: Mutex<Progress>,
    log: Logger,
}

enum Progress {
    /// Still to be restored; whether that was logged.
    Pending { logged: bool },
    /// It is restored, and this is what the database got last, or had.
    Restored { last: Option<Persisted> },
}

impl PersistedState {
    /// One for each upstream, restored if the database answers.
    pub(super) async fn restored(
        origins: &[Arc<OriginState>],
        database: &DatabaseTier,
        log: &Logger,
    ) -> Arc<[Self]> {
        let of = |origin: &Arc<OriginState>| Self {
            upstream: Arc::clone(origin),
            database: database.clone(),
            progress: Mutex::new(Progress::Pending { logged: false }),
            log: log.clone(),
        };
        let all: Arc<[Self]> = origins.iter().map(of).collect();
        for one in &*all {
            one.restore().await;
        }
        all
    }

    /// Whether it is still to be restored.
    pub(super) fn is_pending(&self) -> bool {
        matches!(*self.progress(), Progress::Pending { .. })
    }

    /// Takes over what an earlier process stored, unless that is done; a database that is away is
    /// asked the next time.
    pub(super) async fn restore(&self) {
        if !self.is_pending() {
            return;
        }
        let stored = self.database.recall(self.upstream.name()).await;
        let mut progress = self.progress();
        // Another may have been faster: what was spent is to be added once.
        let Progress::Pending { logged } = &mut *progress else { return };
        match stored {
            Ok(stored) => {
                if *logged {
                    info!(self.log, "state of the upstream restored at last");
                }
                let saved = stored.and_then(|text| Persisted::from_json(&text, clock::now()));
                if let Some(saved) = &saved {
                    let restored = self.upstream.restore(saved, clock::monotonic(), clock::now());
                    self.log_breakers(&restored);
                }
                *progress = Progress::Restored { last: saved };
            }
            Err(error) => {
                if !*logged {
                    warn!(self.log, "state of the upstream not restored yet"; "error" => %error);
                }
                *logged = true;
            }
        }
    }

    fn log_breakers(&self, restored: &[&Credential]) {
        for credential in restored {
            let breaker = credential.breaker.snapshot(clock::monotonic());
            info!(self.log, "breaker restored"; "breaker" => &*breaker.name,
                "state" => breaker.state.as_str(), "retry_after_ms" => breaker.retry_after_ms,
                "forced" => breaker.forced,
                "slow_start_per_second" => breaker.slow_start_per_second,
                "consecutive_failures" => breaker.consecutive_failures);
        }
    }

    /// Stores the state if it changed.
    pub(super) fn store_changes(&self) {
        if let Progress::Restored { last } = &mut *self.progress() {
            let wall = clock::now();
            let state = self.upstream.persist(clock::monotonic(), wall);
            if last.as_ref().is_none_or(|last| state.changed_since(last)) {
                self.database.writer.keep(self.upstream.name(), state.to_json(), wall);
                *last = Some(state);
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing under this lock can panic between two changes that belong together.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
