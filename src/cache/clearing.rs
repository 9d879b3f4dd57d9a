//! Invalidating what is kept.
//!
//! Owns: the order. First the rule is in force here, so nothing it hits is served from any tier; then
//! it is written to the log for others; last, what is of no use any more makes room. An answer is
//! given only once the rule's time is past, so what is loaded after the answer is not hit by it. A
//! tier that cannot be reached is named; what it still holds is invalid when it is read, here and
//! wherever the rule is known. Refuses: to walk through tiers for a tag or a soft invalidation.

use std::time::Duration;

use slog::warn;

use super::glob::Glob;
use super::invalidations::{Mode, Rule, Subject};
use super::key::CacheKey;
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;
use crate::replication::Delivery;

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
    /// Whether the rule is not in the log yet, and will be when the database is back.
    pub replayed_later: bool,
}

impl Cleared {
    /// Notes what became of the rule itself.
    fn announced(&mut self, delivery: Delivery) {
        if delivery != Delivery::Written {
            self.missed(Tier::Database);
        }
        self.replayed_later = delivery == Delivery::Pending;
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
        if let Some(log) = &self.rules_log {
            cleared.announced(log.announce(&rule).await);
        }
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
    fn a_rule_that_is_not_in_the_log_names_the_database_and_says_whether_it_will_be() {
        for (delivery, unreached, later) in [
            (Delivery::Written, &[][..], false),
            (Delivery::Pending, &["database"], true),
            (Delivery::Dropped, &["database"], false),
        ] {
            let mut cleared = Cleared::default();
            cleared.announced(delivery);
            cleared.unreached.clone().iter().for_each(|_| cleared.missed(Tier::Database));
            assert_eq!((&cleared.unreached[..], cleared.replayed_later), (unreached, later));
        }
    }
}
