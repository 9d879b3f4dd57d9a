//! Keeping the stores small and what is known about use true.
//!
//! Owns: handing uses to SQL, dropping what is past its time or beyond the bound, forgetting
//! invalidations that can hit nothing any more, and the gauges of how much each tier holds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use slog::{debug, info, warn};

use crate::cache::tables::CacheTables;
use crate::cache::tiers::Tier;
use crate::cache::tiers::database::Swept;
use crate::clock;

/// What tidying did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Rows that left the database.
    pub swept: Swept,
    /// Invalidations forgotten.
    pub forgotten: usize,
}

impl CacheTables {
    /// Hands the uses counted since the last call to SQL; they decide what stays and what is warmed.
    pub fn hand_over_uses(&self) {
        let uses = self.memory.take_uses();
        if let Some(database) = self.database.as_ref().filter(|_| !uses.is_empty()) {
            database.used(uses, clock::now());
        }
        let entries = u64::try_from(self.memory.len()).unwrap_or(u64::MAX);
        self.metrics.size(Tier::Memory.label(), entries, self.memory.bytes());
    }

    /// Drops rows past their time and beyond `max_bytes`, and invalidations older than `longest`,
    /// the longest time an entry is usable.
    pub async fn tidy(&self, max_bytes: u64, longest: Duration) -> Tidied {
        let mut tidied = Tidied::default();
        let now = clock::now();
        self.invalidations.forget_before(now.minus(longest));
        let Some(database) = &self.database else { return tidied };
        match database.sweep(now, max_bytes).await {
            Ok(swept) => {
                self.metrics.size(Tier::Database.label(), swept.rows, swept.bytes);
                if swept.evicted > 0 {
                    info!(self.log, "rows left the database for want of room";
                        "evicted" => swept.evicted, "expired" => swept.expired);
                }
                tidied.swept = swept;
            }
            Err(error) => warn!(self.log, "database not swept"; "error" => %error),
        }
        match database.forget_invalidations(now.minus(longest)).await {
            Ok(forgotten) => tidied.forgotten = forgotten,
            Err(error) => debug!(self.log, "old invalidations kept"; "error" => %error),
        }
        tidied
    }

    /// Puts the invalidations that were kept in force again; to be done before anything is served,
    /// and again while it is owed. Until it is done no row of the database is answered with.
    pub async fn restore_rules(&self) {
        let Some(database) = &self.database else { return };
        let read = database.invalidations().await;
        let owed = read.is_err();
        match read {
            Ok(rows) => match self.invalidations.restore(rows, clock::now()) {
                0 => {}
                unreadable => {
                    warn!(self.log, "rows that are no invalidations"; "count" => unreadable);
                }
            },
            Err(error) => warn!(self.log, "invalidations not restored yet"; "error" => %error),
        }
        // Only now: whoever trusts the database finds the rules in force.
        self.rules_owed.store(owed, Ordering::Release);
    }

    /// Whether invalidations are still to be restored.
    #[must_use]
    pub fn owes_rules(&self) -> bool {
        self.rules_owed.load(Ordering::Acquire)
    }
}
