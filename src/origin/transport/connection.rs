//! One new connection: the name, then its addresses one after the other.
//!
//! Owns: how much of the time to connect each address gets. The look-up has a time-out of its own
//! (`dns_cache`), the TLS handshake another (`awc`). An address that never answers leaves the others
//! their share. When none answers, the last fault counts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use slog::{Logger, warn};

use crate::clock;
use crate::origin::dns_cache::DnsCache;

/// Connects to the host of `info`.
pub(super) async fn open(
    dns: DnsCache,
    timeout: Duration,
    log: Logger,
    info: ConnectInfo<Uri>,
) -> Result<Connection<Uri, TcpStream>, ConnectError> {
    let host = info.hostname();
    let resolved =
        dns.resolve(host).await.map_err(|fault| ConnectError::Resolver((*fault).into()))?;
    if let Some(fault) = &resolved.stale {
        warn!(log, "name of the upstream cannot be looked up, its last addresses are used";
            "host" => host, "reason" => %fault);
    }
    let stream = connect(&resolved.addresses, info.port(), timeout).await;
    Ok(Connection::new(info.request().clone(), stream.map_err(ConnectError::Io)?))
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
