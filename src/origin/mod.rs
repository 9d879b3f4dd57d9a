//! Everything about calling the upstream: what to send, when, how often, and what an answer means.
//!
//! Owns: outcomes, accounts, pacing, retry, its budget and `ApiClientActor`.
//! Knows no particular upstream: [`Protocol`] says how a request is signed and an answer read;
//! AliExpress lives in [`aliexpress`] alone. When the upstream is down, callers get a typed
//! failure at once; what to serve instead is theirs to decide.

pub mod accounts;
pub mod actor;
pub mod budget;
pub mod call;
pub mod crowd;
pub mod edge;
pub mod http_date;
pub mod names;
pub mod outcome;
pub mod pacing;
pub mod patience;
mod reading;
pub mod remembered;
pub mod retry;
pub mod standing;
pub mod tables;
pub mod transport;
mod verdict;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::clock::Timestamp;
pub use outcome::{Misconfiguration, Outcome};

/// For whom a call is made: who goes first when the upstream takes only so much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A client waits.
    #[default]
    Client,
    /// Nobody waits: what is served already is renewed.
    Refresh,
    /// Nobody asked yet.
    Warming,
}

impl Priority {
    /// The priority's name in labels and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Refresh => "refresh",
            Self::Warming => "warming",
        }
    }
}

/// One question to the upstream: a method and its own parameters, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Full method name, for example `aliexpress.affiliate.product.query`.
    pub method: &'static str,
    /// The method's parameters; empty values are not sent.
    pub params: BTreeMap<&'static str, String>,
}

/// A signed request, ready for the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// Address to POST to.
    pub url: String,
    /// Body, `application/x-www-form-urlencoded;charset=utf-8`.
    pub body: String,
}

/// What came back over the wire, before it means anything.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// Content type as sent, if any.
    pub content_type: Option<String>,
    /// The whole body, already bounded in size.
    pub body: Bytes,
    /// Our clock when the request was signed.
    pub sent_at: Timestamp,
    /// Our clock when the answer was complete.
    pub received_at: Timestamp,
    /// The upstream's clock, from the `Date` header ([`http_date::parse`]).
    pub date: Option<Timestamp>,
}

/// The upstream's own language.
pub trait Protocol: Send + Sync + 'static {
    /// Signs `request` as of `now`, anew for every attempt.
    fn sign(&self, request: &Request, now: Timestamp) -> SignedRequest;

    /// Says what an answer means. Never panics, whatever the bytes are.
    fn interpret(&self, request: &Request, answer: &RawAnswer) -> Outcome<Value>;

    /// The question to ask before `outcome` is believed; `None`: it can be believed as it is.
    fn doubt(&self, _request: &Request, _outcome: &Outcome<Value>) -> Option<Request> {
        None
    }

    /// What a doubted `outcome` means, now that the `question` was answered with `told`.
    fn resolve(
        &self,
        _question: &Request,
        outcome: Outcome<Value>,
        _told: &Outcome<Value>,
    ) -> Outcome<Value> {
        outcome
    }

    /// Which account it speaks for: the same text after every restart, another one for another
    /// account, fit for logs and files because it is never the account's key. What is remembered of
    /// one account is not applied to another by it. An upstream that knows no accounts has one.
    fn account(&self) -> &str {
        "only"
    }

    /// What an operator has to do about a fault of the configuration, naming the setting.
    fn advice(&self, what: Misconfiguration) -> &'static str {
        what.as_str()
    }
}
