//! Carrying an invalidation out, here and in the log of changes, which every instance follows.
//!
//! Owns: the order. First the rule is in force here, so nothing it hits is served from any tier; then
//! it is written to the log for others; last, what is of no use any more makes room. An answer is
//! given only once the rule's time is past, so what is loaded after the answer is not hit by it. A
//! tier that cannot be reached is named; what it still holds is invalid when it is read, here and
//! wherever the rule is known. While the database is away the rule is written when it is back. For a tag
//! and for a soft invalidation nothing is dropped: what they hit is counted by a bounded look before.

use std::time::Duration;

use serde::Serialize;
use slog::warn;
use utoipa::ToSchema;

use super::{Invalidations, Mode, Rule, Subject};
use crate::cache::key::{CacheKey, matches};
use crate::cache::settings::LongestLife;
use crate::cache::survey::{Missed, Survey};
use crate::cache::tables::CacheTables;
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;
use crate::metrics::CacheMetrics;
use crate::replication::{Change, Delivery, Draft, Topic};

/// In the log the key of a change is the rule's text, and its time the rule's.
const TOPIC: &str = "invalidation";

#[derive(Debug)]
pub struct Follower {
    pub invalidations: Invalidations,
    pub metrics: CacheMetrics,
    /// The longest time that an entry is usable: a rule that is older can hit nothing.
    pub longest: LongestLife,
}

impl Follower {
    /// Puts a rule in force that another process made; false when it says nothing new. What it hits
    /// was dropped by that process, as far as it is dropped at all.
    pub fn receive(&self, rule: Rule, now: Timestamp) -> bool {
        let rule = rule.received(now);
        let new = self.invalidations.apply(&rule);
        if new {
            self.metrics.invalidated(rule.subject.remote_reason(), 1);
        }
        new
    }
}

impl Topic for Follower {
    fn name(&self) -> &'static str {
        TOPIC
    }

    fn apply(&self, changes: &[Change], whole: bool) -> usize {
        let now = clock::now();
        let mut unreadable: usize = 0;
        for change in changes.iter().filter(|change| change.payload.is_some()) {
            match Rule::read(&change.key, change.at) {
                // At the start they are not news of anybody.
                Some(rule) if whole => drop(self.invalidations.apply(&rule.received(now))),
                Some(rule) => drop(self.receive(rule, now)),
                None => unreadable = unreadable.saturating_add(1),
            }
        }
        if whole {
            self.invalidations.all_known();
        }
        unreadable
    }

    fn state(&self) -> Vec<Draft> {
        self.invalidations.rules().iter().map(|rule| draft(rule, self.longest.get())).collect()
    }
}

fn draft(rule: &Rule, longest: Duration) -> Draft {
    Draft {
        topic: TOPIC,
        key: rule.text(),
        payload: Some("{}".to_owned()),
        at: rule.at,
        keep_until: Some(rule.at.plus(longest)),
    }
}

/// The clock's step: the longest wait until a rule's time is past.
const TICK: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cleared {
    /// What was stored then or before is invalid: RFC 3339, UTC, to the millisecond.
    #[serde(serialize_with = "Timestamp::write_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Entries hit in memory. A tag and a soft invalidation drop none of them: they are not valid any
    /// more when they are read.
    #[schema(minimum = 0)]
    pub memory: usize,
    #[schema(minimum = 0)]
    pub redis: u64,
    #[schema(minimum = 0)]
    pub database: usize,
    /// Whether these are all. Of a large tier only a part is counted, and nothing of one that did not
    /// answer; the others are hit all the same.
    pub complete: bool,
    /// Tiers that did not answer or took too long, and why.
    pub partial: Vec<Missed>,
    /// Tiers that could not be reached: they may still hold what was to be dropped. It is not
    /// answered with.
    #[schema(value_type = Vec<String>)]
    pub unreached: Vec<&'static str>,
    /// Whether other instances receive it when the database is back: it is in force here already.
    pub replayed_later: bool,
}

impl Cleared {
    /// What an invalidation would do that hits what was found.
    pub fn foreseen(survey: &Survey, at: Timestamp) -> Self {
        Self {
            at,
            memory: survey.count(Tier::Memory),
            redis: u64::try_from(survey.count(Tier::Redis)).unwrap_or(u64::MAX),
            database: survey.count(Tier::Database),
            complete: survey.complete && survey.missed.is_empty(),
            partial: survey.missed.clone(),
            ..Self::default()
        }
    }

