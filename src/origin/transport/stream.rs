//! What is read from an upstream's connection, made fit for awc, which takes an interim answer for the
//! answer and a body that lasts as long as the connection for none.
//!
//! Owns: where an answer begins. Interim answers (1xx) are left out; an answer whose end is that of the
//! connection (RFC 9112, 6.3) is called one of HTTP/1.0, of which awc expects that. Refuses: heads that
//! are too long, before any decoder sees them, and to take the end of the connection for that of an
//! answer that tells another. When a connection that was used before ends before the first byte of an
//! answer, [`Stale`] says so: the upstream had closed it while it was idle.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_rt::net::{ActixStream, Ready};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest head: below what a decoder counts header fields with.
const LONGEST_HEAD: usize = 60 << 10;
/// Bytes of a head that are read at once.
const PIECE: usize = 8 << 10;

/// A connection's two directions, whatever is below.
pub(super) trait Io: AsyncRead + AsyncWrite + fmt::Debug + Unpin {}

impl<T: AsyncRead + AsyncWrite + fmt::Debug + Unpin> Io for T {}

/// The connection was used before, and ended before anything was answered.
#[derive(Debug)]
pub(super) struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an idle connection was closed as it was used again")
    }
}

impl std::error::Error for Stale {}

/// What ends an answer's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// A length, which its reader checks, or nothing at all.
    Length,
    Chunks,
    Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Body(Framing),
}

/// The answers of one connection, as they come.
#[derive(Debug)]
struct Answers {
    phase: Phase,
    /// Whether this connection had an answer before.
    was_used: bool,
    head: BytesMut,
    /// To be handed on.
    ready: BytesMut,
}

impl Answers {
    fn new() -> Self {
        let (head, ready) = (BytesMut::new(), BytesMut::new());
        Self { phase: Phase::Head, was_used: false, head, ready }
    }

    /// A request is written: what follows is the head of its answer.
    fn asked(&mut self) {
        if matches!(self.phase, Phase::Body(_)) {
            (self.phase, self.was_used) = (Phase::Head, true);
            self.head.clear();
        }
    }

    /// Bytes came while a head is awaited.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        // What was searched before is not searched again.
        let mut from = self.head.len().saturating_sub(3);
        self.head.extend_from_slice(bytes);
        while let Some(end) = end_of_head(&self.head, from) {
            let mut head = self.head.split_to(end);
            from = 0;
            if is_interim(&head) {
                continue;
            }
            let framing = framing(&head);
            if framing == Framing::Connection
                && let Some(minor) = head.get_mut(..8).filter(|version| *version == b"HTTP/1.1")
            {
                minor.copy_from_slice(b"HTTP/1.0");
            }
            self.ready.unsplit(head);
            self.ready.extend_from_slice(&self.head);
            self.head.clear();
            self.phase = Phase::Body(framing);
            return Ok(());
        }
        if self.head.len() > LONGEST_HEAD {
            let cause = format!("a head larger than {LONGEST_HEAD} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
        Ok(())
    }

    /// The connection ended.
    fn ended(&self) -> io::Result<()> {
        match self.phase {
            Phase::Body(Framing::Length | Framing::Connection) => Ok(()),
            Phase::Body(Framing::Chunks) => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "ended before its last chunk"))
            }
            Phase::Head => {
                let cause = "ended before the end of a head";
                Err(self.broke(io::Error::new(io::ErrorKind::UnexpectedEof, cause)))
            }
        }
    }

    /// The connection broke.
    fn broke(&self, error: io::Error) -> io::Error {
        let is_stale = self.was_used && self.phase == Phase::Head && self.head.is_empty();
        if is_stale { io::Error::new(io::ErrorKind::ConnectionAborted, Stale) } else { error }
    }
}

fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    let start = bytes.get(from..)?.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(from.saturating_add(start).saturating_add(4))
}

/// 101 is none: another protocol follows.
fn is_interim(head: &[u8]) -> bool {
    status(head).is_some_and(|status| status != 101 && (100..200).contains(&status))
}

