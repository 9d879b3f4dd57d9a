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
use crate::config::Settings;
use crate::limits::shared::SCRIPT;
use crate::limits::{Answer, Counter, Question};
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

/// Whether limits are kept together with other instances.
pub(super) const fn are_wanted(settings: &Settings) -> bool {
    settings.redis.url.is_some() && settings.limits.enabled && settings.limits.shared
}

/// The script of this process, made known to Redis if that can be done at once. Later it would not
/// be clear whether Redis has forgotten what was counted before.
pub(super) async fn script(stores: &Stores, settings: &Settings) -> Arc<Script> {
    let script = Arc::new(Script::new(SCRIPT, fastrand::u64(..)));
    if are_wanted(settings)
        && let Some(redis) = stores.redis()
    {
        // The breaker knows of a failure; limits are kept by shares until Redis answers.
        drop(redis.introduce(&script).await);
    }
    script
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

    fn losses(&self) -> u64 {
        self.script.losses()
    }
}
