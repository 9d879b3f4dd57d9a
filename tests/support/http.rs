//! Plain HTTP/1.1 over a socket that is kept open.
//!
//! Owns: writing a request and reading its answer, nothing more, so that what is measured is the
//! service and not a client. Refuses: answers it cannot tell the end of. Nothing is retried; a
//! broken connection is an error of the request that met it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: u16,
    /// Header fields in the order sent, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; `Null` when it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The first header field of this name, which is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is opened when it is first used and again after an error.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    headers: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// To this address; nothing is opened yet.
    pub(crate) const fn to(address: SocketAddr) -> Self {
        Self { address, headers: String::new(), stream: None }
    }

    /// Sends this header with every request.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// `GET`.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask("GET", path)
    }

    /// `POST` without a body.
    pub(crate) fn post(&mut self, path: &str) -> io::Result<Answer> {
        self.ask("POST", path)
    }

    /// Any method, with a body where there is one to send.
    pub(crate) fn send(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<Answer> {
        let length = match method {
            "GET" | "HEAD" | "OPTIONS" if body.is_empty() => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{length}\r\n",
            self.address, self.headers
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.send_bytes(&request, method == "HEAD")
    }

    /// These very bytes, whether they are a request or not. To `HEAD` comes no body.
    pub(crate) fn send_bytes(&mut self, request: &[u8], is_head: bool) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => open(self.address)?,
        };
        stream.get_mut().write_all(request)?;
        let (answer, stays_open) = read_answer(&mut stream, is_head)?;
        self.stream = stays_open.then_some(stream);
        Ok(answer)
    }

    fn ask(&mut self, method: &str, path: &str) -> io::Result<Answer> {
        self.send(method, path, b"")
    }
}

fn open(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::with_capacity(1 << 15, stream))
}

/// The answer, and whether the connection may be used again.
pub(crate) fn read_answer(stream: &mut impl BufRead, is_head: bool) -> io::Result<(Answer, bool)> {
    let status_line = line(stream)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| unreadable(&status_line))?;
    let (mut length, mut chunked, mut stays_open) = (0_usize, false, true);
    let mut headers = Vec::new();
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').ok_or_else(|| unreadable(&header))?;
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        match name.as_str() {
            "content-length" => length = value.parse().map_err(|_| unreadable(&header))?,
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => stays_open = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
        headers.push((name, value));
    }
    let body = match (is_head, chunked) {
        (true, _) => Vec::new(),
        (false, true) => read_chunks(stream)?,
        (false, false) => read_bytes(stream, length)?,
    };
    Ok((Answer { status, headers, body }, stays_open))
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = line(stream)?;
        let length = usize::from_str_radix(&size, 16).map_err(|_| unreadable(&size))?;
        body.extend(read_bytes(stream, length)?);
        line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_bytes(stream: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

fn unreadable(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unreadable answer: {text:?}"))
}
