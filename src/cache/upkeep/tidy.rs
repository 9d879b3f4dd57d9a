//! Keeping the stores small and what is known about use true.
//!
//! Owns: handing uses to SQL, dropping what is past its time or beyond the bound, forgetting
//! invalidations that can hit nothing any more, and the gauges of how much each tier holds.

use std::time::Duration;

use slog::{info, warn};

use crate::cache::tables::CacheTables;
use crate::cache::tiers::Tier;
use crate::cache::tiers::database::Swept;
use crate::clock;

impl CacheTables {
    /// Hands the uses counted since the last call to SQL; they decide what stays and what is warmed.
    pub fn hand_over_uses(&self) {
        let uses = self.memory.take_uses();
        if let Some(database) = self.database.as_ref().filter(|_| !uses.is_empty()) {
            database.writer.used(uses, clock::now());
        }
        let entries = u64::try_from(self.memory.len()).unwrap_or(u64::MAX);
        self.metrics.size(Tier::Memory.label(), entries, self.memory.bytes());
    }

    /// Drops rows past their time and beyond `max_bytes`, and invalidations older than `longest`,
    /// the longest time an entry is usable. What left the database.
    pub async fn tidy(&self, max_bytes: u64, longest: Duration) -> Swept {
        let now = clock::now();
        self.invalidations.forget_before(now.minus(longest));
        let Some(database) = &self.database else { return Swept::default() };
        match database.sweep(now, max_bytes).await {
            Ok(swept) => {
                self.metrics.size(Tier::Database.label(), swept.rows, swept.bytes);
                if swept.evicted > 0 {
                    info!(self.log, "rows left the database for want of room";
                        "evicted" => swept.evicted, "expired" => swept.expired);
                }
                swept
            }
            Err(error) => {
                warn!(self.log, "database not swept"; "error" => %error);
                Swept::default()
            }
        }
    }
}
