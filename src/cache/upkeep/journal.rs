//! Staying of one mind with other instances: the journal of invalidations in Redis.
//!
//! Owns: the place up to which the journal was read. What it brings is put in force and kept for the
//! next start. When the journal was lost, what this process knows of the last hour is written again,
//! so that whoever missed it hears of it; an empty one gets a mark, so that this is noticed. Redis
//! being away leaves the place where it is.

use std::time::Duration;

use slog::{info, warn};

use crate::cache::invalidations::Rule;
use crate::cache::tables::CacheTables;
use crate::cache::tiers::TierError;
use crate::cache::tiers::redis::{RedisTier, replay};
use crate::clock::{self, Timestamp};

/// Records read at once.
const PAGE: usize = 500;
/// How far back rules are written again when the journal was lost.
const RETOLD: Duration = Duration::from_secs(3_600);
/// Most of them.
const MOST_RETOLD: usize = 1_000;

/// A reader of the journal.
#[derive(Debug)]
pub struct Journal {
    position: String,
    /// The journal was lost, and what is known is still to be written again.
    owes: bool,
}

impl Default for Journal {
    fn default() -> Self {
        Self { position: "0".to_owned(), owes: false }
    }
}

impl Journal {
    /// Brings Redis what it missed, then reads on to the end of the journal.
    ///
    /// # Errors
    /// Redis could not be asked; the next call goes on from here.
    pub async fn catch_up(&mut self, tables: &CacheTables) -> Result<(), TierError> {
        let Some(redis) = &tables.redis else { return Ok(()) };
        let replayed = replay(redis, &tables.arrears, clock::now()).await;
        if replayed.entries + replayed.records > 0 {
            info!(tables.log, "brought redis what it missed"; "entries" => replayed.entries,
                "invalidations" => replayed.records, "left" => replayed.left);
        }
        if self.read_on(tables, redis).await? {
            redis.mark_journal().await?;
            self.read_on(tables, redis).await?;
        }
        if self.owes {
            retell(tables, redis, clock::now()).await?;
            self.owes = false;
        }
        Ok(())
    }

    /// Reads on to the end; whether the journal is empty.
    async fn read_on(
        &mut self,
        tables: &CacheTables,
        redis: &RedisTier,
    ) -> Result<bool, TierError> {
        loop {
            let page = redis.read_after(&self.position, PAGE).await?;
            for (_, record) in &page.records {
                hear(tables, record, clock::now());
            }
            if page.begun_anew {
                warn!(tables.log, "the journal of invalidations began anew");
                self.owes = true;
            }
            let (empty, last) = (page.is_at_start(), page.position == self.position);
            self.position = page.position;
            if last {
                return Ok(empty);
            }
        }
    }
}

fn hear(tables: &CacheTables, record: &str, now: Timestamp) {
    match record.parse::<Rule>() {
        Ok(rule) => {
            if tables.heard(rule.clone(), now) {
                // A rule that cannot be kept is in the journal still.
                tables.remember(&rule);
            }
        }
        Err(problem) => {
            warn!(tables.log, "foreign record in the journal"; "problem" => %problem);
        }
    }
}

async fn retell(tables: &CacheTables, redis: &RedisTier, now: Timestamp) -> Result<(), TierError> {
    let since = now.minus(RETOLD);
    let mut known = tables.invalidations.rules();
    known.retain(|rule| rule.at >= since);
    known.sort_by_key(|rule| std::cmp::Reverse(rule.at));
    known.truncate(MOST_RETOLD);
    let lines: Vec<String> = known.iter().map(ToString::to_string).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    redis.append_many(&lines).await.map(drop)
}
