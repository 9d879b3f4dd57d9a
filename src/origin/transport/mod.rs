//! How requests reach an upstream: the trait, its bounds and its faults.
//!
//! Owns: [`Transport`] and what goes wrong on the way, as one of five faults; what a fault means
//! is decided by the call. awc is the first transport.

mod awc;
mod body;
mod connect;
mod stream;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

pub use self::awc::AwcTransport;
use super::dns_cache::DnsCache;
use super::{Answer, Request};
use crate::clock::{self, Timestamp};

/// The world, as a call sees it: what the wire brings, what a wall clock shows, and chance. With
/// another transport, and tokio's clock paused, the same call runs in virtual time.
pub trait Transport {
    /// Sends a request; the whole answer comes within `within`, or a fault.
    fn send(
        &self,
        request: Request,
        within: Duration,
    ) -> impl Future<Output = Result<Answer, TransportFault>>;

    fn wall(&self) -> Timestamp {
        clock::now()
    }

    /// A number between 0 and 1, evenly.
    fn chance(&self) -> f64 {
        fastrand::f64()
    }

    /// Any number.
    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

/// The bounds of the wire and what is shared by all clients.
#[derive(Clone)]
pub struct Wire {
    /// Longest time to connect once the name is known, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// Largest body that is read, in bytes.
    pub max_body: usize,
    /// Connections at once; a call beyond them waits for one, within its own time.
    pub connections: usize,
    pub dns: DnsCache,
    /// Whom TLS trusts instead of the public authorities.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            max_body: 4 << 20,
            connections: 128,
            dns: DnsCache::of_the_system(Duration::from_secs(1)),
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
