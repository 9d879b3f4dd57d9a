//! Room: limits. How many requests a client may send.
//!
//! Owns: the accounts of all clients and the decisions over them; the client address; which limits
//! apply; who is throttled for abuse. Which client holds which key is `access`' business. Refuses:
//! what is over a limit, and says when it would not be. Knows no HTTP: header values come in as bytes
//! and numbers go out. When its actor is down, callers decide on the same table.
//!
//! | question | file |
//! |---|---|
//! | which limits apply to what and whom | [`policy`] |
//! | how do bucket and window decide together | [`quota`] |
//! | where are the accounts, and what when there are too many | [`table`] |
//! | how do several instances keep the limits together | [`shared`], `account` |
//! | how much of them while the process is near its bounds | [`pressure`] |
//! | whose request is it | [`client`] |
//! | what is asked and answered | [`admission`] |
//! | who asks as no honest client would | [`abuse`] |
//! | who carries the question | [`actor`] |

pub mod abuse;
mod account;
pub mod actor;
pub mod admission;
pub mod client;
pub mod open_routes;
pub mod policy;
pub mod pressure;
pub mod quota;
pub mod settings;
pub mod shared;
pub mod table;

pub use abuse::{Abuse, AbuseStatus};
pub use actor::RateLimiterActor;
pub use admission::{
    Admission, Admit, Class, Decision, LimitResult, PerClass, QuotaState, RuleKind,
    retry_after_seconds, seconds_up,
};
pub use client::{
    ClientAddress, ForwardingHeaders, KeyId, Network, NotAKeyId, Principal, client_address,
    is_trusted,
};
pub use open_routes::{OpenOfWorker, OpenRoutes, TooOften};
pub use policy::Policies;
pub use pressure::Pressure;
pub use settings::{AbuseMode, AddressHeader, Limits};
pub use shared::{Counter, SharedAdmit, Sharing, SharingStatus};
pub use table::{Table, TableStatus};