fn status(head: &[u8]) -> Option<u16> {
    let word = head.split(|byte| *byte == b' ').nth(1)?.get(..3)?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn framing(head: &[u8]) -> Framing {
    let field = |line: &[u8]| {
        let end = line.iter().position(|byte| *byte == b':')?;
        let name = line.get(..end)?.trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("transfer-encoding") {
            return Some(Framing::Chunks);
        }
        is("content-length").then_some(Framing::Length)
    };
    let found = || head.split(|byte| *byte == b'\n').skip(1).filter_map(field);
    if found().any(|framing| framing == Framing::Chunks) {
        return Framing::Chunks;
    }
    let is_bodiless = matches!(status(head), Some(101 | 204 | 304) | None);
    if is_bodiless { Framing::Length } else { found().next().unwrap_or(Framing::Connection) }
}

/// A connection to an upstream, as awc reads it.
#[derive(Debug)]
pub(super) struct UpstreamStream {
    io: Box<dyn Io>,
    answers: Answers,
}

impl UpstreamStream {
    pub(super) fn new(io: impl Io + 'static) -> Self {
        Self { io: Box::new(io), answers: Answers::new() }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, answers } = &mut *self;
        loop {
            if !answers.ready.is_empty() || buffer.remaining() == 0 {
                let length = answers.ready.len().min(buffer.remaining());
                buffer.put_slice(answers.ready.get(..length).unwrap_or_default());
                answers.ready.advance(length);
                return Poll::Ready(Ok(()));
            }
            if answers.phase != Phase::Head {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut *io).poll_read(cx, buffer))?;
                let is_end = buffer.filled().len() == before;
                return Poll::Ready(if is_end { answers.ended() } else { Ok(()) });
            }
            let mut bytes = [0; PIECE];
            let mut piece = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *io).poll_read(cx, &mut piece)) {
                Ok(()) if piece.filled().is_empty() => return Poll::Ready(answers.ended()),
                Ok(()) => answers.came(piece.filled())?,
                Err(error) => return Poll::Ready(Err(answers.broke(error))),
            }
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { io, answers } = &mut *self;
        answers.asked();
        Pin::new(io).poll_write(cx, bytes).map_err(|error| answers.broke(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, answers } = &mut *self;
        Pin::new(io).poll_flush(cx).map_err(|error| answers.broke(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// awc asks for this and never uses it; whoever reads or writes is told to wait then.
impl ActixStream for UpstreamStream {
    fn poll_read_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::READABLE))
    }

    fn poll_write_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        Poll::Ready(Ok(Ready::WRITABLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is handed on of these bytes, in one piece and byte by byte; both are the same.
    fn handed_on(bytes: &[u8]) -> (String, Phase) {
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut answers = Answers::new();
            for piece in pieces {
                match answers.phase {
                    Phase::Head => answers.came(piece).unwrap(),
                    Phase::Body(_) => answers.ready.extend_from_slice(piece),
                }
            }
            (String::from_utf8(answers.ready.to_vec()).unwrap(), answers.phase)
        };
        let whole = read(&mut std::iter::once(bytes));
        assert_eq!(read(&mut bytes.chunks(1)), whole);
        whole
    }

    #[test]
    fn interim_answers_are_left_out() {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let want = (answer.to_owned(), Phase::Body(Framing::Length));
        assert_eq!(handed_on(format!("{early}{answer}").as_bytes()), want);
        let other = "HTTP/1.1 101 Switching Protocols\r\n\r\nx";
        assert_eq!(handed_on(other.as_bytes()).0, other);
    }

    #[test]
    fn each_framing_has_its_end() {
        let rows = [
            ("HTTP/1.1 200 OK\r\n\r\n{}", Framing::Connection),
            ("HTTP/1.0 200 OK\r\nX: 1\r\n\r\n{}", Framing::Connection),
            ("HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}", Framing::Length),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                Framing::Chunks,
            ),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Length),
        ];
        for (answer, framing) in rows {
            let (text, phase) = handed_on(answer.as_bytes());
            assert_eq!(phase, Phase::Body(framing), "{answer}");
            let called = if framing == Framing::Connection { "HTTP/1.0" } else { "HTTP/1.1" };
            assert!(text.starts_with(called) && text[8..] == answer[8..], "{text}");
        }
    }

    #[test]
    fn the_end_of_the_connection_is_the_end_of_few_answers() {
        let ended = |bytes: &str| {
            let mut answers = Answers::new();
            answers.came(bytes.as_bytes()).unwrap();
            answers.ended().is_ok()
        };
        assert!(ended("HTTP/1.1 200 OK\r\n\r\n{}"));
        assert!(!ended("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"));
        assert!(!ended("HTTP/1.1 200 OK\r\nContent-Le"));
        assert!(!ended("HTTP/1.1 103 Early Hints\r\n\r\n"));
    }

    #[test]
    fn only_a_used_connection_that_answers_nothing_is_stale() {
        let is_stale = |answers: &Answers| {
            answers.ended().unwrap_err().get_ref().is_some_and(|why| why.is::<Stale>())
        };
        let mut answers = Answers::new();
        answers.asked();
        assert!(!is_stale(&answers), "it is new");
        answers.came(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        answers.asked();
        assert!(is_stale(&answers));
        answers.came(b"H").unwrap();
        assert!(!is_stale(&answers));
    }

    #[test]
    fn a_head_has_its_bound() {
        let mut answers = Answers::new();
        let line = format!("HTTP/1.1 200 OK\r\n{}: 1\r\n", "x".repeat(65_536));
        assert!(answers.came(line.as_bytes()).is_err());
    }
}
