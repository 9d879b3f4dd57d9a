//! The future inside an actor's context that hands messages to the actor.
//!
//! Takes so many messages a turn, and gives up when a newer incarnation took over. It lives in the
//! context, so a panic in a handler unwinds through it into the guard.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

use actix::dev::{Envelope, EnvelopeProxy};
use actix::{Actor, ActorContext, ActorFuture, ActorState, AsyncContext, Context};

use super::inbox::{Inbox, Item};

/// Messages handled before other tasks of the thread get a turn.
const MESSAGES_A_TURN: usize = 64;

/// A message that is to be handled in place: the next poll handles this one and no other.
pub(super) type Direct<A> = Rc<RefCell<Option<Envelope<A>>>>;

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
            if let Some(mut envelope) = direct {
                self.inbox.record.progressed();
                envelope.handle(actor, ctx);
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
