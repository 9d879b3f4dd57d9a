//! A connection, between the socket and the server that reads requests from it.
//!
//! It ends a connection whose head is too slow (each head, not only the first), that is idle for too
//! long, whose client does not take its answers, or that fills the server's buffer with requests while
//! an earlier one is served: the server would turn in circles until that is done. While a client does
//! not take what it was answered, nothing more is read from it. Costs a comparison or two a read, and
//! one timer a connection, which is set anew only when it fires.

mod activity;
mod deadlines;
pub mod descriptor_limit;
mod descriptors;
mod ended;
mod header_names;
mod intake;
mod limiter;
mod limits;
pub mod refusal;

#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use activity::Activity;
pub use deadlines::{Deadlines, Overdue, Timeouts};
use ended::Cut;
pub use ended::{Unread, cut_labels};
use intake::Intake;
pub use limiter::{ConnectionLimiter, ConnectionSlot, LimitExceeded};
pub use limits::{ConnectionLimits, WANTED, lowest_free};

use crate::clock;
use crate::http::context::RequestContext;
use crate::metrics::HttpMetrics;

/// So often the server may come to write, or to look whether all is written, without reading or
/// writing anything: what it reads into is full of requests that it cannot begin yet.
const MOST_TURNS: u32 = 1_000;
/// Most that is read and thrown away when a connection ends with a refusal.
const MOST_IGNORED: usize = 1 << 20;

/// A connection.
pub struct Connection<S: AsyncRead + AsyncWrite + Unpin> {
    /// Ends before the stream, whose descriptor the next connection may have at once.
    _slot: Option<ConnectionSlot>,
    stream: S,
    deadlines: Deadlines,
    timer: Option<Pin<Box<Sleep>>>,
    requests: Rc<Requests>,
    /// Nothing more is read.
    ended: bool,
    /// Turns of the server since anything was read or written.
    turns: u32,
    /// The server wanted to read while an answer waits to be taken.
    read_put_off: bool,
    /// It failed, or was cut: nothing more can be sent.
    failed: bool,
    metrics: HttpMetrics,
    intake: Intake,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub fn new(
        stream: S,
        timeouts: Timeouts,
        metrics: HttpMetrics,
        slot: Option<ConnectionSlot>,
    ) -> Self {
        let requests = Rc::<Requests>::default();
        if let Some(slot) = &slot {
            // It is new: nothing was set before.
            let _set = requests.activity.set(Arc::clone(slot.activity()));
        }
        Self {
            _slot: slot,
            stream,
            deadlines: Deadlines::new(timeouts, clock::monotonic()),
            timer: None,
            requests,
            ended: false,
            turns: 0,
            read_put_off: false,
            failed: false,
            metrics,
            intake: Intake::default(),
        }
    }

    /// For the requests that are read from it.
    pub fn requests(&self) -> &Rc<Requests> {
        &self.requests
    }

    /// What is overdue; otherwise the task is woken when something is.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<Overdue> {
        loop {
            let now = clock::monotonic();
            let (begun, serving) = (self.requests.begun.get(), self.requests.is_serving());
            let (due, what) = self.deadlines.due(begun, serving, now)?;
            if due <= now {
                return Some(what);
            }
            let timer = match &mut self.timer {
                // It wakes this same task early enough; then it is set anew.
                Some(timer) if !timer.is_elapsed() && timer.deadline().into_std() <= due => {
                    return None;
                }
                Some(timer) => {
                    timer.as_mut().reset(due.into());
                    timer
                }
                None => self.timer.insert(Box::pin(tokio::time::sleep_until(due.into()))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return None;
            }
        }
    }

    /// Nothing more is read. A head that was too slow is answered, as far as there is room, unless
    /// what came may belong to a request that has its answer already.
    fn end(&mut self, what: Overdue, cx: &mut Context<'_>) {
        self.ended = true;
        match what {
            Overdue::Head if self.requests.has_open_body() => {
                self.metrics.cut.at([Cut::BodyNotEnded.label()]).inc();
            }
            Overdue::Head => {
                self.metrics.unread.at([Unread::TooSlow.label()]).inc();
                let _fits = Pin::new(&mut self.stream).poll_write(cx, &refusal::too_slow());
            }
            Overdue::Idle | Overdue::Send => {}
        }
    }

