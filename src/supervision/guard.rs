//! Runs one incarnation after another and lets none of their deaths out.
//!
//! It builds an incarnation, catches its panic, and waits out the back-off. Every incarnation comes
//! from the factory, so no half-changed state lives on. What must survive lies in tables that the
//! factory hands in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::dev::channel;
use actix::{Actor, ActorContext, AsyncContext, Context};

use super::handle::{Slot, forget};
use super::inbox::{Dispatcher, Inbox};
use super::policy::RestartPolicy;
use super::record::{ActorState, Observer, Record, RestartReason, panic_text};
use crate::clock;

/// Through a wait shorter than this messages are still accepted: their senders wait.
const WORTH_WAITING: Duration = Duration::from_millis(250);

enum Ended {
    Panicked(String),
    Stopped,
    /// No handle is left, or a newer generation took over.
    Finished,
}

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
    let record = Arc::clone(&watch.inbox.record);
    let _leaving = Leaving { record: Arc::clone(&record), generation: watch.generation };
    let slot = Slot::register(&record);
    loop {
        let ended = incarnation(&watch, &slot, &factory).await;
        if record.generation() != watch.generation {
            // Replaced while it hung: its end no longer counts.
            return;
        }
        let (reason, panic) = match ended {
            Ended::Finished => break,
            Ended::Stopped => (RestartReason::Stop, None),
            Ended::Panicked(text) => (RestartReason::Panic, Some(text)),
        };
        let now = clock::monotonic();
        let wait = record.died(panic.clone(), |history| history.died(&watch.policy, now));
        watch.observer.restarted(record.name, record.instance, reason, panic.as_deref(), wait);
        if wait >= WORTH_WAITING {
            record.set_state(ActorState::BackingOff);
            record.down.notify_waiters();
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if record.generation() != watch.generation {
            return;
        }
    }
}

/// Marks the actor as finished when its guard ends, also when its thread's runtime is torn down.
struct Leaving {
    record: Arc<Record>,
    generation: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        forget(&self.record);
        if self.record.generation() == self.generation {
            self.record.set_state(ActorState::Finished);
        }
    }
}

async fn incarnation<A, F>(watch: &Watch<A>, slot: &Slot<A>, factory: &F) -> Ended
where
    A: Actor<Context = Context<A>>,
    F: Fn() -> A,
{
    let actor = match catch_unwind(AssertUnwindSafe(factory)) {
        Ok(actor) => actor,
        Err(panic) => return Ended::Panicked(panic_text(&*panic)),
    };
    // The context stays alive as long as this address does; messages never go through it.
    let (_address, receiver) = channel::channel(1);
    let mut running = Context::with_receiver(receiver).into_future(actor);
    let finished = Arc::new(AtomicBool::new(false));
    let (inbox, generation) = (watch.inbox.clone(), watch.generation);
    let dispatcher = Dispatcher::new(inbox, slot.direct(), generation, Arc::clone(&finished));
    running.ctx().spawn(dispatcher);
    watch.inbox.record.started();
    let (mut ran, end) = slot.run(running).await;
    if let (Some(running), Err(_)) = (&mut ran, &end) {
        // A terminated context is dropped without running the actor's stop hooks.
        running.ctx().terminate();
    }
    // The actor's own Drop may panic as well.
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(ran)));
    match end.and(dropped) {
        Err(panic) => Ended::Panicked(panic_text(&*panic)),
        Ok(()) if finished.load(Ordering::Acquire) => Ended::Finished,
        Ok(()) => Ended::Stopped,
    }
}
