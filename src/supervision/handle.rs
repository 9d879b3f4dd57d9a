//! The address of an actor, valid through all its incarnations.
//!
//! An ask is answered, or ends in one of the ways of [`AskError`]; the caller bounds its wait. Nothing
//! is delivered when the inbox is full, the actor is backing off or hangs, or it is gone.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::dev::Envelope;
use actix::{Actor, Context, Handler, Message};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::in_place;
use super::inbox::Item;
use super::record::{ActorState, Record};

/// Why a message was not put into the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    Full,
    /// The actor died too often, or hangs; go on without it.
    Down,
    /// The actor has ended for good.
    Gone,
}

/// Why an ask has no answer. An actor that answers "no" answers with its own type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// The actor never saw the message.
    NotDelivered(Undelivered),
    /// The actor, or the work it started for the message, died on it.
    Died,
    /// No answer in time; the message may still be handled.
    TooLate,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDelivered(Undelivered::Full) => "inbox full",
            Self::NotDelivered(Undelivered::Down) => "actor is down",
            Self::NotDelivered(Undelivered::Gone) => "actor is gone",
            Self::Died => "died on the message",
            Self::TooLate => "no answer in time",
        })
    }
}

impl std::error::Error for AskError {}

pub struct Handle<A: Actor> {
    items: mpsc::UnboundedSender<Item<A>>,
    record: Arc<Record>,
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), record: Arc::clone(&self.record) }
    }
}

impl<A: Actor> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("record", &self.record).finish()
    }
}

impl<A: Actor<Context = Context<A>>> Handle<A> {
    pub(super) fn new(items: mpsc::UnboundedSender<Item<A>>, record: Arc<Record>) -> Self {
        Self { items, record }
    }

    /// Sends `message` and waits for the answer, at most `within`.
    ///
    /// # Errors
    /// Says whether the message was not delivered, was died on, or was not answered in time.
    pub async fn ask<M>(&self, message: M, within: Duration) -> Result<M::Result, AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (answer, mut answered) = oneshot::channel();
        self.accepts().map_err(AskError::NotDelivered)?;
        if let Err(envelope) = in_place::handle(&self.record, Envelope::new(message, Some(answer)))
        {
            self.put(envelope).map_err(AskError::NotDelivered)?;
            // An actor on this thread answers before its caller's next turn, without a timer.
            next_turn().await;
        }
        match answered.try_recv() {
            Ok(result) => Ok(result),
            Err(TryRecvError::Closed) => Err(AskError::Died),
            // In a box: most callers have their answer by now, and their futures stay small.
            Err(TryRecvError::Empty) => Box::pin(self.wait(answered, within)).await,
        }
    }

    async fn wait<T>(
        &self,
        answered: oneshot::Receiver<T>,
        within: Duration,
    ) -> Result<T, AskError> {
        let down = self.record.down.notified();
        if self.record.state() == ActorState::BackingOff {
            return Err(AskError::NotDelivered(Undelivered::Down));
        }
        tokio::select! {
            biased;
            answer = answered => answer.map_err(|_| AskError::Died),
            () = down => Err(AskError::NotDelivered(Undelivered::Down)),
            () = tokio::time::sleep(within) => Err(AskError::TooLate),
        }
    }

    /// Whether callers have to do without the actor now.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.record.state() != ActorState::Running
    }

    /// Sends `message` without waiting.
    ///
    /// # Errors
    /// The message was not put into the inbox.
    pub fn tell<M>(&self, message: M) -> Result<(), Undelivered>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.accepts()?;
        self.put(Envelope::new(message, None))
    }

    /// Messages waiting in the inbox.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.record.queue()
    }

    fn accepts(&self) -> Result<(), Undelivered> {
        match self.record.state() {
            ActorState::Running => Ok(()),
            ActorState::BackingOff | ActorState::Hung => Err(Undelivered::Down),
            ActorState::Finished => Err(Undelivered::Gone),
        }
    }

    fn put(&self, envelope: Envelope<A>) -> Result<(), Undelivered> {
        if !self.record.enter() {
            return Err(Undelivered::Full);
        }
        self.items.send(Item::Message(envelope)).map_err(|_| {
            self.record.leave();
            Undelivered::Gone
        })
    }
}

/// Waits for this task's next turn. Unlike tokio's `yield_now` this does not wait until the runtime
/// has looked for I/O, which costs a system call.
async fn next_turn() {
    let mut waited = false;
    std::future::poll_fn(|task| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
