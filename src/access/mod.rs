//! Room: access. Who may come in.
//!
//! Owns: clients' keys beside the one of the settings, the lists of who is let past the limits and of
//! who is turned away, how often somebody may be wrong about the admin's key, and the record of what
//! admins did. Refuses: whoever is denied, whatever else he has; keys that are unknown, revoked,
//! expired or used from elsewhere, all in the same way; entries beyond the bounds. Knows no HTTP.
//! When the database or Redis is away everything goes on with what this process knows; what changed
//! is in force at once and owed to them.
//!
//! | question | file |
//! |---|---|
//! | what does every request read | [`snapshot`] |
//! | whose key is this | [`keys`] |
//! | which networks is an address in | `prefixes`, over `sharded` |
//! | what is known of whom, and which version counts | [`record`], [`stamp`], [`identifier`] |
//! | what is owed to whom | `book`, behind [`table`] |
//! | how do others hear of it | [`store`] (SQL), [`distribution`] (Redis) |
//! | who guesses the admin's key, what did admins do | [`guesses`], [`audit`] |
//!
//! # When is a change in force elsewhere
//!
//! On every worker of the process that made it: when the call returns. On instances that share a
//! Redis: as soon as both ends have looked at it, every [`POLL`], so within a second. On processes that
//! share a database file: likewise. While Redis is away instances differ, and agree as soon as it is
//! back, also when it comes back with older contents: it is told what it lost, and the later change of
//! a subject counts everywhere. Until then whoever is new knows only what it has. Whoever was away for
//! longer than [`record::GONE_FOR`] may bring back what others have forgotten was removed.

pub mod audit;
mod book;
mod debts;
pub mod distribution;
pub mod guesses;
pub mod identifier;
pub mod keys;
mod prefixes;
pub mod record;
mod sharded;
pub mod snapshot;
pub mod stamp;
pub mod store;
pub mod table;

use std::time::Duration;

pub use audit::Deed;
pub use book::{Bounds, Full, Heard};
pub use debts::Place;
pub use guesses::Guesses;
pub use identifier::Identifier;
pub use keys::{Held, PresentedKey, SecretDigest};
pub use record::{Entry, ListName, StoredKey, Subject};
pub use snapshot::Verdict;
pub use table::{Access, NotMade, Wanted};

/// How often stores are asked for what others changed.
pub const POLL: Duration = Duration::from_millis(250);
