//! The keys that are being loaded: one leader for each, and any number of followers.
//!
//! Owns: the table, shared by all workers. A load belongs to no caller: one that goes away changes
//! nothing. When a leader is dropped without an answer, its followers notice and the key is free.

use std::sync::Arc;

use tokio::sync::watch;

use super::entry::Entry;
use super::key::CacheKey;
use super::tiers::Tier;
use crate::failure::Failure;
use crate::resilience::sharded_map::ShardedMap;

/// Far more keys than can be asked for at once. One that left for want of room would be loaded twice.
const MOST: usize = 1 << 14;

pub(super) type Completed = Result<(Arc<Entry>, Tier), Failure>;

#[derive(Debug)]
pub(super) struct PendingKeys(ShardedMap<CacheKey, Option<Follower>>);

#[derive(Debug, Clone)]
pub(super) struct Follower {
    answers: watch::Receiver<Option<Completed>>,
    /// The request that leads, if one does.
    pub(super) leads: Option<Arc<str>>,
}

impl Follower {
    /// The first usable answer; `None` when the load died.
    pub(super) async fn first(&mut self) -> Option<Completed> {
        self.answers.wait_for(Option::is_some).await.ok().and_then(|completed| completed.clone())
    }

    /// The last answer, after the end of the load; `None` when it died without any.
    pub(super) async fn last(&mut self) -> Option<Completed> {
        while self.answers.changed().await.is_ok() {}
        self.answers.borrow().clone()
    }
}

/// The right and duty to load a key; dropping it frees the key.
pub(super) struct Leader {
    pending: Arc<PendingKeys>,
    key: CacheKey,
    answers: watch::Sender<Option<Completed>>,
}

impl Leader {
    pub(super) const fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Gives this answer to all followers, also to later ones.
    pub(super) fn announce(&self, completed: Completed) {
        self.answers.send_replace(Some(completed));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.pending.0.remove(&self.key);
    }
}

impl PendingKeys {
    pub(super) fn new() -> Self {
        Self(ShardedMap::new(MOST))
    }

    /// Follows the load of `key`. When nobody loads it, the caller is its leader, and must.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &CacheKey,
        request: Option<&Arc<str>>,
    ) -> (Option<Leader>, Follower) {
        self.0.update(key, |load| {
            if let Some(load) = load {
                return (None, load.clone());
            }
            let (answers, receiver) = watch::channel(None);
            let follower = Follower { answers: receiver, leads: request.cloned() };
            *load = Some(follower.clone());
            let leader = Leader { pending: Arc::clone(self), key: key.clone(), answers };
            (Some(leader), follower)
        })
    }

    pub(super) fn contains(&self, key: &CacheKey) -> bool {
        self.0.find(key, |load| load.is_some()).unwrap_or(false)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::fixture::fresh;
    use crate::failure::FailureKind;

    fn answer() -> Completed {
        Ok((Arc::new(fresh("1")), Tier::Upstream))
    }

    fn failed() -> Completed {
        Err(Failure::new(FailureKind::UpstreamUnavailable, "down"))
    }

    fn led() -> (Arc<PendingKeys>, CacheKey, Leader, Follower) {
        let (pending, key) = (Arc::new(PendingKeys::new()), CacheKey::new("a:b:c"));
        let (leader, own) = pending.join(&key, None);
        (pending, key, leader.expect("the first leads"), own)
    }

    #[tokio::test]
    async fn a_thousand_callers_have_one_leader_and_one_answer() {
        let (pending, key, leader, own) = led();
        let mut followers: Vec<_> = (0..999)
            .map(|_| {
                let (leader, follower) = pending.join(&key, None);
                assert!(leader.is_none(), "a second leader");
                follower
            })
            .collect();
        followers.truncate(900);
        leader.announce(answer());
        followers.push(own);
        for follower in &mut followers {
            assert!(follower.first().await.unwrap().is_ok());
        }
        drop(leader);
        assert_eq!((pending.count(), pending.contains(&key)), (0, false));
    }

    #[tokio::test]
    async fn a_failure_is_shared_too() {
        let (_pending, _key, leader, mut follower) = led();
        leader.announce(failed());
        drop(leader);
        assert!(follower.first().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn the_last_answer_comes_at_the_end() {
        let (_pending, _key, leader, mut follower) = led();
        leader.announce(failed());
        let mut last = std::pin::pin!(follower.last());
        assert!(futures_util::poll!(&mut last).is_pending());
        leader.announce(answer());
        drop(leader);
        assert!(last.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_load_that_dies_is_noticed_and_frees_the_key() {
        let (pending, key, leader, mut follower) = led();
        drop(leader);
        assert!(follower.first().await.is_none());
        assert!(pending.join(&key, None).0.is_some());
    }
}
