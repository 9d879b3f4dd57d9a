//! Invalidating what is kept, on behalf of a person or of another process.
//!
//! Owns: the order. First the rule is in force here, so nothing it hits is served from any tier;
//! then others are told; last, what is of no use any more makes room. An answer is given only once
//! the rule's time is past, so what is loaded after the answer is not hit by it. A tier that cannot
//! be reached is named; what it still holds is invalid when it is read, here and wherever the rule
//! is known. Refuses: to walk through tiers for a tag or a soft invalidation.

use std::time::Duration;

use slog::warn;

use super::glob::Glob;
use super::invalidations::{Mode, Rule, Subject};
use super::key::CacheKey;
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;

/// The clock's step: the longest wait until a rule's time is past.
const TICK: Duration = Duration::from_millis(1);

/// What an invalidation did in each tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// When: what was stored then or before is invalid.
    pub at: Timestamp,
    /// Entries dropped from memory. A tag and a soft invalidation drop nothing, here and elsewhere.
    pub memory: usize,
    /// Entries dropped from Redis.
    pub redis: u64,
    /// Rows dropped from the database.
    pub database: usize,
    /// Tiers that could not be reached: they may still hold what was to be dropped.
    pub unreached: Vec<&'static str>,
    /// Whether a tier was not told and will be when it is back.
    pub replayed_later: bool,
}

/// What became of a rule on its way to a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    /// There is no such store, or it keeps no rules.
    #[default]
    NotThere,
    /// It knows.
    Told,
    /// It cannot be reached now and is told when it is back.
    Later,
    /// It cannot be reached and will not know.
    Lost,
}

/// What became of a rule on its way to those who must know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) redis: Delivery,
    pub(super) database: Delivery,
}

impl Cleared {
    /// Notes what became of the rule itself.
    fn announced(&mut self, announced: Announced) {
        for (tier, delivery) in
            [(Tier::Redis, announced.redis), (Tier::Database, announced.database)]
        {
            if matches!(delivery, Delivery::Later | Delivery::Lost) {
                self.missed(tier);
            }
            self.replayed_later |= delivery == Delivery::Later;
        }
    }

    fn missed(&mut self, tier: Tier) {
        if !self.unreached.contains(&tier.label()) {
            self.unreached.push(tier.label());
        }
    }

    /// Entries known to have gone; the same entry may be in every tier.
    fn entries(&self) -> u64 {
        let most = self.memory.max(self.database);
        u64::try_from(most).unwrap_or(u64::MAX).max(self.redis)
    }
}

impl CacheTables {
    /// Invalidates what was stored until now; `reason` is counted. An invalidation counts as many
    /// entries as were dropped, and at least as one.
    pub(super) async fn invalidate(
        &self,
        subject: Subject,
        mode: Mode,
        reason: &'static str,
    ) -> Cleared {
        let rule = Rule { subject, mode, at: clock::now() };
        self.invalidations.apply(&rule);
        let mut cleared = Cleared { at: rule.at, ..Cleared::default() };
        cleared.announced(self.announce(&rule).await);
        if let Some(useless) = Useless::after(&rule) {
            cleared.memory = self.drop_from_memory(&useless);
            self.drop_from_redis(&useless, &mut cleared).await;
            self.drop_from_database(&useless, &mut cleared).await;
        }
        self.metrics.invalidated("all", reason, cleared.entries().max(1));
        if clock::now() <= rule.at {
            tokio::time::sleep(TICK).await;
        }
        cleared
    }

    /// Puts a rule in force that another process made; false when it says nothing new. What it hits
    /// is dropped by whoever made it, as far as it is dropped at all.
    pub fn heard(&self, rule: Rule, now: Timestamp) -> bool {
        let rule = rule.received(now);
        let new = self.invalidations.apply(&rule);
        if new {
            let reason = match rule.subject {
                Subject::Key(_) => "remote_key",
                Subject::Tag(_) => "remote_tag",
                Subject::Pattern(_) => "remote_pattern",
                Subject::Everything => "remote_all",
            };
            self.metrics.invalidated("all", reason, 1);
        }
        new
    }

