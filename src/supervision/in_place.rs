//! Handles a message where it is sent, when its actor lives on the same thread and is idle.
//!
//! An answer through the inbox costs the caller a second turn of its task, and actix-web decodes the
//! connection's buffer anew on every turn. So the guard leaves the running incarnation in a slot
//! of its thread, and a caller on this thread may poll it once, inside the same `catch_unwind`, with
//! its message as the only one. The message goes to the inbox when the actor is on another thread,
//! is being polled now (a handler that asks its own actor), has messages queued, or is down.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::dev::{ContextFut, Envelope};
use actix::{Actor, Context};

use super::inbox::Direct;
use super::record::Record;

pub(super) type Incarnation<A> = ContextFut<A, Context<A>>;

/// The running incarnation of one actor of this thread.
pub(super) struct Slot<A: Actor<Context = Context<A>>> {
    incarnation: RefCell<Option<Incarnation<A>>>,
    direct: Direct<A>,
    /// The guard's; `None` until the guard has polled the incarnation, and after its end.
    waker: RefCell<Option<Waker>>,
    /// How it ended under a message in place; the guard has yet to see it.
    ended: Cell<Option<std::thread::Result<()>>>,
}

/// Actors of a thread, each with its [`Slot`].
type Slots = Vec<(Arc<Record>, Rc<dyn Any>)>;

thread_local! {
    static SLOTS: RefCell<Slots> = const { RefCell::new(Vec::new()) };
}

/// Callers of this thread do not find the actor's slot any more.
pub(super) fn forget(record: &Arc<Record>) {
    // The thread may be at its end, and its slots gone.
    let _gone = SLOTS.try_with(|slots| {
        slots.borrow_mut().retain(|(known, _)| !Arc::ptr_eq(known, record));
    });
}

impl<A: Actor<Context = Context<A>>> Slot<A> {
    /// A slot that callers of this thread find.
    pub(super) fn register(record: &Arc<Record>) -> Rc<Self> {
        let slot = Rc::new(Self {
            incarnation: RefCell::default(),
            direct: Direct::default(),
            waker: RefCell::default(),
            ended: Cell::default(),
        });
        let known: Rc<dyn Any> = Rc::<Self>::clone(&slot);
        SLOTS.with_borrow_mut(|slots| slots.push((Arc::clone(record), known)));
        slot
    }

    pub(super) fn direct(&self) -> Direct<A> {
        Rc::clone(&self.direct)
    }

    /// Runs `incarnation` to its end and gives it back with how it ended.
    pub(super) async fn run(
        &self,
        incarnation: Incarnation<A>,
    ) -> (Option<Incarnation<A>>, std::thread::Result<()>) {
        self.incarnation.replace(Some(incarnation));
        let end = std::future::poll_fn(|task| self.poll(task)).await;
        self.waker.take();
        (self.incarnation.take(), end)
    }

    /// A turn of the guard.
    fn poll(&self, task: &mut TaskContext<'_>) -> Poll<std::thread::Result<()>> {
        if let Some(end) = self.ended.take() {
            return Poll::Ready(end);
        }
        self.waker.replace(Some(task.waker().clone()));
        match self.incarnation.borrow_mut().as_mut() {
            Some(incarnation) => poll_caught(incarnation, task),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Handles `envelope` now, or gives it back.
    fn handle(&self, envelope: Envelope<A>) -> Result<(), Envelope<A>> {
        let waker = self.waker.borrow();
        let incarnation = self.incarnation.try_borrow_mut();
        let (Some(guard), Ok(mut incarnation)) = (waker.as_ref(), incarnation) else {
            return Err(envelope);
        };
        let Some(running) = incarnation.as_mut() else { return Err(envelope) };
        self.direct.replace(Some(envelope));
        let polled = poll_caught(running, &mut TaskContext::from_waker(guard));
        if let Poll::Ready(end) = polled {
            drop(waker);
            self.ended.set(Some(end));
            if let Some(guard) = self.waker.take() {
                guard.wake();
            }
        }
        // Not taken by an actor that waits for a future of its own.
        self.direct.take().map_or(Ok(()), Err)
    }
}

/// Handles `envelope` in place if the actor is here and idle; otherwise gives it back.
pub(super) fn handle<A>(record: &Arc<Record>, envelope: Envelope<A>) -> Result<(), Envelope<A>>
where
    A: Actor<Context = Context<A>>,
{
    if record.queue() > 0 {
        return Err(envelope);
    }
    let slot = SLOTS.try_with(|slots| {
        let slots = slots.borrow();
        let (_, slot) = slots.iter().find(|(known, _)| Arc::ptr_eq(known, record))?;
        Rc::clone(slot).downcast::<Slot<A>>().ok()
    });
    match slot {
        Ok(Some(slot)) => slot.handle(envelope),
        Ok(None) | Err(_) => Err(envelope),
    }
}

fn poll_caught<A>(
    incarnation: &mut Incarnation<A>,
    task: &mut TaskContext<'_>,
) -> Poll<std::thread::Result<()>>
where
    A: Actor<Context = Context<A>>,
{
    match catch_unwind(AssertUnwindSafe(|| Pin::new(incarnation).poll(task))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}