    /// Whether nothing was hit, as far as it was counted.
    pub const fn is_nothing(&self) -> bool {
        self.memory == 0 && self.redis == 0 && self.database == 0
    }

    fn announced(&mut self, delivery: Delivery, absence: Option<String>) {
        if delivery != Delivery::Written {
            let reason = absence.unwrap_or_else(|| "takes no writes".to_owned());
            self.missed(Missed { tier: Tier::Database.label(), reason });
        }
        self.replayed_later = delivery == Delivery::Pending;
    }

    fn missed(&mut self, missed: Missed) {
        if !self.unreached.contains(&missed.tier) {
            self.unreached.push(missed.tier);
        }
        if !self.partial.iter().any(|known| known.tier == missed.tier) {
            self.partial.push(missed);
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
    pub(in crate::cache) async fn invalidate(
        &self,
        subject: Subject,
        mode: Mode,
        reason: &'static str,
    ) -> Cleared {
        // What is dropped is counted then.
        let drops = mode == Mode::Hard && !matches!(subject, Subject::Tag(_));
        let survey = if drops {
            Survey { complete: true, ..Survey::default() }
        } else {
            self.survey(std::slice::from_ref(&subject)).await
        };
        let rule = Rule { subject, mode, at: clock::now() };
        self.invalidations.apply(&rule);
        let mut cleared = Cleared::foreseen(&survey, rule.at);
        if let Some((changes, longest)) = &self.changes {
            let delivery = changes.announce(draft(&rule, longest.get())).await;
            cleared.announced(delivery, self.database.absence());
        }
        if drops {
            self.drop_useless(&rule.subject, &mut cleared).await;
        }
        self.metrics.invalidated(reason, cleared.entries().max(1));
        if clock::now() <= rule.at {
            tokio::time::sleep(TICK).await;
        }
        cleared
    }

    /// Drops what can be found: a tag would need a walk through all entries.
    async fn drop_useless(&self, subject: &Subject, cleared: &mut Cleared) {
        let (key, pattern) = match subject {
            Subject::Tag(_) => return,
            Subject::Key(key) => (Some(CacheKey::new(key.as_str())), ""),
            Subject::Pattern(pattern) => (None, pattern.as_str()),
            Subject::Everything => (None, "*"),
        };
        cleared.memory = match &key {
            Some(key) => usize::from(self.memory.remove(key)),
            None => self.memory.remove_matching(|key| matches(pattern, key)),
        };
        if let Some(redis) = &self.redis {
            let dropped = match &key {
                Some(key) => redis.remove(&[key]).await.map(|gone| (gone, true)),
                None => redis.remove_matching(pattern).await,
            };
            cleared.redis = self.dropped(Tier::Redis, dropped, cleared);
        }
        // It did not take the rule a moment ago: waiting for it once more would be of no use.
        if cleared.unreached.contains(&Tier::Database.label()) {
            cleared.complete = false;
            return;
        }
        let dropped = match &key {
            Some(key) => self.database.remove(key).await.map(|gone| (gone, true)),
            None => self.database.remove_matching(pattern).await,
        };
        cleared.database = self.dropped(Tier::Database, dropped, cleared);
    }

    fn dropped<T: Default>(
        &self,
        tier: Tier,
        dropped: Result<(T, bool), StoreError>,
        cleared: &mut Cleared,
    ) -> T {
        let (gone, missed) = match dropped {
            Ok((gone, true)) => return gone,
            Ok((gone, false)) => {
                let reason = "there is more than could be dropped in time".to_owned();
                (gone, Missed { tier: tier.label(), reason })
            }
            Err(error) => (T::default(), self.missed(tier, &error)),
        };
        warn!(self.log, "cache tier not cleared"; "tier" => tier.label(), "error" => &missed.reason);
        cleared.missed(missed);
        cleared.complete = false;
        gone
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
            cleared.announced(delivery, None);
            let missed = || Missed { tier: "database", reason: "no answer in time".to_owned() };
            cleared.unreached.clone().iter().for_each(|_| cleared.missed(missed()));
            assert_eq!((&cleared.unreached[..], cleared.replayed_later), (unreached, later));
            let told: Vec<_> = cleared.partial.iter().map(|missed| &*missed.reason).collect();
            assert_eq!(told, vec!["takes no writes"; unreached.len()]);
        }
    }
}
