//! The AliExpress affiliate protocol: signatures, methods, shapes and error table.
//!
//! Owns: everything that is particular to AliExpress. Only `products` speaks its words too.

pub mod clock_drift;
pub mod errors;
pub mod faults;
pub mod methods;
pub mod protocol;
pub mod signature;
pub mod terms;
pub mod tracking;
pub mod wire;

pub use protocol::AliExpress;

/// The way to AliExpress.
pub type AliExpressClient = crate::origin::OriginClient<AliExpress>;
