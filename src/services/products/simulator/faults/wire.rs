//! How a fault looks on the wire.
//!
//! Owns: turning an ordinary answer into what the caller sees: later, slower, cut, garbled or
//! something else entirely. A reset is a real one: the socket is set to send RST when it closes,
//! and nothing is written before. When the caller goes away, a waiting answer is dropped with it.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use actix_web::body::{BoxBody, SizedStream};
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, dev::Extensions};
use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpStream;

use super::super::answer::Answer;
use super::super::methods::Method;
use super::super::refusal::Refusal;
use super::rule::{Fault, What};

/// A second handle on the socket of a connection, kept so that a fault can cut it.
pub(crate) struct Connection(RefCell<Option<std::net::TcpStream>>);

impl Connection {
    /// Remembers a new connection's socket.
    pub(crate) fn remember(socket: &dyn Any, kept: &mut Extensions) {
        let handle = socket.downcast_ref::<TcpStream>().map(|tcp| tcp.as_fd().try_clone_to_owned());
        if let Some(Ok(handle)) = handle {
            kept.insert(Self(RefCell::new(Some(handle.into()))));
        }
    }

    /// Makes the connection end with RST as soon as it is closed.
    fn cut(&self) -> io::Result<()> {
        let Some(socket) = self.0.take() else { return Ok(()) };
        socket.set_nonblocking(true)?;
        TcpStream::from_std(socket)?.set_zero_linger()
    }
}

/// One call and its ordinary answer.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// The request.
    pub(crate) request: &'a HttpRequest,
    /// What was called; none for an unknown method.
    pub(crate) method: Option<Method>,
    /// The answer's number.
    pub(crate) request_id: &'a str,
    /// What would be answered without a fault.
    pub(crate) body: Vec<u8>,
}

/// An ordinary answer.
pub(crate) fn json(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().insert_header(("content-type", "application/json;charset=UTF-8")).body(body)
}

impl Exchange<'_> {
    /// The answer the caller gets.
    pub(crate) async fn under(self, fault: Option<Fault>) -> HttpResponse {
        let Some(Fault { ms, what, seed }) = fault else { return json(self.body) };
        if ms > 0 && what != What::SlowBody {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        match what {
            What::Delay => json(self.body),
            What::Hang => std::future::pending().await,
            What::Status(status) => plain(
                status,
                "text/plain",
                format!("status {status} was asked for by a fault rule"),
            ),
            What::Reset => self.reset(),
            What::Garbage => json(garbage(seed)),
            What::Html { status, moved } => page(status, moved),
            What::Truncate => broken_off(self.body),
            What::SlowBody => byte_by_byte(self.body, Duration::from_millis(ms)),
            What::Throttle { legacy, seconds, at_root } => {
                let limit = if legacy { Refusal::legacy_call_limit } else { Refusal::call_limit };
                json(limit(seconds).body(self.request_id, at_root))
            }
            What::Error { code, sub_code, at_root } => {
                let refusal = Refusal::on_request(&code, sub_code.as_deref());
                json(refusal.body(self.request_id, at_root))
            }
            What::Business(code) => {
                json(self.method.map_or(self.body, |method| {
                    Answer::Business(code).body(method, self.request_id)
                }))
            }
            What::Variant(variant) => json(variant.reshape(self.body, seed)),
        }
    }

    fn reset(&self) -> HttpResponse {
        // Should the socket not obey, the failing body still ends the connection unanswered.
        if let Some(connection) = self.request.conn_data::<Connection>() {
            connection.cut().ok();
        }
        let failing = stream::once(async { Err::<Bytes, _>(broken("cut")) });
        HttpResponse::Ok().body(BoxBody::new(SizedStream::new(1, Box::pin(failing))))
    }
}

fn broken(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, format!("{how} by a fault rule"))
}

fn plain(status: u16, kind: &str, text: String) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    HttpResponse::build(status).insert_header(("content-type", kind)).body(text)
}

fn page(status: u16, moved: bool) -> HttpResponse {
    let text = if moved {
        "<!DOCTYPE html><html><body><h1>This gateway has been offline</h1></body></html>"
    } else {
        "<!DOCTYPE html><html><body><h1>Something went wrong</h1><p>Try again later.</p></body></html>"
    };
    plain(status, ContentType::html().0.essence_str(), text.to_owned())
}

/// Bytes that are neither JSON nor UTF-8, the same for the same seed.
fn garbage(seed: u64) -> Vec<u8> {
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0xff];
    bytes.extend((0..511).map(|_| chance.u8(..)));
    bytes
}

/// Announces the whole body, sends half of it and ends the connection.
fn broken_off(body: Vec<u8>) -> HttpResponse {
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut half = Bytes::from(body);
    half.truncate(half.len() / 2);
    let pieces = stream::unfold(Some(half), |left| async move {
        match left {
            Some(half) if !half.is_empty() => Some((Ok(half), Some(Bytes::new()))),
            _ => {
                // What was written so far leaves for the wire while this waits.
                tokio::task::yield_now().await;
                Some((Err(broken("broken off")), None))
            }
        }
    });
    sized(size, pieces)
}

fn byte_by_byte(body: Vec<u8>, pause: Duration) -> HttpResponse {
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let pieces = stream::unfold(Bytes::from(body), move |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let byte = left.split_to(1);
        Some((Ok(byte), left))
    });
    sized(size, pieces)
}

fn sized(
    size: u64,
    pieces: impl futures_util::Stream<Item = io::Result<Bytes>> + 'static,
) -> HttpResponse {
    let body = BoxBody::new(SizedStream::new(size, Box::pin(pieces)));
    HttpResponse::Ok().insert_header(("content-type", "application/json;charset=UTF-8")).body(body)
}
