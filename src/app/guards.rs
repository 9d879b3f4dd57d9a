//! The state of the upstream's guards over restarts: breaker, ban, the day's budget.
//!
//! Owns: recalling what an earlier process kept, once, and keeping what changed since. As long as
//! the database has not told what it holds, that is owed: nothing is kept that would replace it, and
//! what it holds is added to what happened meanwhile when it comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slog::{Logger, info, warn};

use crate::cache::tiers::database::DatabaseTier;
use crate::clock;
use crate::origin::accounts::Account;
use crate::origin::remembered::Remembered;
use crate::origin::tables::UpstreamTables;

/// The name under which it is kept.
const NAME: &str = "upstream";

/// Recalls and keeps. Clones are the same one.
#[derive(Clone)]
pub(super) struct Guards {
    upstream: Arc<UpstreamTables>,
    database: DatabaseTier,
    progress: Arc<Mutex<Progress>>,
    log: Logger,
}

/// How far it is.
enum Progress {
    /// What was kept is still to be recalled; whether that was complained of.
    Owed { told: bool },
    /// It is recalled, and this is what the database was told last, or had.
    Recalled { last: Option<Remembered> },
}

impl Guards {
    pub(super) fn new(upstream: Arc<UpstreamTables>, database: DatabaseTier, log: &Logger) -> Self {
        let progress = Arc::new(Mutex::new(Progress::Owed { told: false }));
        Self { upstream, database, progress, log: log.clone() }
    }

    /// Whether what was kept is still to be recalled.
    pub(super) fn is_owed(&self) -> bool {
        matches!(*self.progress(), Progress::Owed { .. })
    }

    /// Takes over what an earlier process kept, unless that is done; a database that is away is
    /// asked the next time.
    pub(super) async fn recall(&self) {
        if !self.is_owed() {
            return;
        }
        let kept = self.database.recall(NAME).await;
        let mut progress = self.progress();
        // Another may have been faster: what was spent is to be added once.
        let Progress::Owed { told } = &mut *progress else { return };
        match kept {
            Ok(kept) => {
                if *told {
                    info!(self.log, "state of the upstream restored at last");
                }
                let saved = kept.and_then(|text| Remembered::from_json(&text, clock::now()));
                if let Some(saved) = &saved {
                    let restored = self.upstream.restore(saved, clock::monotonic(), clock::now());
                    self.tell_breakers(&restored);
                }
                *progress = Progress::Recalled { last: saved };
            }
            Err(error) => {
                if !*told {
                    warn!(self.log, "state of the upstream not restored yet"; "error" => %error);
                }
                *told = true;
            }
        }
    }

    fn tell_breakers(&self, restored: &[&Account]) {
        for account in restored {
            let breaker = account.breaker.snapshot(clock::monotonic());
            info!(self.log, "breaker restored"; "breaker" => &*breaker.name,
                "state" => breaker.state.as_str(), "retry_after_ms" => breaker.retry_after_ms,
                "forced" => breaker.forced,
                "slow_start_per_second" => breaker.slow_start_per_second,
                "consecutive_failures" => breaker.consecutive_failures);
        }
    }

    /// Keeps the state if it is worth it.
    pub(super) fn keep_changes(&self) {
        if let Progress::Recalled { last } = &mut *self.progress() {
            let wall = clock::now();
            let state = self.upstream.remember(clock::monotonic(), wall);
            let state = state.with_former(last.as_ref(), wall);
            if last.as_ref().is_none_or(|last| state.changed_since(last)) {
                self.database.keep(NAME, state.to_json(), wall);
                *last = Some(state);
            }
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing under this lock can panic between two changes that belong together.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
