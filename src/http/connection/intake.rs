//! What came from a client, and how much of it the server is given at a time: one request.
//!
//! Owns: the bytes that are held back. actix reads ahead: behind a request that waits for its answer it
//! reads the next, and what that one says of the connection, of its version and of HEAD goes into the
//! answer before it. So the server gets a head with its body; the next one is its turn later, when that
//! is answered, and other connections come in between. What is behind a request that says close is
//! never read. On its way a head loses its wish to become another protocol (RFC 9110, 7.8: a server may
//! ignore it), and a name that no decoder bears ([`super::header_names`]).
//!
//! It knows lines, not HTTP: where a head comes in pieces it may give too much at once, never too
//! little, and the server decides what a request is. Costs a look at each line.

use std::io::BufRead;

use bytes::BytesMut;
use tokio::io::ReadBuf;

use super::header_names::HeaderNames;

/// Most that is read ahead for a connection whose request waits for its answer.
const MOST_AHEAD: usize = 8_192;

/// How much of the last body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Of a length that nobody told.
    Unknown,
    Bytes(usize),
}

#[derive(Debug)]
pub(super) struct Intake {
    names: HeaderNames,
    held: BytesMut,
    /// What the lines of the head say.
    length: Option<usize>,
    in_chunks: bool,
    body: Body,
    /// The server has to wait for what it came for in this turn.
    waits: bool,
    /// The client sends nothing more.
    at_end: bool,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            names: HeaderNames::default(),
            held: BytesMut::new(),
            length: None,
            in_chunks: false,
            body: Body::Unknown,
            waits: false,
            at_end: false,
        }
    }
}

impl Intake {
    /// Whether the server has to wait for more: `serving` says whether a request is being served,
    /// and whether that has a body.
    pub(super) fn holds_back(&self, serving: Option<bool>) -> bool {
        let all_there = matches!(self.body, Body::Bytes(0));
        match serving {
            Some(false) => true,
            Some(true) => all_there || self.waits,
            None => self.waits && !self.held.is_empty(),
        }
    }

    /// The server waits; true if more may be read meanwhile, for what that tells of the client.
    pub(super) fn wait(&mut self) -> bool {
        self.waits = true;
        self.held.len() < MOST_AHEAD && !self.at_end
    }

    /// Keeps what was read meanwhile; nothing is the end.
    pub(super) fn keep(&mut self, bytes: &mut [u8]) {
        self.names.bound(bytes);
        self.held.extend_from_slice(bytes);
        self.at_end = bytes.is_empty();
    }

    /// Fills `buf` with the next piece of what is held. False if more has to be read for one.
    pub(super) fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        if self.held.is_empty() {
            return self.at_end;
        }
        let mut piece = self.held.split_to(self.held.len().min(buf.remaining()));
        let length = self.piece(&mut piece);
        let mut rest = piece.split_off(length);
        buf.put_slice(&piece);
        rest.unsplit(std::mem::take(&mut self.held));
        self.held = rest;
        self.waits = !self.held.is_empty();
        true
    }

    /// Takes back what was read beyond a piece; what was read begins at `before`.
    pub(super) fn hold_rest(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let read = buf.filled_mut().get_mut(before..).filter(|read| !read.is_empty());
        let Some(bytes) = read else { return };
        self.names.bound(bytes);
        let piece = self.piece(bytes);
        if let Some(rest) = bytes.get(piece..).filter(|rest| !rest.is_empty()) {
            self.held.extend_from_slice(rest);
            self.waits = true;
            buf.set_filled(before.saturating_add(piece));
        }
    }

    /// A turn of the server is over. True if it has to come again for what it did not get.
    pub(super) fn turned(&mut self, serving: Option<bool>) -> bool {
        let waited = std::mem::take(&mut self.waits);
        waited && (self.at_end || !self.held.is_empty()) && !self.holds_back(serving)
    }

    /// How many of the bytes belong to the request that is read: its body, or a head and its body.
    fn piece(&mut self, bytes: &mut [u8]) -> usize {
        if let Body::Bytes(rest @ 1..) = self.body {
            let here = rest.min(bytes.len());
            self.body = Body::Bytes(rest - here);
            return here;
        }
        let mut at = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        loop {
            let Some(line) = line(bytes.get_mut(at..).unwrap_or_default()) else {
                // The head goes on, or is none.
                self.body = Body::Unknown;
                return bytes.len();
            };
            at = at.saturating_add(line.len());
            if matches!(&*line, b"\n" | b"\r\n") {
                return self.body_behind(at, bytes.len());
            }
            self.look_at(line);
        }
    }

    /// The head ends at `head`; where what is there of its body does.
    fn body_behind(&mut self, head: usize, all: usize) -> usize {
        let (length, in_chunks) = (self.length.take(), std::mem::take(&mut self.in_chunks));
        if in_chunks {
            self.body = Body::Unknown;
            return all;
        }
        let length = length.unwrap_or_default();
        let here = length.min(all.saturating_sub(head));
        self.body = Body::Bytes(length - here);
        head.saturating_add(here)
    }

    fn look_at(&mut self, line: &mut [u8]) {
        if !matches!(line.first(), Some(b'C' | b'c' | b'T' | b't' | b'U' | b'u')) {
            return;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (name, value) = line.split_at_mut(colon);
        let value = value.get_mut(1..).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            let digits = std::str::from_utf8(value.trim_ascii()).ok();
            self.length = digits.and_then(|digits| digits.parse().ok());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.in_chunks = true;
        } else if name.eq_ignore_ascii_case(b"connection") {
            let wishes = value.split_mut(|byte| matches!(byte, b',' | b'\r' | b'\n'));
            let upgrades = wishes.filter(|wish| wish.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
            upgrades.for_each(|wish| wish.fill(b' '));
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            let text = value.iter_mut().filter(|byte| !matches!(byte, b'\r' | b'\n'));
            text.for_each(|byte| *byte = b' ');
        }
    }
}

