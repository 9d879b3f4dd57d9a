//! Room: limits. Who may ask, and how often.
//!
//! Owns: the accounts of all clients and what is decided over them; whose request it is (address);
//! which limits apply. Who holds which key is `access`' business. Refuses: what is over a limit, saying when it would not be. Knows no
//! HTTP: header values come in as bytes and go out as text. When its actor is down, callers go
//! around it ([`bypass()`]) on the same accounts.
//!
//! | question | file |
//! |---|---|
//! | how does a bucket, a window decide | [`token_bucket`], [`window`] |
//! | how do the two decide together | [`quota`] |
//! | which limits apply to what and whom | [`policy`] |
//! | how do several instances keep the limits together | [`shared`] |
//! | how much of them while the process is near its bounds | [`pressure`] |
//! | where is all that kept, and what when it is full | [`table`] |
//! | who is asking | [`client`], [`principal`] |
//! | what is the client told | [`admission`], [`headers`] |
//! | who asks as no honest client would | [`abuse`] |
//! | who carries the question | [`actor`], [`mod@bypass`] |

pub mod abuse;
pub mod actor;
pub mod admission;
pub mod bypass;
pub mod client;
pub mod headers;
pub mod policy;
pub mod pressure;
pub mod principal;
pub mod quota;
pub mod shared;
pub mod table;

pub use abuse::{Abuse, AbuseStatus};
pub use actor::{Admit, RateLimiterActor, RateLimiterParts};
pub use admission::{Admission, Decision, RuleKind, Standing};
pub use bypass::bypass;
pub use client::{ForwardingHeaders, Whence, client_address, is_trusted};
pub use policy::{Class, PerClass, Policies};
pub use principal::{KeyId, Network, NotAKeyId, Principal};
pub use shared::{Answer, Counter, Question, SharingStatus};
pub use table::{ClassStatus, Consultation, Table, TableSettings, TableStatus};
