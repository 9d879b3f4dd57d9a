//! One connection of a load, as cheap as a client can be: it shares its cores with the service.
//!
//! Owns: sending one request and finding the end of its answer. Refuses: answers without a length.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer; its body lies in the connection's memory.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// A connection that is opened when it is needed, and what came in on it.
#[derive(Default)]
pub(crate) struct Wire {
    /// Open already, if it is.
    pub(crate) stream: Option<TcpStream>,
    received: Vec<u8>,
    /// Lines that are sent with every request, each with its end.
    pub(crate) headers: &'static str,
}

impl Wire {
    /// Sends a request and waits for its answer. After an error the connection is gone.
    pub(crate) async fn ask(&mut self, address: SocketAddr, path: &str) -> io::Result<Answer<'_>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(address).await?,
        };
        let headers = self.headers;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        self.received.clear();
        let head = loop {
            if let Some(head) = Head::read(&self.received)? {
                break head;
            }
            receive(&mut stream, &mut self.received).await?;
        };
        while self.received.len() < head.ends + head.length {
            receive(&mut stream, &mut self.received).await?;
        }
        if !head.closes {
            self.stream = Some(stream);
        }
        let body = self.received.get(head.ends..).unwrap_or_default();
        Ok(Answer { status: head.status, body })
    }
}

/// Opens a connection.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    received.reserve(1 << 15);
    match stream.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// What is needed of an answer's head.
struct Head {
    status: u16,
    length: usize,
    closes: bool,
    ends: usize,
}

impl Head {
    /// Reads it once all of it is there.
    fn read(received: &[u8]) -> io::Result<Option<Self>> {
        let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let unreadable = || io::Error::from(io::ErrorKind::InvalidData);
        let text = received.get(..at).and_then(|head| std::str::from_utf8(head).ok());
        let mut lines = text.ok_or_else(unreadable)?.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|code| code.parse().ok()).ok_or_else(unreadable)?;
        let (mut length, mut closes) = (None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        let length = length.ok_or_else(unreadable)?;
        Ok(Some(Self { status, length, closes, ends: at + 4 }))
    }
}
