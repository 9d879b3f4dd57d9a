//! The AliExpress affiliate protocol: signatures, envelope, error table and records.
//!
//! Owns: everything that is particular to AliExpress, but for its methods, which the endpoints own.

mod answer;
mod character_references;
pub mod clock_drift;
mod errors;
pub mod faults;
pub mod protocol;
pub mod read;
pub mod records;
pub mod repair;
pub mod request;
pub mod signature;
pub mod terms;
pub mod tracking;

pub use answer::Found;
pub use protocol::AliExpress;
pub use repair::Repairs;
pub use request::{Method, Request, Target};

/// The way to AliExpress.
pub type AliExpressClient = crate::origin::OriginClient<AliExpress>;
