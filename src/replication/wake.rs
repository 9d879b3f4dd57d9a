//! Waking other instances through Redis, earlier than their next poll.
//!
//! Owns: one message for what this instance wrote, and a subscription to those of the others. Nothing
//! depends on a message: without Redis, or when one is lost, the poll finds the change.

use std::time::Duration;

use super::Changes;
use crate::redis::Redis;
use crate::redis::keys::CHANGES;

/// Between two attempts to subscribe.
const AGAIN: Duration = Duration::from_secs(1);

impl Changes {
    /// Tells other instances whenever this one has written.
    pub async fn tell(&self, redis: &Redis) {
        loop {
            self.0.written.notified().await;
            // A message that is lost costs the others the time until their next poll.
            drop(redis.publish(CHANGES, &self.0.instance).await);
        }
    }

    /// Has the log read as soon as another instance says that it has written.
    pub async fn listen(&self, redis: &Redis) {
        loop {
            if let Ok(mut messages) = redis.subscribe(CHANGES).await {
                while let Some(instance) = messages.next().await {
                    if instance != self.0.instance {
                        self.0.wake.notify_one();
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Waits until another instance has written, for `limit` at most; whether it has.
    pub async fn until_woken(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.0.wake.notified()).await.is_ok()
    }
}
