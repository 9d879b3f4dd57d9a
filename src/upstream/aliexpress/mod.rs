//! The AliExpress affiliate protocol: signatures, methods, shapes and error table.
//!
//! Owns: everything that is particular to AliExpress. Nothing outside this folder knows it.

pub mod clock_drift;
pub mod errors;
pub mod protocol;
pub mod signature;

pub use protocol::{AliExpress, QUOTA_DAY_OFFSET};