    fn cut(&mut self, why: Cut) -> io::Error {
        self.failed = true;
        self.metrics.cut.at([why.label()]).inc();
        io::Error::new(io::ErrorKind::TimedOut, why.label())
    }

    /// An answer waits to be taken.
    fn wait_for_client<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.overdue(cx) {
            Some(Overdue::Send) => Poll::Ready(Err(self.cut(Cut::AnswerNotTaken))),
            Some(Overdue::Head | Overdue::Idle) | None => Poll::Pending,
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        self.turns = self.turns.saturating_add(1);
        if self.turns > MOST_TURNS { Err(self.cut(Cut::TooFarAhead)) } else { Ok(()) }
    }

    /// A part or all of what there was to write is written.
    fn wrote(&mut self, all: bool, cx: &Context<'_>) {
        self.turns = 0;
        if !all {
            return self.deadlines.blocked(true, clock::monotonic());
        }
        if self.deadlines.is_blocked() {
            self.deadlines.written(clock::monotonic());
        }
        if std::mem::take(&mut self.read_put_off) {
            // The server reads before it writes: it would not come back by itself.
            cx.waker().wake_by_ref();
        }
    }

    /// The server takes chunks that cannot be read for a client that is gone, and leaves without an
    /// answer unless it was there already. In the middle of an earlier answer nothing can be said.
    fn answer_abandoned(&mut self, cx: &mut Context<'_>) {
        let is_open = self.requests.abandoned.get() && self.requests.has_open_body();
        if is_open && !self.failed && !self.ended && !self.deadlines.is_blocked() {
            self.ended = true;
            self.metrics.unread.at([Unread::Malformed.label()]).inc();
            let _fits = Pin::new(&mut self.stream).poll_write(cx, refusal::BAD_REQUEST);
        }
    }

