//! The queue of messages to one actor; older than its incarnations.
//!
//! A message is taken out before it is handled, so a fatal one is lost and not repeated. The bound is
//! kept by the actor's record ([`Record::enter`]): actix's own mailbox bound is none.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::Actor;
use actix::dev::Envelope;
use tokio::sync::mpsc;

use super::record::Record;

/// What an inbox holds.
pub(super) enum Item<A: Actor> {
    Message(Envelope<A>),
    /// The watchdog asks for a sign of life.
    Heartbeat,
    Chaos(Chaos),
}

/// A fault that an operator puts into an actor's inbox; only with `CHAOS_ENABLED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chaos {
    Panic,
    /// Stops the actor's context, as `ctx.stop()` in a handler would.
    Stop,
    /// Blocks the actor's thread.
    Hang(Duration),
}

impl Chaos {
    /// Carries the fault out inside the actor's context; true when the context must stop.
    #[expect(clippy::panic, reason = "panicking is what was asked for")]
    pub(super) fn strike(self) -> bool {
        match self {
            Self::Panic => panic!("chaos: asked to panic"),
            Self::Stop => true,
            Self::Hang(time) => {
                std::thread::sleep(time);
                false
            }
        }
    }
}

/// The receiving side, shared by successive incarnations (and by one that is being replaced).
pub(super) struct Inbox<A: Actor> {
    items: Arc<Mutex<mpsc::UnboundedReceiver<Item<A>>>>,
    pub(super) record: Arc<Record>,
}

impl<A: Actor> Clone for Inbox<A> {
    fn clone(&self) -> Self {
        Self { items: Arc::clone(&self.items), record: Arc::clone(&self.record) }
    }
}

impl<A: Actor> Inbox<A> {
    /// A new inbox and its sending side.
    pub(super) fn new(record: Arc<Record>) -> (mpsc::UnboundedSender<Item<A>>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self { items: Arc::new(Mutex::new(receiver)), record })
    }

    /// The next item; `None` when no handle is left. The lock is not held while it is handled.
    pub(super) fn poll_next(&self, task: &mut TaskContext<'_>) -> Poll<Option<Item<A>>> {
        let next = self.items.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(task);
        if let Poll::Ready(Some(item)) = &next {
            match item {
                Item::Message(_) | Item::Chaos(_) => self.record.leave(),
                Item::Heartbeat => self.record.end_heartbeat(),
            }
            self.record.progressed();
        }
        next
    }
}
