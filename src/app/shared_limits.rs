//! The way of the limits to Redis.
//!
//! Owns: one worker's carrier of questions. It has a connection of its own, so that no decision
//! waits behind a large entry, and shares the breaker with the cache: both know the same Redis.
//! Refuses: to ask a Redis that is avoided or takes no writes; then limits are kept by shares.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::stores::Stores;
use crate::limits::shared::SCRIPT;
use crate::limits::{Answer, Counter, Limits, Question};
use crate::redis::{Redis, Script};

/// How much longer an answer is waited for that is late because this worker is busy: who gives up on
/// one decides by the share, and the limit is not exact any more. A Redis that is late itself is
/// not waited for.
const PATIENCE: Duration = Duration::from_millis(200);

/// Carries the questions of one worker.
#[derive(Debug)]
pub(super) struct RedisCounter {
    redis: Redis,
    script: Arc<Script>,
}

impl RedisCounter {
    pub(super) fn new(redis: Redis, script: Arc<Script>) -> Self {
        Self { redis: redis.patient(PATIENCE), script }
    }
}

/// The script that decides, for all workers.
pub(super) fn script() -> Arc<Script> {
    Arc::new(Script::new(SCRIPT))
}

/// Whether limits are kept together with other instances.
pub(super) const fn are_wanted(stores: &Stores, limits: &Limits) -> bool {
    limits.enabled && stores.has_redis()
}

impl Counter for RedisCounter {
    fn is_away(&self) -> bool {
        self.redis.is_avoided() || self.redis.refuses_writes()
    }

    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Option<Answer>> + 'a>> {
        Box::pin(async move {
            let (key, arguments) = (question.key(), question.arguments());
            // The breaker knows of a failure; who asked decides without an answer.
            let numbers = self.redis.run(&self.script, &key, &arguments).await.ok()?;
            Answer::read(&numbers)
        })
    }
}
