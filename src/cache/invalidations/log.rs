//! Invalidations in the log of changes, which every instance follows.
//!
//! Owns: the topic `invalidation`: the key of a change is the rule's text, its time the rule's. While
//! the database is away a rule is in force here, and is written when it is back.

use std::time::Duration;

use super::{Invalidations, Rule, Subject};
use crate::clock::{self, Timestamp};
use crate::metrics::CacheMetrics;
use crate::replication::{Change, Changes, Delivery, Draft, Topic};

const TOPIC: &str = "invalidation";

/// Takes over the rules of other instances.
#[derive(Debug)]
pub struct Follower {
    pub invalidations: Invalidations,
    pub metrics: CacheMetrics,
    /// The longest time that an entry is usable: a rule that is older can hit nothing.
    pub longest: Duration,
}

impl Follower {
    /// Puts a rule in force that another process made; false when it says nothing new. What it hits
    /// was dropped by that process, as far as it is dropped at all.
    pub fn receive(&self, rule: Rule, now: Timestamp) -> bool {
        let rule = rule.received(now);
        let new = self.invalidations.apply(&rule);
        if new {
            let reason = match rule.subject {
                Subject::Key(_) => "remote_key",
                Subject::Tag(_) => "remote_tag",
                Subject::Pattern(_) => "remote_pattern",
                Subject::Everything => "remote_all",
            };
            self.metrics.invalidations.at(["all", reason]).inc_by(1);
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
        self.invalidations.rules().iter().map(|rule| draft(rule, self.longest)).collect()
    }
}

/// Writes rules to the log.
#[derive(Debug, Clone)]
pub struct RulesLog {
    pub changes: Changes,
    /// As of [`Follower`].
    pub longest: Duration,
}

impl RulesLog {
    pub(super) async fn announce(&self, rule: &Rule) -> Delivery {
        self.changes.announce(draft(rule, self.longest)).await
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
