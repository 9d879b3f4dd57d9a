//! The queue of letters to one actor; older than its incarnations.
//!
//! Owns: order and delivery. Refuses: letters beyond the capacity (actix's own mailbox bound is
//! none). A letter is taken out before it is handled, so a fatal one is lost and not repeated.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};

use actix::Actor;
use actix::dev::Envelope;
use tokio::sync::mpsc;

use super::cell::Cell;
use super::chaos::Chaos;

/// What can lie in an inbox.
pub(super) enum Letter<A: Actor> {
    /// A message of a caller.
    Message(Envelope<A>),
    /// The watchdog asks for a sign of life.
    Beat,
    /// A fault on request.
    Chaos(Chaos),
}

/// The receiving side, shared by successive incarnations (and by one being replaced).
pub(super) struct Inbox<A: Actor> {
    letters: Arc<Mutex<mpsc::UnboundedReceiver<Letter<A>>>>,
    pub(super) cell: Arc<Cell>,
}

impl<A: Actor> Clone for Inbox<A> {
    fn clone(&self) -> Self {
        Self { letters: Arc::clone(&self.letters), cell: Arc::clone(&self.cell) }
    }
}

impl<A: Actor> Inbox<A> {
    /// A new inbox and the side letters are put in at.
    pub(super) fn new(cell: Arc<Cell>) -> (mpsc::UnboundedSender<Letter<A>>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self { letters: Arc::new(Mutex::new(receiver)), cell })
    }

    /// The next letter; `None` when no handle is left. The lock is not held while it is handled.
    pub(super) fn poll_next(&self, task: &mut TaskContext<'_>) -> Poll<Option<Letter<A>>> {
        let next = self.letters.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(task);
        if let Poll::Ready(Some(letter)) = &next {
            match letter {
                Letter::Message(_) | Letter::Chaos(_) => self.cell.leave(),
                Letter::Beat => self.cell.end_beat(),
            }
            self.cell.progressed();
        }
        next
    }
}