    /// The server has to wait: what comes meanwhile is kept, and the end of the client noticed.
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 1_024];
        while self.intake.wait() {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => self.intake.keep(buf.filled_mut()),
                Poll::Ready(Err(error)) => {
                    self.failed = true;
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Closing a socket with unread bytes in it resets the connection, and the client may never see
    /// its answer: what has come already is read first.
    fn take_what_came(&mut self, cx: &mut Context<'_>) {
        let (mut bytes, mut ignored) = ([0; 8_192], 0);
        while ignored < MOST_IGNORED {
            let mut buf = ReadBuf::new(&mut bytes);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
            match (read, buf.filled().len()) {
                (Poll::Ready(Ok(())), some) if some > 0 => ignored += some,
                (Poll::Ready(_) | Poll::Pending, _) => return,
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        if this.deadlines.is_blocked() {
            this.read_put_off = true;
            return this.wait_for_client(cx);
        }
        if this.requests.is_over() || this.requests.is_dismissed(cx) {
            return Poll::Ready(Ok(()));
        }
        this.turns = 0;
        if this.intake.holds_back(this.requests.serving_body()) {
            return this.read_ahead(cx);
        }
        let before = buf.filled().len();
        let read = if this.intake.give(buf) {
            Poll::Ready(Ok(()))
        } else {
            let read = Pin::new(&mut this.stream).poll_read(cx, buf);
            this.intake.hold_rest(buf, before);
            read
        };
        match read {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before && !this.requests.is_serving() {
                    this.deadlines.received(this.requests.begun.get(), clock::monotonic());
                    let bytes = buf.filled().len().saturating_sub(before);
                    if !this.requests.received(bytes) {
                        return Poll::Ready(Err(this.cut(Cut::UnreadHeads)));
                    }
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                this.failed = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => match this.overdue(cx) {
                Some(Overdue::Send) => Poll::Ready(Err(this.cut(Cut::AnswerNotTaken))),
                Some(what) => {
                    this.end(what, cx);
                    Poll::Ready(Ok(()))
                }
                None => Poll::Pending,
            },
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match Pin::new(&mut this.stream).poll_write(cx, buf) {
            Poll::Ready(Ok(written)) => {
                let all = written == buf.len();
                if all && refusal::is_bare(buf) {
                    this.metrics.unread.at([Unread::Malformed.label()]).inc();
                }
                this.wrote(all, cx);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => {
                this.failed = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                this.deadlines.blocked(false, clock::monotonic());
                this.turn()?;
                this.wait_for_client(cx)
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.turn()?;
        // What ended a request may be the last that happens here: the timer has to run.
        let unwatched = this.timer.as_ref().is_none_or(|timer| timer.is_elapsed());
        if unwatched && this.overdue(cx).is_some() {
            cx.waker().wake_by_ref();
        }
        if this.intake.turned(this.requests.serving_body()) {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Connection<S> {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.answer_abandoned(&mut cx);
        if !self.failed {
            self.take_what_came(&mut cx);
        }
    }
}

/// The requests of one connection: how many have begun, the context of the one that is being served
/// (HTTP/1.1 serves them one by one), and whether its body is at its end. The stream and the requests
/// that are read from it share this on one thread; neither sees it otherwise.
#[derive(Debug, Default)]
pub struct Requests {
    begun: Cell<u64>,
    serving: RefCell<Option<Rc<RequestContext>>>,
    /// The body of the last one comes in chunks and was not read to its end.
    open_body: Cell<bool>,
    /// The server gave one up before there was an answer.
    abandoned: Cell<bool>,
    /// The one that is being served has a body.
    with_body: Cell<bool>,
    /// It is the last.
    last: Cell<bool>,
    /// What others see of them; none in tests.
    activity: OnceCell<Arc<Activity>>,
}

impl Requests {
    /// A request is being served until what this gives is dropped.
    #[must_use]
    pub fn begin(self: &Rc<Self>, in_chunks: bool, context: &Rc<RequestContext>) -> Serving {
        self.open_body.set(in_chunks);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.serving.replace(Some(Rc::clone(context)));
        if let Some(activity) = self.activity.get() {
            activity.busy();
        }
        Serving { requests: Rc::clone(self), answered: false }
    }

    /// The context of the request that is being served.
    pub fn context(&self) -> Option<Rc<RequestContext>> {
        self.serving.borrow().clone()
    }

    /// The body of the request that is being served was read to its end.
    pub fn body_ended(&self) {
        self.open_body.set(false);
    }

    /// Whether what comes may still belong to the last request.
    pub fn has_open_body(&self) -> bool {
        self.open_body.get()
    }

    /// What is known of the request before it begins: whether it has a body, and says close.
    pub fn expect(&self, with_body: bool, last: bool) {
        self.with_body.set(with_body);
        self.last.set(last);
    }

    /// The last request has its answer. Of an unread body the server may still take the rest.
    fn is_over(&self) -> bool {
        self.last.get() && !self.is_serving() && !self.with_body.get()
    }

    /// Whether another connection needs the place, and nothing is served here.
    fn is_dismissed(&self, cx: &Context<'_>) -> bool {
        self.activity.get().is_some_and(|activity| activity.is_dismissed(cx)) && !self.is_serving()
    }

    /// So many bytes of a head came. False if the heads of all connections leave them no room.
    fn received(&self, bytes: usize) -> bool {
        self.activity.get().is_none_or(|activity| activity.received(bytes))
    }

    /// Whether the request that is being served has a body, if there is one.
    fn serving_body(&self) -> Option<bool> {
        self.is_serving().then(|| self.with_body.get())
    }

    fn is_serving(&self) -> bool {
        self.serving.borrow().is_some()
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct Serving {
    requests: Rc<Requests>,
    answered: bool,
}

impl Serving {
    /// Its answer is there. True if that must be the last of the connection, because nobody knows
    /// where the body ends.
    pub fn answered(mut self) -> bool {
        self.answered = true;
        self.requests.has_open_body()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let served = self.requests.serving.take();
        if let (Some(served), Some(activity)) = (served, self.requests.activity.get()) {
            activity.idle(served.started);
        }
        if !self.answered {
            self.requests.abandoned.set(true);
        }
    }
}
