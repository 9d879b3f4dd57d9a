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
use serde_json::Value;
use tokio::net::TcpStream;

use super::super::methods::{Answer, Method};
use super::super::refusal::Refusal;
use super::rule::{Kind, Rule};
use super::variant;

const JSON: &str = "application/json;charset=UTF-8";

/// A second handle on the socket of a connection, kept so that a fault can cut it.
pub(in super::super) struct Connection(RefCell<Option<std::net::TcpStream>>);

impl Connection {
    pub(in super::super) fn remember(socket: &dyn Any, kept: &mut Extensions) {
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

/// The variant of a refusal whose fields are at the root instead of under `error_response`.
const ERROR_AT_ROOT: &str = "error_at_root";

#[derive(Debug)]
pub(in super::super) struct Exchange<'a> {
    pub(in super::super) request: &'a HttpRequest,
    /// `None` for an unknown method.
    pub(in super::super) method: Option<&'static Method>,
    pub(in super::super) request_id: &'a str,
    pub(in super::super) body: Value,
}

fn json(body: &Value) -> HttpResponse {
    json_bytes(body.to_string())
}

fn json_bytes(body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::Ok().insert_header(("content-type", JSON)).body(body.into())
}

impl Exchange<'_> {
    pub(in super::super) async fn under(self, rule: Option<Rule>) -> HttpResponse {
        let Some(rule) = rule else { return json(&self.body) };
        let pause = Duration::from_millis(rule.ms.unwrap_or_default());
        if !pause.is_zero() && rule.fault != Kind::SlowBody {
            tokio::time::sleep(pause).await;
        }
        let code = rule.code.as_deref();
        let status = |default: u16| rule.status.unwrap_or(default);
        match rule.fault {
            Kind::Delay | Kind::Capacity => json(&self.body),
            Kind::Hang => std::future::pending().await,
            Kind::Status => {
                let text = format!("status {} was asked for by a fault rule", status(503));
                plain(status(503), "text/plain", text)
            }
            Kind::Reset => self.reset(),
            Kind::Garbage => json_bytes(garbage(rule.seed)),
            Kind::Html => page(status(200), code == Some("moved")),
            Kind::Truncate => broken_off(self.body.to_string().into()),
            Kind::SlowBody => byte_by_byte(self.body.to_string().into(), pause),
            Kind::Throttle => {
                let refusal = Refusal::call_limit(code, rule.seconds.unwrap_or(1));
                self.refused(&rule, &refusal)
            }
            Kind::Error => {
                let code = code.unwrap_or_default();
                self.refused(&rule, &Refusal::on_request(code, rule.sub_code.as_deref()))
            }
            Kind::Variant => json(&self.reshaped(&rule)),
        }
    }

    fn refused(&self, rule: &Rule, refusal: &Refusal) -> HttpResponse {
        let at_root = rule.variant.as_deref() == Some(ERROR_AT_ROOT);
        json(&refusal.body(self.request_id, at_root))
    }

    fn reshaped(self, rule: &Rule) -> Value {
        let Self { method, request_id, mut body, .. } = self;
        let name = rule.variant.as_deref().unwrap_or_default();
        let code = rule.code.as_deref().and_then(|code| code.parse().ok()).unwrap_or(404);
        if let Some(method) = method.filter(|_| name == variant::BUSINESS_CODE) {
            return Answer::Business(code).body(method, request_id);
        }
        variant::reshape(&mut body, name, rule.seed);
        body
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
fn broken_off(body: Bytes) -> HttpResponse {
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut half = body;
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

fn byte_by_byte(body: Bytes, pause: Duration) -> HttpResponse {
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let pieces = stream::unfold(body, move |mut left| async move {
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
    HttpResponse::Ok().insert_header(("content-type", JSON)).body(body)
}
