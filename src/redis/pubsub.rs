//! Messages to all instances, lost by those that do not listen at the moment.
//!
//! Owns: publishing, and a subscription with a connection of its own. Nothing may depend on a message
//! to arrive: a connection can hang unnoticed, and without Redis there are none.

use std::pin::Pin;

use deadpool_redis::redis::{self, Msg};
use futures_util::{Stream, StreamExt};

use super::error::Fault;
use super::{Effect, Redis};
use crate::failure::StoreError;

/// The messages of a channel.
pub struct Subscription(Pin<Box<dyn Stream<Item = Msg> + Send>>);

impl Subscription {
    /// The next message; `None` when the connection has ended. What is no text is empty.
    pub async fn next(&mut self) -> Option<String> {
        self.0.next().await.map(|message| message.get_payload().unwrap_or_default())
    }
}

impl Redis {
    /// Sends `message` to all who listen on `channel`.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        self.one::<u64>(command, Effect::Reads).await.map(drop)
    }

    /// Listens on `channel`. The deadline of a command bounds connecting and subscribing.
    ///
    /// # Errors
    /// Redis is avoided, or did not take the subscription in time.
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        if self.is_avoided() {
            return Err(StoreError::Avoided);
        }
        let subscribed = async {
            let mut connection = self.connection.client()?.get_async_pubsub().await?;
            connection.subscribe(channel).await?;
            Ok::<_, Fault>(Subscription(Box::pin(connection.into_on_message())))
        };
        Ok(tokio::time::timeout(self.timeout, subscribed).await.unwrap_or(Err(Fault::TooLate))?)
    }
}
