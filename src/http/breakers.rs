//! The breakers of this instance, and moving them on every instance.
//!
//! Owns: the topic `breaker` of the log of changes: the key is the breaker's name, the payload what to
//! do. While the database is away a breaker is moved here, and elsewhere when the database is back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{self, Timestamp};
use crate::origin::state::OriginState;
use crate::replication::{Change, Draft, REMOVAL_KEPT, Topic};
use crate::resilience::breaker::Breaker;

const TOPIC: &str = "breaker";

/// What an admin does with a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Open,
    Close,
    Reset,
}

impl Action {
    /// The action that a path names.
    pub(super) fn of(word: &str) -> Option<Self> {
        serde_json::from_value(word.into()).ok()
    }
}

/// The change that moves a breaker everywhere.
pub(super) fn draft(name: &str, action: Action, at: Timestamp) -> Draft {
    // Only an open one stays as it was moved.
    let keep_until = (action != Action::Open).then(|| at.plus(REMOVAL_KEPT));
    let payload = serde_json::to_string(&action).ok();
    Draft { topic: TOPIC, key: name.to_owned(), payload, at, keep_until }
}

/// The breakers of this instance.
#[derive(Clone)]
pub struct Breakers {
    pub stores: Vec<Breaker>,
    pub origins: Vec<Arc<OriginState>>,
}

impl Breakers {
    /// Those of the upstreams' credentials as they are now, and of the stores.
    pub fn all(&self) -> Vec<Breaker> {
        let of_origin = |origin: &Arc<OriginState>| -> Vec<Breaker> {
            origin.credentials.with(|all| all.iter().map(|one| one.breaker.clone()).collect())
        };
        self.origins.iter().flat_map(of_origin).chain(self.stores.iter().cloned()).collect()
    }

    pub(super) fn named(&self, name: &str) -> Option<Breaker> {
        self.all().into_iter().find(|breaker| breaker.name() == name)
    }

    /// Whether an admin holds the breaker of this store open.
    pub(super) fn holds_store(&self, name: &str) -> bool {
        let mut stores = self.stores.iter().filter(|breaker| breaker.name() == name);
        stores.any(|breaker| breaker.snapshot(clock::monotonic()).forced)
    }

    fn move_one(&self, breaker: &Breaker, action: Action) {
        let now = clock::monotonic();
        match action {
            Action::Open => breaker.force_open(now),
            Action::Close => breaker.force_close(now),
            Action::Reset => {
                breaker.reset(now);
                // With the judgement of its health goes that of our configuration.
                for origin in &self.origins {
                    let credentials = origin.credentials.get();
                    if let Some(one) = credentials.iter().find(|one| one.name == breaker.name()) {
                        origin.forgive(one);
                    }
                }
            }
        }
    }
}

impl Topic for Breakers {
    fn name(&self) -> &'static str {
        TOPIC
    }

    fn apply(&self, changes: &[Change], whole: bool) -> usize {
        let mut unreadable: usize = 0;
        for change in changes {
            let payload = change.payload.as_deref().unwrap_or_default();
            let Ok(action) = serde_json::from_str::<Action>(payload) else {
                unreadable = unreadable.saturating_add(1);
                continue;
            };
            // Another instance may have credentials that are not here.
            let Some(breaker) = self.named(&change.key) else {
                continue;
            };
            // At the start it is as it was kept: what was done to it is done, unless it was missed.
            let forced = breaker.snapshot(clock::monotonic()).forced;
            if !whole || forced != (action == Action::Open) {
                self.move_one(&breaker, action);
            }
        }
        unreadable
    }

    fn state(&self) -> Vec<Draft> {
        let (now, at) = (clock::monotonic(), clock::now());
        let forced = self.all().into_iter().filter(|breaker| breaker.snapshot(now).forced);
        forced.map(|breaker| draft(breaker.name(), Action::Open, at)).collect()
    }
}
