//! A connection, between the socket and the server that reads requests from it.
//!
//! Owns: the pace of each connection ([`Pace`]), the envelope of refusals that the server makes by
//! itself ([`refusal`]), and the count of connections ([`Census`]). Refuses: a connection that is
//! one too many, a head that is too slow (each, not only the first), a client that does not take its
//! answer, and one that fills the server's buffer with requests while an earlier one is served: the
//! server would turn in circles until that is done. Nothing is read from a client that does not take
//! what he has been answered: the server would read and answer on, into its own memory. Costs a
//! comparison or two a read, and one timer a connection, which is set anew only when it fires.

mod census;
mod pace;
pub mod refusal;
mod under_way;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod with_server;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

pub use census::{Bounds, Census, Crowded, Present};
pub use pace::{Overdue, Pace, Patience};
pub use under_way::{Serving, UnderWay};

use crate::clock;
use crate::metrics::HttpMetrics;
use refusal::{Reason, answer, bare};

/// The server came so often to write or to look whether all is written, without reading or writing
/// anything in between: what it reads into is full of requests that it cannot begin yet.
const MOST_TURNS: u32 = 1_000;

/// Most that is read and thrown away when a connection ends with a refusal.
const MOST_IGNORED: usize = 1 << 20;

/// A connection.
pub struct Connection<S: AsyncRead + AsyncWrite + Unpin> {
    stream: S,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
    under_way: Rc<UnderWay>,
    /// What is to be written in place of, or after, what the server writes.
    own: Own,
    /// Turns of the server since anything was read or written.
    turns: u32,
    /// It wanted to read while an answer waits to be taken.
    read_put_off: bool,
    /// It failed, or was cut: nobody is to be told anything.
    over: bool,
    metrics: HttpMetrics,
    _present: Option<Present>,
}

/// An answer that the server does not know of.
#[derive(Debug, Default)]
struct Own {
    bytes: Vec<u8>,
    written: usize,
    /// Nothing more is read.
    last: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over this stream, counted by `present`.
    pub fn new(
        stream: S,
        patience: Patience,
        metrics: HttpMetrics,
        present: Option<Present>,
    ) -> Self {
        Self {
            stream,
            pace: Pace::new(patience, clock::monotonic()),
            timer: None,
            under_way: Rc::default(),
            own: Own::default(),
            turns: 0,
            read_put_off: false,
            over: false,
            metrics,
            _present: present,
        }
    }

    /// What is under way on it, for the requests that come from it.
    #[must_use]
    pub fn under_way(&self) -> &Rc<UnderWay> {
        &self.under_way
    }

    /// What is overdue; otherwise whoever polls is woken when something is.
    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<Overdue> {
        loop {
            let now = clock::monotonic();
            let (begun, serving) = (self.under_way.begun(), self.under_way.is_serving());
            let (due, what) = self.pace.due(begun, serving, now)?;
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

    /// Says why, and reads nothing more.
    fn refuse(&mut self, reason: Reason) {
        self.metrics.unread(reason.as_str());
        self.own = Own { bytes: answer(reason), written: 0, last: true };
    }

    /// The server has nothing more to say than this; but what follows an answer to a request whose
    /// body is not at its end would be a second answer to the same one.
    fn end_with(&mut self, reason: Reason) {
        if self.own.last {
            return;
        }
        if self.under_way.has_open_body() {
            self.metrics.cut("body_not_ended");
            self.own.last = true;
        } else {
            self.refuse(reason);
        }
    }

    fn cut(&mut self, why: &'static str) -> io::Error {
        self.over = true;
        self.metrics.cut(why);
        io::Error::new(io::ErrorKind::TimedOut, why)
    }

    /// Writes what is ours.
    fn write_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) =
            self.own.bytes.get(self.own.written..).filter(|rest| !rest.is_empty())
        {
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.own.written += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.wait_to_write(cx).map_ok(|_| ()),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn wait_to_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.pace.blocked(false, clock::monotonic());
        self.turn()?;
        self.wait_for_client(cx).map_ok(|()| 0)
    }

    /// An answer waits to be taken.
    fn wait_for_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.overdue(cx) {
            Some(Overdue::Send) => Poll::Ready(Err(self.cut("answer_not_taken"))),
            Some(Overdue::Head | Overdue::Idle) | None => Poll::Pending,
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        self.turns = self.turns.saturating_add(1);
        if self.turns > MOST_TURNS { Err(self.cut("too_far_ahead")) } else { Ok(()) }
    }

    /// So much of what there was to write is written.
    fn wrote(&mut self, all: bool, cx: &Context<'_>) {
        self.turns = 0;
        if !all {
            return self.pace.blocked(true, clock::monotonic());
        }
        if self.pace.is_blocked() {
            self.pace.written(clock::monotonic());
        }
        if std::mem::take(&mut self.read_put_off) {
            // The server reads before it writes: it would not come back by itself.
            cx.waker().wake_by_ref();
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
        if this.own.last {
            return Poll::Ready(Ok(()));
        }
        if this.pace.is_blocked() {
            this.read_put_off = true;
            return this.wait_for_client(cx);
        }
        this.turns = 0;
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before && !this.under_way.is_serving() {
                    this.pace.heard(this.under_way.begun(), clock::monotonic());
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                this.over = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => match this.overdue(cx) {
                Some(Overdue::Head) => {
                    this.end_with(Reason::TooSlow);
                    Poll::Ready(Ok(()))
                }
                Some(Overdue::Idle) => {
                    this.own.last = true;
                    Poll::Ready(Ok(()))
                }
                Some(Overdue::Send) => Poll::Ready(Err(this.cut("answer_not_taken"))),
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
        let mut buf = buf;
        if let Some((at, reason)) = bare(buf) {
            if at.start == 0 {
                this.end_with(reason);
                // The server goes as soon as it has nothing left to write.
                std::task::ready!(this.write_own(cx))?;
                return Poll::Ready(Ok(buf.len()));
            }
            // First what stands before it.
            buf = buf.get(..at.start).unwrap_or(buf);
        }
        match Pin::new(&mut this.stream).poll_write(cx, buf) {
            Poll::Ready(Ok(written)) => {
                this.wrote(written == buf.len(), cx);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => {
                this.over = true;
                Poll::Ready(Err(error))
            }
            Poll::Pending => this.wait_to_write(cx),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.turn()?;
        // What ended a request may be the last that happens here: somebody has to look again.
        let unwatched = this.timer.as_ref().is_none_or(|timer| timer.is_elapsed());
        if unwatched && this.overdue(cx).is_some() {
            cx.waker().wake_by_ref();
        }
        std::task::ready!(this.write_own(cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.write_own(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The server takes chunks that cannot be read for a client that is gone, and leaves without a
    /// word unless the answer was there already.
    fn answer_abandoned(&mut self, cx: &mut Context<'_>) {
        let is_open = self.under_way.has_abandoned() && self.under_way.has_open_body();
        // In the middle of an earlier answer nothing can be said.
        let in_between = !self.over && !self.own.last && !self.pace.is_blocked();
        if is_open && in_between {
            self.refuse(Reason::Malformed);
            // As far as there is room; nobody comes back to write the rest.
            drop(self.write_own(cx));
        }
    }

    /// Closing a socket with something unread in it resets the connection, and a client may never see
    /// why it was refused: what has come already is taken first.
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

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Connection<S> {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.answer_abandoned(&mut cx);
        if self.own.last {
            self.take_what_came(&mut cx);
        }
    }
}
