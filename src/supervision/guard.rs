//! Runs one incarnation after another and lets none of their deaths out.
//!
//! Owns: building an incarnation, catching its panic, waiting out the back-off. Every incarnation
//! comes from the factory, so no half-changed state lives on. What must survive lies in tables the
//! factory hands in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::dev::{ContextFut, channel};
use actix::{Actor, ActorContext, AsyncContext, Context};

use super::cell::{ActorState, Cell, RestartReason};
use super::inbox::Inbox;
use super::policy::RestartPolicy;
use super::pump::Pump;
use super::supervisor::Observer;
use crate::clock;

/// Through a wait shorter than this letters are still taken: their senders wait, none is refused.
const WORTH_WAITING: Duration = Duration::from_millis(250);

/// How an incarnation ended.
enum Ended {
    Panicked(String),
    Stopped,
    /// No handle is left, or a newer generation took over.
    Finished,
}

/// What a guard needs to know about its actor.
pub(super) struct Watch<A: Actor> {
    pub(super) inbox: Inbox<A>,
    pub(super) policy: RestartPolicy,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) generation: u64,
}

/// Keeps the actor alive until its last handle is dropped or a newer guard takes over.
pub(super) async fn guard<A, F>(watch: Watch<A>, factory: F)
where
    A: Actor<Context = Context<A>>,
    F: Fn() -> A,
{
    let cell = Arc::clone(&watch.inbox.cell);
    let _leaving = Leaving { cell: Arc::clone(&cell), generation: watch.generation };
    loop {
        let ended = incarnation(&watch, &factory).await;
        if cell.generation() != watch.generation {
            // Replaced while it hung: how it ended is no longer this actor's business.
            return;
        }
        let (reason, panic) = match ended {
            Ended::Finished => break,
            Ended::Stopped => (RestartReason::Stop, None),
            Ended::Panicked(text) => (RestartReason::Panic, Some(text)),
        };
        let now = clock::monotonic();
        let wait = cell.died(panic.clone(), |history| history.died(&watch.policy, now));
        watch.observer.restarted(cell.name, cell.instance, reason, panic.as_deref(), wait);
        if wait >= WORTH_WAITING {
            cell.set_state(ActorState::BackingOff);
            cell.down.notify_waiters();
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if cell.generation() != watch.generation {
            return;
        }
    }
}

/// Marks the actor as finished when its guard ends, also when its thread's runtime is torn down.
struct Leaving {
    cell: Arc<Cell>,
    generation: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.cell.generation() == self.generation {
            self.cell.set_state(ActorState::Finished);
        }
    }
}

async fn incarnation<A, F>(watch: &Watch<A>, factory: &F) -> Ended
where
    A: Actor<Context = Context<A>>,
    F: Fn() -> A,
{
    let actor = match catch_unwind(AssertUnwindSafe(factory)) {
        Ok(actor) => actor,
        Err(panic) => return Ended::Panicked(panic_text(&*panic)),
    };
    // The context stays alive as long as this address does; letters never go through it.
    let (_address, receiver) = channel::channel(1);
    let mut running = Context::with_receiver(receiver).into_future(actor);
    let finished = Arc::new(AtomicBool::new(false));
    running.ctx().spawn(Pump::new(watch.inbox.clone(), watch.generation, Arc::clone(&finished)));
    watch.inbox.cell.started();
    let end = std::future::poll_fn(|task| poll_caught(&mut running, task)).await;
    if end.is_err() {
        // A terminated context is dropped without running the actor's stop hooks.
        running.ctx().terminate();
    }
    // The actor's own Drop may panic as well.
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(running)));
    match end.and(dropped) {
        Err(panic) => Ended::Panicked(panic_text(&*panic)),
        Ok(()) if finished.load(Ordering::Acquire) => Ended::Finished,
        Ok(()) => Ended::Stopped,
    }
}

fn poll_caught<A>(
    running: &mut ContextFut<A, Context<A>>,
    task: &mut TaskContext<'_>,
) -> Poll<std::thread::Result<()>>
where
    A: Actor<Context = Context<A>>,
{
    match catch_unwind(AssertUnwindSafe(|| Pin::new(running).poll(task))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// The text of a panic, as far as it has one.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a text".to_owned())
}