/// The first line with its end, if that is there.
fn line(bytes: &mut [u8]) -> Option<&mut [u8]> {
    // Finds the end a word at a time.
    let length = (&*bytes).skip_until(b'\n').ok()?;
    let line = bytes.get_mut(..length)?;
    line.ends_with(b"\n").then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    const POST: &str = "POST /a HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\nab\r\n\n";

    /// What the server gets of it turn by turn when it comes at once and is answered at once.
    fn turns(sent: &str) -> Vec<String> {
        let mut intake = Intake::default();
        let mut pieces = Vec::new();
        let mut bytes = sent.as_bytes().to_vec();
        let mut buf = ReadBuf::new(&mut bytes);
        buf.set_filled(sent.len());
        intake.hold_rest(&mut buf, 0);
        pieces.push(buf.filled().to_vec());
        while intake.turned(None) {
            let mut room = vec![0; sent.len()];
            let mut buf = ReadBuf::new(&mut room);
            assert!(intake.give(&mut buf));
            pieces.push(buf.filled().to_vec());
        }
        assert!(intake.held.is_empty());
        pieces.into_iter().map(|piece| String::from_utf8(piece).unwrap()).collect()
    }

    #[test]
    fn each_request_has_its_turn() {
        assert_eq!(turns(GET), [GET]);
        assert_eq!(turns(&[GET, POST, POST, GET, GET].concat()), [GET, POST, POST, GET, GET]);
        let lines = "GET / HTTP/1.1\nHost: a\n\n";
        assert_eq!(turns(&[lines, lines].concat()), [lines, lines]);
        let blank = format!("\r\n\r\n{GET}");
        assert_eq!(turns(&[&blank, GET].concat()), [&blank, GET]);
        assert_eq!(turns(&[GET, "GET / HT"].concat()), [GET, "GET / HT"]);
    }

    #[test]
    fn where_a_body_ends_is_not_guessed() {
        let chunks = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let all = [chunks, GET].concat();
        assert_eq!(turns(&all), [all.as_str()]);
        let mut intake = Intake::default();
        let begun = POST.len() - 3;
        let mut bytes = POST.as_bytes().to_vec();
        assert_eq!(intake.piece(&mut bytes[..begun]), begun);
        assert!(!intake.holds_back(Some(true)), "two bytes are missing");
        assert_eq!(intake.piece(&mut [bytes[begun..].to_vec(), b"GET".to_vec()].concat()), 3);
        assert!(intake.holds_back(Some(true)), "all are there");
        assert!(Intake::default().holds_back(Some(false)));
        assert!(!Intake::default().holds_back(Some(true)), "what has a body gets what comes");
    }

    #[test]
    fn a_wish_for_another_protocol_is_not_heard() {
        let wish =
            "GET / HTTP/1.1\r\nConnection: Upgrade, close\r\nUPGRADE: websocket\r\nHost: a\r\n\r\n";
        let left =
            "GET / HTTP/1.1\r\nConnection:        , close\r\nUPGRADE:          \r\nHost: a\r\n\r\n";
        assert_eq!(turns(&wish.repeat(2)), [left, left]);
        let other = "GET / HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: upgrade\r\n\r\n";
        assert_eq!(turns(other), [other]);
    }
}
