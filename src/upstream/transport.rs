//! The wire towards the upstream: one pooled HTTP client a thread.
//!
//! Owns: connections, their time-outs and the bound on a body. Refuses: bodies beyond
//! [`BODY_LIMIT`] and redirects (a moved gateway is configuration, not something to follow with a
//! signed request). Whatever goes wrong is told as one of four faults; what it means is decided by
//! whoever asked.

use std::fmt;
use std::time::Duration;

use awc::error::{PayloadError, SendRequestError};
use awc::http::header;

use super::{RawAnswer, SignedRequest};

/// Largest body that is read. A page of 50 products is about 100 kB.
pub const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// Connections at once; pacing and breaker bound the calls long before.
const CONNECTIONS: usize = 128;
/// Longest time to connect, name look-up and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How long any connection is kept, so that a changed name is noticed.
const LIFETIME: Duration = Duration::from_secs(600);

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportFault {
    /// No connection.
    Connect(String),
    /// Connected, but the exchange broke.
    Broken(String),
    /// Nothing, or not everything, in time.
    Timeout,
    /// The body is larger than [`BODY_LIMIT`].
    TooLarge,
}

impl fmt::Display for TransportFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => write!(f, "cannot connect: {cause}"),
            Self::Broken(cause) => write!(f, "exchange broke: {cause}"),
            Self::Timeout => f.write_str("no whole answer in time"),
            Self::TooLarge => write!(f, "body larger than {BODY_LIMIT} bytes"),
        }
    }
}

impl std::error::Error for TransportFault {}

/// The client of one thread (awc's client cannot leave the thread it was built on).
pub(super) struct Transport {
    client: awc::Client,
}

impl Transport {
    /// A client with an empty pool.
    pub(super) fn new() -> Self {
        let connector = awc::Connector::new()
            .timeout(CONNECT_TIMEOUT)
            .handshake_timeout(CONNECT_TIMEOUT)
            .limit(CONNECTIONS)
            .conn_keep_alive(KEEP_ALIVE)
            .conn_lifetime(LIFETIME);
        let client =
            awc::Client::builder().connector(connector).disable_redirects().disable_timeout();
        Self { client: client.finish() }
    }

    /// Posts a signed request and reads the whole answer, all within `within`.
    pub(super) async fn post(
        &self,
        signed: SignedRequest,
        within: Duration,
    ) -> Result<RawAnswer, TransportFault> {
        tokio::time::timeout(within, self.exchange(signed))
            .await
            .unwrap_or(Err(TransportFault::Timeout))
    }

    async fn exchange(&self, signed: SignedRequest) -> Result<RawAnswer, TransportFault> {
        let mut response = self
            .client
            .post(signed.url)
            .content_type("application/x-www-form-urlencoded;charset=utf-8")
            .insert_header((header::ACCEPT, "application/json"))
            .send_body(signed.body)
            .await
            .map_err(|error| fault(&error))?;
        let text = |name| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let content_type = text(header::CONTENT_TYPE);
        let date = text(header::DATE);
        let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let status = response.status().as_u16();
        let body = response.body().limit(BODY_LIMIT).await.map_err(|error| {
            if matches!(error, PayloadError::Overflow) {
                return TransportFault::TooLarge;
            }
            TransportFault::Broken(error.to_string())
        })?;
        // awc takes the end of the connection for the end of the body.
        if announced.is_some_and(|announced: usize| body.len() < announced) {
            let cut = format!("body ended after {} bytes", body.len());
            return Err(TransportFault::Broken(cut));
        }
        Ok(answer(status, content_type, date, body))
    }
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
        SendRequestError::Connect(cause) => TransportFault::Connect(cause.to_string()),
        SendRequestError::Url(cause) => TransportFault::Connect(cause.to_string()),
        other => TransportFault::Broken(other.to_string()),
    }
}
