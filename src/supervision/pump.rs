//! The future inside an actor's context that takes letters from the inbox and has them handled.
//!
//! Owns: fairness (so many letters a turn) and giving up when a newer incarnation took over.
//! It lives in the context, so a panic in a handler unwinds through it into the guard.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

use actix::dev::EnvelopeProxy;
use actix::{Actor, ActorContext, ActorFuture, ActorState, AsyncContext, Context};

use super::inbox::{Inbox, Letter};

/// Letters handled before other tasks of the thread get a turn.
const LETTERS_A_TURN: usize = 64;

pub(super) struct Pump<A: Actor> {
    inbox: Inbox<A>,
    generation: u64,
    finished: Arc<AtomicBool>,
}

impl<A: Actor> Pump<A> {
    /// `finished` is set when the context stops because nobody can send any more, or because a
    /// newer generation has taken over: both are ends without a restart.
    pub(super) fn new(inbox: Inbox<A>, generation: u64, finished: Arc<AtomicBool>) -> Self {
        Self { inbox, generation, finished }
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        for _ in 0..LETTERS_A_TURN {
            if self.inbox.cell.generation() != self.generation {
                return self.finish(ctx);
            }
            match self.inbox.poll_next(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return self.finish(ctx),
                Poll::Ready(Some(Letter::Beat)) => {}
                Poll::Ready(Some(Letter::Message(mut envelope))) => envelope.handle(actor, ctx),
                Poll::Ready(Some(Letter::Chaos(chaos))) => {
                    if chaos.strike() {
                        ctx.stop();
                    }
                }
            }
            if ctx.state() != ActorState::Running {
                return Poll::Ready(());
            }
            if ctx.waiting() {
                // The context polls what it waits for first and comes back to this pump after.
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<A: Actor<Context = Context<A>>> Pump<A> {
    fn finish(&self, ctx: &mut Context<A>) -> Poll<()> {
        self.finished.store(true, Ordering::Release);
        ctx.stop();
        Poll::Ready(())
    }
}
