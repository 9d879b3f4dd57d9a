//! The wire towards the upstream: one pooled HTTP client a thread.
//!
//! Owns: connections, their time-outs and the bound on a body. Refuses: bodies beyond
//! [`Wire::max_body`] and redirects (a moved gateway is configuration, not something to follow with
//! a signed request). Speaks HTTP/1.1 alone: a call that is cut ends its connection and touches no
//! other call. Whatever goes wrong is told as one of five faults; what it means is decided by
//! whoever asked.

mod body;
mod dial;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::fn_service;
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::HeaderMap;
use awc::http::{Version, header};
use body::Bodies;
use rustls::ClientConfig;
use slog::Logger;

use super::names::Names;
use super::{RawAnswer, SignedRequest};

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long any connection is kept, so that a changed name is noticed.
const LIFETIME: Duration = Duration::from_secs(600);
/// Beyond the bounds of its parts, when awc itself gives a connection up.
const SLACK: Duration = Duration::from_secs(1);

/// The bounds of the wire and what is shared by all clients.
#[derive(Debug, Clone)]
pub struct Wire {
    /// Longest time to connect once the name is known, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// Largest body that is read, in bytes. A page of 50 products is about 100 kB.
    pub max_body: usize,
    /// Connections at once; a call beyond them waits for one, within its own time.
    pub connections: usize,
    /// Names and their addresses.
    pub names: Names,
    /// Whom TLS trusts instead of the public authorities.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for Wire {
    /// As the settings are when nothing is set.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            max_body: 4 << 20,
            connections: 128,
            names: Names::of_the_system(Duration::from_secs(1)),
            tls: None,
        }
    }
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportFault {
    /// No address for the name.
    Name(String),
    /// No connection.
    Connect(String),
    /// Connected, but the exchange broke.
    Broken(String),
    /// Nothing, or not everything, in time.
    Timeout,
    /// The body is larger than so many bytes.
    TooLarge(usize),
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(cause) => write!(f, "cannot look up the name: {cause}"),
            Self::Connect(cause) => write!(f, "cannot connect: {cause}"),
            Self::Broken(cause) => write!(f, "exchange broke: {cause}"),
            Self::Timeout => f.write_str("no whole answer in time"),
            Self::TooLarge(limit) => write!(f, "body larger than {limit} bytes"),
        }
    }
}

impl std::error::Error for TransportFault {}

/// The client of one thread (awc's client cannot leave the thread it was built on).
pub(super) struct Transport {
    wire: Wire,
    log: Logger,
    client: RefCell<awc::Client>,
    bodies: Bodies,
}

impl Transport {
    /// A client with an empty pool.
    pub(super) fn new(wire: &Wire, log: &Logger) -> Self {
        Self {
            client: RefCell::new(client(wire, log)),
            bodies: Bodies::new(wire.max_body),
            wire: wire.clone(),
            log: log.clone(),
        }
    }

    /// Posts a signed request and reads the whole answer, all within `within`.
    pub(super) async fn exchange_within(
        &self,
        signed: SignedRequest,
        within: Duration,
    ) -> Result<RawAnswer, TransportFault> {
        tokio::time::timeout(within, self.exchange(signed))
            .await
            .unwrap_or(Err(TransportFault::Timeout))
    }

    async fn exchange(&self, signed: SignedRequest) -> Result<RawAnswer, TransportFault> {
        let request = self.client.borrow().post(signed.url);
        let response = request
            .content_type("application/x-www-form-urlencoded;charset=utf-8")
            .insert_header((header::ACCEPT, "application/json"))
            .send_body(signed.body)
            .await
            .map_err(|error| fault(&error))?;
        if let Some(cause) =
            unfinished(response.status().as_u16(), response.headers(), response.version())
        {
            // Its connection is in the pool again, and more of the answer will come on it, to
            // whoever calls next. What is idle goes with the pool; calls under way do not mind.
            self.client.replace(client(&self.wire, &self.log));
            return Err(TransportFault::Broken(cause));
        }
        let text = |name| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let content_type = text(header::CONTENT_TYPE);
        let date = text(header::DATE);
        let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let status = response.status().as_u16();
        let body = self.bodies.read(announced, response).await?;
        Ok(answer(status, content_type, date, body))
    }
}

fn client(wire: &Wire, log: &Logger) -> awc::Client {
    let (names, timeout, log) = (wire.names.clone(), wire.connect_timeout, log.clone());
    let most = wire.names.timeout().saturating_add(timeout).saturating_add(SLACK);
    let mut connector = awc::Connector::new()
        .connector(fn_service(move |info| dial::dial(names.clone(), timeout, log.clone(), info)))
        .max_http_version(Version::HTTP_11)
        .timeout(most)
        .handshake_timeout(timeout)
        .limit(wire.connections)
        .conn_keep_alive(KEEP_ALIVE)
        .conn_lifetime(LIFETIME);
    if let Some(tls) = &wire.tls {
        connector = connector.rustls_0_23(Arc::clone(tls));
    }
    awc::Client::builder().connector(connector).disable_redirects().disable_timeout().finish()
}

/// Why a head is not that of a whole answer as awc reads it: it takes an interim answer (1xx) for
/// the answer, and a body that lasts as long as the connection (RFC 9112, 6.3) for none.
fn unfinished(status: u16, headers: &HeaderMap, version: Version) -> Option<String> {
    if (100..200).contains(&status) {
        return Some(format!("interim answer {status}"));
    }
    let bodiless = matches!(status, 204 | 304);
    let told = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let unknown = version == Version::HTTP_11
        && !bodiless
        && !told.iter().any(|name| headers.contains_key(name));
    unknown.then(|| "answer of unknown length".to_owned())
}

fn answer(
    status: u16,
    content_type: Option<String>,
    date: Option<String>,
    body: bytes::Bytes,
) -> RawAnswer {
    let date = date.and_then(|date| super::http_date::parse(&date));
    let unset = crate::clock::Timestamp::default();
    RawAnswer { status, content_type, date, body, sent_at: unset, received_at: unset }
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
        // The time to connect is `dial`'s: what is left is the handshake.
        ConnectError::Timeout => TransportFault::Connect("no end of the TLS handshake".to_owned()),
        other => TransportFault::Connect(other.to_string()),
    }
}