    /// Tells those who must know of a rule: other processes, and this one after a restart.
    async fn announce(&self, rule: &Rule) -> Announced {
        Announced { redis: self.tell_others(rule).await, database: self.remember(rule) }
    }

    /// What Redis does not take now it is told when it is back.
    async fn tell_others(&self, rule: &Rule) -> Delivery {
        let Some(redis) = &self.redis else { return Delivery::NotThere };
        if redis.append(&rule.to_string()).await.is_ok() {
            return Delivery::Told;
        }
        let folded = self.arrears.missed_record(rule);
        if folded > 0 {
            warn!(self.log, "too many invalidations wait for redis; the oldest became one of everything";
                "count" => folded);
        }
        Delivery::Later
    }

    /// Keeps a rule for the next start.
    pub(super) fn remember(&self, rule: &Rule) -> Delivery {
        let Some(database) = &self.database else { return Delivery::NotThere };
        let (soft_at, hard_at) = rule.times();
        let kept = database.note_invalidation(&rule.subject_text(), soft_at, hard_at);
        if kept { Delivery::Told } else { Delivery::Lost }
    }

    fn drop_from_memory(&self, useless: &Useless<'_>) -> usize {
        match useless {
            Useless::One(key) => usize::from(self.memory.remove(key)),
            Useless::Matching(pattern) => {
                let glob = Glob::new(pattern);
                self.memory.remove_matching(|key| glob.matches(key))
            }
        }
    }

    async fn drop_from_redis(&self, useless: &Useless<'_>, cleared: &mut Cleared) {
        let Some(redis) = &self.redis else { return };
        let dropped = match useless {
            Useless::One(key) => redis.remove_many(&[key]).await,
            Useless::Matching(pattern) => redis.remove_matching(pattern).await,
        };
        match dropped {
            Ok(count) => cleared.redis = count,
            Err(error) => self.not_dropped(Tier::Redis, &error, cleared),
        }
    }

    async fn drop_from_database(&self, useless: &Useless<'_>, cleared: &mut Cleared) {
        let Some(database) = &self.database else { return };
        let dropped = match useless {
            Useless::One(key) => database.remove(key).await,
            Useless::Matching(pattern) => database.remove_matching((*pattern).to_owned()).await,
        };
        match dropped {
            Ok(count) => cleared.database = count,
            Err(error) => self.not_dropped(Tier::Database, &error, cleared),
        }
    }

    fn not_dropped(&self, tier: Tier, error: &StoreError, cleared: &mut Cleared) {
        warn!(self.log, "cache tier not cleared"; "tier" => tier.label(), "error" => %error);
        cleared.missed(tier);
    }
}

/// What is of no use after a rule, and can be found: a tag would need a walk through all entries, and
/// what is softly invalidated is kept for an emergency.
enum Useless<'a> {
    One(CacheKey),
    Matching(&'a str),
}

impl<'a> Useless<'a> {
    fn after(rule: &'a Rule) -> Option<Self> {
        match (rule.mode, &rule.subject) {
            (Mode::Soft, _) | (Mode::Hard, Subject::Tag(_)) => None,
            (Mode::Hard, Subject::Key(key)) => Some(Self::One(CacheKey::new(key.as_str()))),
            (Mode::Hard, Subject::Pattern(pattern)) => Some(Self::Matching(pattern)),
            (Mode::Hard, Subject::Everything) => Some(Self::Matching("*")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_told_is_named_once_and_replayed_if_it_can_be() {
        use Delivery::{Later, Lost, NotThere, Told};
        for (redis, database, unreached, later) in [
            (Told, Told, &[][..], false),
            (NotThere, NotThere, &[], false),
            (Later, Told, &["redis"], true),
            (Told, Lost, &["database"], false),
            (Later, Lost, &["redis", "database"], true),
        ] {
            let mut cleared = Cleared::default();
            cleared.announced(Announced { redis, database });
            let before = cleared.unreached.len();
            cleared.unreached.clone().iter().for_each(|tier| {
                cleared.missed(if *tier == "redis" { Tier::Redis } else { Tier::Database });
            });
            assert_eq!((&cleared.unreached[..], cleared.replayed_later), (unreached, later));
            assert_eq!(cleared.unreached.len(), before);
        }
    }
}
