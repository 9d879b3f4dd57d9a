//! Staying of one mind with other instances: the journal of invalidations in Redis.
//!
//! Owns: the place up to which the journal was read, and the order of a turn. First it is read to its
//! end, and only then may Redis be read from; then others are told what they may have missed, and
//! Redis is brought what it missed. What is heard is put in force and kept for the next start. When
//! the journal was lost, what this process knows of the last hour is written again; after a start,
//! what it knows from before and the journal does not say, since it may have been promised to others
//! while Redis was away. An empty journal gets a mark, so that its loss is noticed. Redis being away
//! leaves the place where it is, and nobody reads from a Redis whose journal was not read for a second. One that answers and refuses to have a journal carries no invalidations from
//! anybody: that is said, and it is used all the same.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use slog::{info, warn};

use crate::cache::invalidations::Rule;
use crate::cache::tables::CacheTables;
use crate::cache::tiers::redis::{RedisTier, replay};
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;

/// Records read at once.
const PAGE: usize = 500;
/// Records written at once, so that it ends in time on a slow wire.
const BATCH: usize = 64;
/// How far back rules are written again when the journal was lost.
const RETOLD: Duration = Duration::from_secs(3_600);
/// How far back rules from before the start are told that the journal does not say.
const TOLD_AT_START: Duration = Duration::from_secs(24 * 3_600);
/// Most of them.
const MOST_RETOLD: usize = 1_000;
/// Most rules heard since the start that are remembered to be compared; the journal is not longer.
const MOST_COMPARED: usize = 20_000;

/// A reader of the journal.
#[derive(Debug)]
pub struct Journal {
    position: String,
    /// The journal was lost, and what is known is still to be written again.
    lost: bool,
    /// What was heard since the start, until what was known before has been held against it.
    at_start: Option<HashSet<Rule>>,
    untold: Untold,
    /// That the journal cannot be read has been said.
    complained: bool,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            position: "0".to_owned(),
            lost: false,
            at_start: Some(HashSet::new()),
            untold: Untold::default(),
            complained: false,
        }
    }
}

/// Rules that others are still to be told. What was told is not told again when the rest fails.
#[derive(Debug, Default)]
struct Untold(VecDeque<Rule>);

impl Untold {
    /// Adds those of `rules` that are not older than `since`: the newest, up to a number.
    fn add(&mut self, mut rules: Vec<Rule>, since: Timestamp) {
        rules.retain(|rule| rule.at >= since);
        rules.sort_by_key(|rule| std::cmp::Reverse(rule.at));
        rules.truncate(MOST_RETOLD);
        rules.retain(|rule| !self.0.contains(rule));
        self.0.extend(rules);
    }

    /// The next lines; they stay until they were told.
    fn batch(&self) -> Vec<String> {
        self.0.iter().take(BATCH).map(ToString::to_string).collect()
    }

    /// So many of the first were told.
    fn told(&mut self, count: usize) {
        self.0.drain(..count.min(self.0.len()));
    }
}

impl Journal {
    /// Reads on to the end of the journal, tells others what they may have missed, and brings Redis
    /// what it missed.
    ///
    /// # Errors
    /// Redis could not be asked; the next call goes on from here.
    pub async fn catch_up(&mut self, tables: &CacheTables) -> Result<(), StoreError> {
        let Some(redis) = &tables.redis else { return Ok(()) };
        self.listen(tables, redis).await?;
        self.owe(tables, clock::now());
        let told = self.tell(redis).await;
        bring(tables, redis).await;
        told
    }

    /// Hears all there is; from then on Redis may be read from for a while.
    async fn listen(&mut self, tables: &CacheTables, redis: &RedisTier) -> Result<(), StoreError> {
        let began = clock::monotonic();
        match self.read_on(tables, redis).await {
            Ok(empty) => {
                redis.heard(began);
                self.complained = false;
                if empty {
                    redis.mark_journal().await?;
                    self.read_on(tables, redis).await?;
                }
                Ok(())
            }
            Err(StoreError::Refused(cause)) => {
                redis.heard(began);
                if !self.complained {
                    warn!(tables.log, "redis refuses to be asked for invalidations; used without";
                        "error" => cause);
                }
                self.complained = true;
                Ok(())
            }
            Err(error) => {
                if !self.complained && !redis.is_avoided() && !redis.is_heard() {
                    warn!(tables.log, "invalidations cannot be read; nothing else is read from redis";
                        "error" => %error);
                    self.complained = true;
                }
                Err(error)
            }
        }
    }

