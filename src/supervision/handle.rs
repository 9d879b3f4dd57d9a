//! The address of an actor, valid through all its incarnations.
//!
//! An ask is answered, or ends in one of the ways of [`AskError`]; the caller bounds its wait. Nothing
//! is delivered when the inbox is full, the actor is backing off or hangs, or it is gone.
//!
//! A message that is answered at once is handled **in place**, where it is sent, when its actor lives
//! on the same thread and is idle. An answer through the inbox costs the caller a second turn of its
//! task, and actix-web decodes the connection's buffer anew on every turn. So the guard leaves the
//! running incarnation in a slot of its thread, and a caller on this thread may poll it once, inside
//! the same `catch_unwind`, with its message as the only one. The message goes to the inbox when the
//! actor is on another thread, is being polled now (a handler that asks its own actor), has messages
//! queued, or is down.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use actix::dev::{ContextFut, Envelope};
use actix::{Actor, Context, Handler, Message, MessageResult};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::inbox::{Deliver, Direct, Item};
use super::record::{ActorState, Record};

/// Why a message was not put into the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    Full,
    /// The actor died too often, or hangs; go on without it.
    Down,
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

    /// Sends `message`, which is answered at once, in place if that can be; else the same as
    /// [`Self::ask_queued`].
    ///
    /// # Errors
    /// Says whether the message was not delivered, was died on, or was not answered in time.
    pub async fn ask<M>(&self, message: M, within: Duration) -> Result<M::Result, AskError>
    where
        A: Handler<M, Result = MessageResult<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.accepts().map_err(AskError::NotDelivered)?;
        match handle_in_place::<A, M>(&self.record, message) {
            Ok(answer) => answer.ok_or(AskError::Died),
            // In a box: most callers have their answer by now, and their futures stay small.
            Err(message) => Box::pin(self.ask_queued(message, within)).await,
        }
    }

    /// Puts `message` into the inbox and waits for the answer, at most `within`.
    ///
    /// # Errors
    /// Says whether the message was not delivered, was died on, or was not answered in time.
    pub async fn ask_queued<M>(&self, message: M, within: Duration) -> Result<M::Result, AskError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (answer, mut answered) = oneshot::channel();
        self.accepts().map_err(AskError::NotDelivered)?;
        self.put(Envelope::new(message, Some(answer))).map_err(AskError::NotDelivered)?;
        // An actor on this thread answers before its caller's next turn, without a timer.
        next_turn().await;
        match answered.try_recv() {
            Ok(result) => Ok(result),
            Err(TryRecvError::Closed) => Err(AskError::Died),
            Err(TryRecvError::Empty) => self.wait(answered, within).await,
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

    /// Handles `message` now, or gives it back. No answer: the actor died on it.
    fn handle<M>(&self, message: M) -> Result<Option<M::Result>, M>
    where
        A: Handler<M, Result = MessageResult<M>>,
        M: Message + 'static,
    {
        let waker = self.waker.borrow();
        let incarnation = self.incarnation.try_borrow_mut();
        let (Some(guard), Ok(mut incarnation)) = (waker.as_ref(), incarnation) else {
            return Err(message);
        };
        let Some(running) = incarnation.as_mut() else { return Err(message) };
        let asked = Rc::new(InPlace { message: Cell::new(Some(message)), answer: Cell::new(None) });
        self.direct.set(Some(Rc::<InPlace<M>>::clone(&asked)));
        let polled = poll_caught(running, &mut TaskContext::from_waker(guard));
        if let Poll::Ready(end) = polled {
            drop(waker);
            self.ended.set(Some(end));
            if let Some(guard) = self.waker.take() {
                guard.wake();
            }
        }
        // Not taken by an actor that waits for a future of its own.
        drop(self.direct.take());
        asked.message.take().map_or_else(|| Ok(asked.answer.take()), Err)
    }
}

/// A message on its way to a handler and back, with the answer.
struct InPlace<M: Message> {
    message: Cell<Option<M>>,
    answer: Cell<Option<M::Result>>,
}

impl<A, M> Deliver<A> for InPlace<M>
where
    A: Handler<M, Result = MessageResult<M>>,
    M: Message,
{
    fn deliver(&self, actor: &mut A, ctx: &mut A::Context) {
        if let Some(message) = self.message.take() {
            let MessageResult(answer) = actor.handle(message, ctx);
            self.answer.set(Some(answer));
        }
    }
}

/// Handles `message` in place if the actor is here and idle; otherwise gives it back.
fn handle_in_place<A, M>(record: &Arc<Record>, message: M) -> Result<Option<M::Result>, M>
where
    A: Actor<Context = Context<A>> + Handler<M, Result = MessageResult<M>>,
    M: Message + 'static,
{
    if record.queue() > 0 {
        return Err(message);
    }
    let slot = SLOTS.try_with(|slots| {
        let slots = slots.borrow();
        let (_, slot) = slots.iter().find(|(known, _)| Arc::ptr_eq(known, record))?;
        Rc::clone(slot).downcast::<Slot<A>>().ok()
    });
    match slot {
        Ok(Some(slot)) => slot.handle(message),
        Ok(None) | Err(_) => Err(message),
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
