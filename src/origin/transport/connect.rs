//! New connections to an upstream: name, address, TLS.
//!
//! Owns: their time-outs. A new connection tries the addresses of the name one after the other; one that
//! never answers leaves the others their share of the time. TLS is spoken here, below awc, so that what
//! comes out of it is read by [`UpstreamStream`]. When nobody answers, the caller is told which step it was.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_service::Service;
use actix_tls::connect::rustls_0_23::{TlsConnector, TlsConnectorService, webpki_roots_cert_store};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use rustls::ClientConfig;
use slog::{Logger, warn};

use super::Wire;
use super::stream::UpstreamStream;
use crate::clock;
use crate::origin::dns_cache::DnsCache;

/// Opens the connections of one client.
#[derive(Clone)]
pub(super) struct Dialler {
    dns: DnsCache,
    timeout: Duration,
    log: Logger,
    tls: Option<TlsConnectorService>,
}

impl Dialler {
    /// One that speaks TLS, or one that does not.
    pub(super) fn new(wire: &Wire, log: &Logger, is_secure: bool) -> Self {
        let config = || wire.tls.clone().unwrap_or_else(public_authorities);
        let tls = is_secure.then(|| TlsConnector::service(config()));
        Self { dns: wire.dns.clone(), timeout: wire.connect_timeout, log: log.clone(), tls }
    }

    /// Connects to the host of `info`.
    pub(super) async fn open(
        self,
        info: ConnectInfo<Uri>,
    ) -> Result<Connection<Uri, UpstreamStream>, ConnectError> {
        let host = info.hostname();
        let resolved = self.dns.resolve(host).await;
        let resolved = resolved.map_err(|fault| ConnectError::Resolver((*fault).into()))?;
        if let Some(fault) = &resolved.stale {
            warn!(self.log, "name of the upstream cannot be looked up, its last addresses are used";
                "host" => host, "reason" => %fault);
        }
        let stream = connect(&resolved.addresses, info.port(), self.timeout).await;
        let stream = stream.map_err(ConnectError::Io)?;
        let uri = info.request().clone();
        let Some(tls) = self.tls else {
            return Ok(Connection::new(uri, UpstreamStream::new(stream)));
        };
        let shaken = tokio::time::timeout(self.timeout, tls.call(Connection::new(uri, stream)));
        let silent = |_| io::Error::new(io::ErrorKind::TimedOut, "no end of the TLS handshake");
        let connection = shaken.await.map_err(silent).flatten().map_err(ConnectError::Io)?;
        let (stream, uri) = connection.into_parts();
        Ok(Connection::new(uri, UpstreamStream::new(stream)))
    }
}

fn public_authorities() -> Arc<ClientConfig> {
    let config = ClientConfig::builder().with_root_certificates(webpki_roots_cert_store());
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
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
mod tests {
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
