//! The awc transport: one pooled HTTP client a thread.
//!
//! Owns: the pool of connections, which `connect` opens and `stream` reads. Refuses: bodies beyond
//! [`Wire::max_body`] and redirects (a moved upstream is configuration, not something to follow with a
//! signed request). Speaks HTTP/1.1 alone: a call that is cut ends its connection and touches no other
//! call. A connection that the upstream closed while it was idle costs a call nothing: it goes out once
//! more, at once and on a new one. When several calls find theirs closed, one goes ahead and the others
//! follow if it was answered: an upstream that cuts everything is not called twice for each.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use actix_web::dev::fn_service;
use actix_web::error::ParseError;
use awc::error::{ConnectError, SendRequestError};
use awc::http::{Version, header};
use bytes::Bytes;
use futures_util::FutureExt;
use slog::Logger;
use tokio::sync::Mutex;
use url::Url;

use super::body::Bodies;
use super::connect::Dialler;
use super::stream::Stale;
use super::{Transport, TransportFault, Wire};
use crate::clock;
use crate::origin::{Answer, Request};

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long any connection is kept, so that a changed name is noticed.
const LIFETIME: Duration = Duration::from_secs(600);
/// Beyond the bounds of its parts, when awc itself gives a connection up.
const SLACK: Duration = Duration::from_secs(1);

/// The clients of one thread (awc's client cannot leave the thread it was built on).
pub struct AwcTransport {
    wire: Wire,
    log: Logger,
    plain: RefCell<awc::Client>,
    secure: RefCell<awc::Client>,
    bodies: Bodies,
    ahead: Mutex<Ahead>,
}

/// The call that went out once more before the others.
#[derive(Default)]
struct Ahead {
    /// When it ended, and whether it was answered.
    ended: Option<(Instant, bool)>,
}

impl Ahead {
    /// How it went for whoever found a closed connection at `since`; `None`: nobody went ahead.
    fn answered(&self, since: Instant) -> Option<bool> {
        self.ended.filter(|(at, _)| *at >= since).map(|(_, answered)| answered)
    }
}

impl AwcTransport {
    /// Clients with empty pools.
    pub fn new(wire: &Wire, log: &Logger) -> Self {
        Self {
            plain: RefCell::new(client(wire, log, false)),
            secure: RefCell::new(client(wire, log, true)),
            bodies: Bodies::new(wire.max_body),
            ahead: Mutex::default(),
            wire: wire.clone(),
            log: log.clone(),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Answer, TransportFault> {
        let (url, is_secure) = below_tls(request.url.clone())?;
        let client = if is_secure { &self.secure } else { &self.plain };
        let request = Request { url, ..request };
        let sent = ask(&client.borrow(), request.clone());
        let mut response = sent.await;
        if response.as_ref().is_err_and(is_stale) {
            let since = clock::monotonic();
            let mut ahead = self.ahead.lock().await;
            let answered = ahead.answered(since);
            if answered.is_none() {
                // What else is idle is as old, and goes with the pool; calls under way do not mind.
                client.replace(self::client(&self.wire, &self.log, is_secure));
            }
            if answered != Some(false) {
                let sent = ask(&client.borrow(), request);
                if answered.is_none() {
                    response = sent.await;
                    ahead.ended = Some((clock::monotonic(), response.is_ok()));
                } else {
                    drop(ahead);
                    response = sent.await;
                }
            }
        }
        let response = response.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        if status == 101 {
            return Err(TransportFault::Broken("another protocol, unasked".to_owned()));
        }
        let field = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
            (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))
        };
        let answer =
            Answer::new(status, response.headers().iter().map(field).collect(), Bytes::new());
        let announced = answer.header("content-length").and_then(|length| length.parse().ok());
        let body = self.bodies.read(announced, response).await?;
        Ok(Answer { body, ..answer })
    }
}

fn ask(client: &awc::Client, request: Request) -> awc::SendClientRequest {
    let sent = client.request(request.method, request.url);
    let fields = request.headers.into_iter();
    fields.fold(sent, awc::ClientRequest::insert_header).send_body(request.body)
}

/// The address as awc gets it, and whether TLS is to be spoken below.
fn below_tls(address: String) -> Result<(String, bool), TransportFault> {
    if !address.starts_with("https:") {
        return Ok((address, false));
    }
    let wrong = |cause: String| TransportFault::Connect(format!("{cause}: {address}"));
    let mut url = Url::parse(&address).map_err(|cause| wrong(cause.to_string()))?;
    let port = url.port_or_known_default();
    let changed = url.set_scheme("http").and_then(|()| url.set_port(port));
    changed.map_err(|()| wrong("no address of a server".to_owned()))?;
    Ok((url.into(), true))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else carries an error of the stream")]
fn is_stale(error: &SendRequestError) -> bool {
    let io = match error {
        SendRequestError::Send(io) | SendRequestError::Response(ParseError::Io(io)) => io,
        _ => return false,
    };
    io.get_ref().is_some_and(|cause| cause.is::<Stale>())
}

impl Transport for AwcTransport {
    async fn send(&self, request: Request, within: Duration) -> Result<Answer, TransportFault> {
        // What comes is foreign: should it bring a decoder down, that is a broken exchange.
        let exchange = AssertUnwindSafe(self.exchange(request)).catch_unwind();
        match tokio::time::timeout(within, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_panic)) => Err(TransportFault::Broken("its reader died".to_owned())),
            Err(_) => Err(TransportFault::Timeout),
        }
    }
}

fn client(wire: &Wire, log: &Logger, is_secure: bool) -> awc::Client {
    let dialler = Dialler::new(wire, log, is_secure);
    let connects = wire.connect_timeout.saturating_mul(2);
    let connector = awc::Connector::new()
        .connector(fn_service(move |info| dialler.clone().open(info)))
        .max_http_version(Version::HTTP_11)
        .timeout(wire.dns.timeout().saturating_add(connects).saturating_add(SLACK))
        .limit(wire.connections)
        .conn_keep_alive(KEEP_ALIVE)
        .conn_lifetime(LIFETIME);
    awc::Client::builder().connector(connector).disable_redirects().disable_timeout().finish()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is new is a broken exchange")]
fn fault(error: &SendRequestError) -> TransportFault {
    match error {
        SendRequestError::Timeout => TransportFault::Timeout,
        SendRequestError::Connect(cause) => no_connection(cause),
        SendRequestError::Url(cause) => TransportFault::Connect(cause.to_string()),
        other => TransportFault::Broken(other.to_string()),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is new is no connection")]
fn no_connection(cause: &ConnectError) -> TransportFault {
    match cause {
        ConnectError::Resolver(cause) => TransportFault::Name(cause.to_string()),
        other => TransportFault::Connect(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_spoken_below_and_keeps_its_port() {
        let rows = [
            ("http://a.test/x?y", "http://a.test/x?y", false),
            ("https://a.test/sync?x=%20", "http://a.test:443/sync?x=%20", true),
            ("https://a.test:8443/sync", "http://a.test:8443/sync", true),
            ("https://[::1]:80/sync", "http://[::1]/sync", true),
        ];
        for (address, below, is_secure) in rows {
            assert_eq!(below_tls(address.to_owned()), Ok((below.to_owned(), is_secure)));
        }
        assert!(below_tls("https://".to_owned()).is_err());
    }
}
