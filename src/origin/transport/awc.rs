//! The awc transport: one pooled HTTP client a thread.
//!
//! Owns: connections and their time-outs. A new connection tries the addresses of the name one after
//! the other; one that never answers leaves the others their share of the time. Refuses: bodies beyond
//! [`Wire::max_body`] and redirects (a moved upstream is configuration, not something to follow with a
//! signed request). Speaks HTTP/1.1 alone: a call that is cut ends its connection and touches no other
//! call.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_tls::connect::{ConnectError as DialError, ConnectInfo, Connection};
use actix_web::dev::fn_service;
use awc::error::{ConnectError, SendRequestError};
use awc::http::header::HeaderMap;
use awc::http::{Uri, Version, header};
use bytes::Bytes;
use slog::{Logger, warn};

use super::body::Bodies;
use super::{Transport, TransportFault, Wire};
use crate::clock;
use crate::origin::dns_cache::DnsCache;
use crate::origin::{Answer, Request};

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long any connection is kept, so that a changed name is noticed.
const LIFETIME: Duration = Duration::from_secs(600);
/// Beyond the bounds of its parts, when awc itself gives a connection up.
const SLACK: Duration = Duration::from_secs(1);

/// The client of one thread (awc's client cannot leave the thread it was built on).
pub struct AwcTransport {
    wire: Wire,
    log: Logger,
    client: RefCell<awc::Client>,
    bodies: Bodies,
}

impl AwcTransport {
    /// A client with an empty pool.
    pub fn new(wire: &Wire, log: &Logger) -> Self {
        Self {
            client: RefCell::new(client(wire, log)),
            bodies: Bodies::new(wire.max_body),
            wire: wire.clone(),
            log: log.clone(),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Answer, TransportFault> {
        let mut sent = self.client.borrow().request(request.method, request.url);
        for field in request.headers {
            sent = sent.insert_header(field);
        }
        let response = sent.send_body(request.body).await.map_err(|error| fault(&error))?;
        let status = response.status().as_u16();
        if let Some(cause) = unfinished(status, response.headers(), response.version()) {
            // Its connection is in the pool again, and more of the answer will come on it, for the
            // next call. What is idle goes with the pool; calls under way do not mind.
            self.client.replace(client(&self.wire, &self.log));
            return Err(TransportFault::Broken(cause));
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

impl Transport for AwcTransport {
    async fn send(&self, request: Request, within: Duration) -> Result<Answer, TransportFault> {
        tokio::time::timeout(within, self.exchange(request))
            .await
            .unwrap_or(Err(TransportFault::Timeout))
    }
}

fn client(wire: &Wire, log: &Logger) -> awc::Client {
    let (dns, timeout, log) = (wire.dns.clone(), wire.connect_timeout, log.clone());
    let most = wire.dns.timeout().saturating_add(timeout).saturating_add(SLACK);
    let mut connector = awc::Connector::new()
        .connector(fn_service(move |info| open(dns.clone(), timeout, log.clone(), info)))
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
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let unknown = version == Version::HTTP_11
        && !bodiless
        && !framing.iter().any(|name| headers.contains_key(name));
    unknown.then(|| "answer of unknown length".to_owned())
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
        // The time to connect is that of `connection`: what is left is the handshake.
        ConnectError::Timeout => TransportFault::Connect("no end of the TLS handshake".to_owned()),
        other => TransportFault::Connect(other.to_string()),
    }
}

/// Connects to the host of `info`.
async fn open(
    dns: DnsCache,
    timeout: Duration,
    log: Logger,
    info: ConnectInfo<Uri>,
) -> Result<Connection<Uri, TcpStream>, DialError> {
    let host = info.hostname();
    let resolved = dns.resolve(host).await.map_err(|fault| DialError::Resolver((*fault).into()))?;
    if let Some(fault) = &resolved.stale {
        warn!(log, "name of the upstream cannot be looked up, its last addresses are used";
            "host" => host, "reason" => %fault);
    }
    let stream = connect(&resolved.addresses, info.port(), timeout).await;
    Ok(Connection::new(info.request().clone(), stream.map_err(DialError::Io)?))
}

/// The first of the addresses that answers, all within `timeout`.
async fn connect(addresses: &[IpAddr], port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = clock::monotonic() + timeout;
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(clock::monotonic());
        let within = share(left, addresses.len().saturating_sub(tried));
        let address = SocketAddr::new(*address, port);
        match tokio::time::timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A request is one small write that nothing follows.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(silent(within)),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::other("the name has no address")))
}

/// Of the time left, what the next of so many addresses gets.
fn share(left: Duration, addresses: usize) -> Duration {
    left / u32::try_from(addresses.max(1)).unwrap_or(u32::MAX)
}

fn silent(within: Duration) -> io::Error {
    let cause = format!("no connection within {} ms", within.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, cause)
}

#[cfg(test)]
mod connection_tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_address_has_its_share() {
        assert_eq!(share(SECOND, 4), SECOND / 4);
        assert_eq!(share(SECOND / 4, 1), SECOND / 4, "the last one has what is left");
        assert_eq!(share(SECOND, 0), SECOND);
    }

    #[actix_rt::test]
    async fn the_next_address_is_tried() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nobody listens at the first one.
        let addresses = ["127.0.0.9", "127.0.0.1"].map(|address| address.parse().unwrap());
        let stream = connect(&addresses, port, SECOND).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().ip(), addresses[1]);
        let refused = connect(&addresses[..1], port, SECOND).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
