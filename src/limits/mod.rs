//! Room: limits. How many requests a client may send.
//!
//! Owns: the accounts of all clients and the decisions over them; the client address; which limits
//! apply; who is throttled for abuse. Which client holds which key is `access`' business. Refuses:
//! what is over a limit, and says when it would not be. Knows no HTTP: header values come in as bytes
//! and go out as text. When its actor is down, callers decide on the same table.
//!
//! | question | file |
//! |---|---|
//! | which limits apply to what and whom | [`class`], [`policy`] |
//! | how do bucket and window decide together | [`quota`] |
//! | where are the accounts, and what when there are too many | [`table`] |
//! | how do several instances keep the limits together | [`shared`], `account` |
//! | how much of them while the process is near its bounds | [`pressure`] |
//! | whose request is it | [`client`], [`principal`] |
//! | what is the client told | [`admission`], [`headers`] |
//! | who asks as no honest client would | [`abuse`] |
//! | who carries the question | [`actor`] |

pub mod abuse;
mod account;
pub mod actor;
pub mod admission;
pub mod class;
pub mod client;
pub mod headers;
pub mod policy;
pub mod pressure;
pub mod principal;
pub mod quota;
pub mod settings;
pub mod shared;
pub mod table;

pub use abuse::{Abuse, AbuseStatus};
pub use actor::{RateLimiterActor, RateLimiterParts};
pub use admission::{Admission, Admit, Decision, QuotaState, RuleKind, Verdict};
pub use class::{Class, PerClass};
pub use client::{ClientAddress, ForwardingHeaders, client_address, is_trusted};
pub use policy::Policies;
pub use pressure::Pressure;
pub use principal::{KeyId, Network, NotAKeyId, Principal};
pub use settings::{AbuseMode, AddressHeader, Limits};
pub use shared::{Answer, Counter, Question, Sharing, SharingStatus};
pub use table::{ClassStatus, Consultation, Table, TableStatus};
