//! The queue of messages to one actor, older than its incarnations; and the dispatcher, the future
//! inside an actor's context that hands messages to the actor.
//!
//! A message is taken out before it is handled, so a fatal one is lost and not repeated. The bound is
//! kept by the actor's record ([`Record::enter`]): actix's own mailbox bound is none. A panic in a
//! handler unwinds through the dispatcher into the guard.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::{Envelope, EnvelopeProxy};
use actix::{Actor, ActorContext, ActorFuture, ActorState, AsyncContext, Context};
use tokio::sync::mpsc;

use super::record::Record;

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

/// Messages handled before other tasks of the thread get a turn.
const MESSAGES_A_TURN: usize = 64;

/// A message with the place of its answer.
pub(super) trait Deliver<A: Actor> {
    fn deliver(&self, actor: &mut A, ctx: &mut A::Context);
}

/// A message that is to be handled in place: the next poll handles this one and no other.
pub(super) type Direct<A> = Rc<Cell<Option<Rc<dyn Deliver<A>>>>>;

pub(super) struct Dispatcher<A: Actor> {
    inbox: Inbox<A>,
    direct: Direct<A>,
    generation: u64,
    finished: Arc<AtomicBool>,
}

impl<A: Actor> Dispatcher<A> {
    /// `finished` is set when the context stops because nobody can send any more, or because a
    /// newer generation has taken over: both are ends without a restart.
    pub(super) fn new(
        inbox: Inbox<A>,
        direct: Direct<A>,
        generation: u64,
        finished: Arc<AtomicBool>,
    ) -> Self {
        Self { inbox, direct, generation, finished }
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Dispatcher<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        for _ in 0..MESSAGES_A_TURN {
            if self.inbox.record.generation() != self.generation {
                return self.finish(ctx);
            }
            let direct = self.direct.take();
            let in_place = direct.is_some();
            if let Some(asked) = direct {
                self.inbox.record.progressed();
                asked.deliver(actor, ctx);
            } else {
                match self.inbox.poll_next(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return self.finish(ctx),
                    Poll::Ready(Some(Item::Heartbeat)) => {}
                    Poll::Ready(Some(Item::Message(mut envelope))) => envelope.handle(actor, ctx),
                    Poll::Ready(Some(Item::Chaos(chaos))) => {
                        if chaos.strike() {
                            ctx.stop();
                        }
                    }
                }
            }
            if ctx.state() != ActorState::Running {
                return Poll::Ready(());
            }
            // What the context waits for is polled first. After a message in place the inbox still
            // holds the guard's waker: there is nothing to ask it for.
            if in_place || ctx.waiting() {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: Actor<Context = Context<A>>> Dispatcher<A> {
    fn finish(&self, ctx: &mut Context<A>) -> Poll<()> {
        self.finished.store(true, Ordering::Release);
        ctx.stop();
        Poll::Ready(())
    }
}
