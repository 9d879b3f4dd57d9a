//! The address of an actor, valid through all its incarnations.
//!
//! Owns: admission and the four ways an ask can end. Refuses: when the inbox is full, when the
//! actor is backing off, when it is gone. Waiting is bounded by the caller.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::dev::Envelope;
use actix::{Actor, Context, Handler, Message};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::cell::{ActorState, Cell};
use super::inbox::Letter;

/// Why a letter was not put into the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The inbox is full.
    Full,
    /// The actor died too often, or hangs; bypass it.
    Down,
    /// The actor has ended for good.
    Gone,
}

/// Why an ask has no answer. An actor that answers "no" answers with its own type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// The actor never saw the message.
    NotDelivered(Refusal),
    /// The actor, or the work it started for the message, died on it.
    Died,
    /// No answer in time; the message may still be handled.
    TooLate,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDelivered(Refusal::Full) => "inbox full",
            Self::NotDelivered(Refusal::Down) => "actor is down",
            Self::NotDelivered(Refusal::Gone) => "actor is gone",
            Self::Died => "died on the message",
            Self::TooLate => "no answer in time",
        })
    }
}

impl std::error::Error for AskError {}

/// A way to send messages to one actor.
pub struct Handle<A: Actor> {
    letters: mpsc::UnboundedSender<Letter<A>>,
    cell: Arc<Cell>,
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self { letters: self.letters.clone(), cell: Arc::clone(&self.cell) }
    }
}

impl<A: Actor> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("cell", &self.cell).finish()
    }
}

impl<A: Actor<Context = Context<A>>> Handle<A> {
    pub(super) fn new(letters: mpsc::UnboundedSender<Letter<A>>, cell: Arc<Cell>) -> Self {
        Self { letters, cell }
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
        self.put(Envelope::new(message, Some(answer))).map_err(AskError::NotDelivered)?;
        // An actor on this thread answers before its caller's next turn: no timer is needed then.
        next_turn().await;
        match answered.try_recv() {
            Ok(result) => return Ok(result),
            Err(TryRecvError::Closed) => return Err(AskError::Died),
            Err(TryRecvError::Empty) => {}
        }
        let down = self.cell.down.notified();
        if self.cell.state() == ActorState::BackingOff {
            return Err(AskError::NotDelivered(Refusal::Down));
        }
        tokio::select! {
            biased;
            answer = &mut answered => answer.map_err(|_| AskError::Died),
            () = down => Err(AskError::NotDelivered(Refusal::Down)),
            () = tokio::time::sleep(within) => Err(AskError::TooLate),
        }
    }

    /// Whether callers have to do without the actor now.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.cell.state() != ActorState::Running
    }

    /// Sends `message` without waiting.
    ///
    /// # Errors
    /// The message was not put into the inbox.
    pub fn tell<M>(&self, message: M) -> Result<(), Refusal>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.put(Envelope::new(message, None))
    }

    /// Letters waiting in the inbox.
    #[must_use]
    pub fn queue(&self) -> usize {
        self.cell.queue()
    }

    fn put(&self, envelope: Envelope<A>) -> Result<(), Refusal> {
        match self.cell.state() {
            ActorState::Running => {}
            ActorState::BackingOff | ActorState::Hung => return Err(Refusal::Down),
            ActorState::Finished => return Err(Refusal::Gone),
        }
        if !self.cell.enter() {
            return Err(Refusal::Full);
        }
        self.letters.send(Letter::Message(envelope)).map_err(|_| {
            self.cell.leave();
            Refusal::Gone
        })
    }
}

/// Waits for this task's next turn behind those that are ready already. Unlike tokio's `yield_now`
/// it does not wait until the runtime has looked for I/O, which costs a system call.
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