    /// Reads on to the end; whether the journal is empty.
    async fn read_on(
        &mut self,
        tables: &CacheTables,
        redis: &RedisTier,
    ) -> Result<bool, StoreError> {
        loop {
            let page = redis.read_after(&self.position, PAGE).await?;
            for (_, record) in &page.records {
                self.hear(tables, record, clock::now());
            }
            if page.begun_anew {
                warn!(tables.log, "the journal of invalidations began anew");
                self.lost = true;
            }
            let (empty, last) = (page.is_at_start(), page.position == self.position);
            self.position = page.position;
            if last {
                return Ok(empty);
            }
        }
    }

    fn hear(&mut self, tables: &CacheTables, record: &str, now: Timestamp) {
        let rule = match record.parse::<Rule>() {
            Ok(rule) => rule,
            Err(problem) => {
                warn!(tables.log, "foreign record in the journal"; "problem" => %problem);
                return;
            }
        };
        if tables.heard(rule.clone(), now) {
            // A rule that cannot be kept is in the journal still.
            tables.remember(&rule);
        }
        if let Some(heard) = self.at_start.as_mut().filter(|heard| heard.len() < MOST_COMPARED) {
            heard.insert(rule);
        }
    }

    /// Notes what others are to be told: what the journal lost, and, once what is known from before
    /// the start is there, what of it the journal has never said.
    fn owe(&mut self, tables: &CacheTables, now: Timestamp) {
        if std::mem::take(&mut self.lost) {
            self.untold.add(tables.invalidations.rules(), now.minus(RETOLD));
        }
        if !tables.owes_rules()
            && let Some(heard) = self.at_start.take()
        {
            let mut rules = tables.invalidations.rules();
            rules.retain(|rule| !heard.contains(rule));
            self.untold.add(rules, now.minus(TOLD_AT_START));
        }
    }

    async fn tell(&mut self, redis: &RedisTier) -> Result<(), StoreError> {
        loop {
            let lines = self.untold.batch();
            if lines.is_empty() {
                return Ok(());
            }
            let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
            redis.append_many(&texts).await?;
            self.untold.told(lines.len());
        }
    }
}

async fn bring(tables: &CacheTables, redis: &RedisTier) {
    let replayed = replay(redis, &tables.arrears, clock::now()).await;
    if replayed.entries + replayed.records > 0 {
        info!(tables.log, "brought redis what it missed"; "entries" => replayed.entries,
            "invalidations" => replayed.records, "left" => replayed.left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::invalidations::{Mode, Subject};

    fn rule(at: i64) -> Rule {
        let subject = Subject::Tag(format!("product:{at}"));
        Rule { subject, mode: Mode::Hard, at: Timestamp::from_millis(at) }
    }

    #[test]
    fn what_was_told_is_not_told_again_and_the_newest_comes_first() {
        let mut untold = Untold::default();
        untold.add((0..200).map(rule).collect(), Timestamp::from_millis(100));
        assert_eq!(untold.batch().len(), BATCH);
        assert_eq!(untold.batch()[0], rule(199).to_string());
        assert_eq!(untold.batch()[0], rule(199).to_string(), "it failed: it is told again");
        untold.told(BATCH);
        assert_eq!(untold.batch()[0], rule(199 - 64).to_string());
        assert_eq!(untold.batch().len(), 100 - BATCH);
        // The journal was lost again meanwhile.
        untold.add((0..200).map(rule).collect(), Timestamp::from_millis(100));
        assert_eq!(untold.0.len(), 100);
        (0..3).for_each(|_| untold.told(BATCH));
        assert!(untold.batch().is_empty());
    }

    #[test]
    fn the_oldest_are_left_out_when_there_are_too_many() {
        let mut untold = Untold::default();
        untold.add((0..2_000).map(rule).collect(), Timestamp::default());
        assert_eq!(untold.0.len(), MOST_RETOLD);
        assert_eq!(untold.0.back(), Some(&rule(1_000)));
    }
}
