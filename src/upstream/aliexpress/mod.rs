//! The AliExpress affiliate protocol: signatures, methods, shapes and error table.
//!
<<<<<<< HEAD
//! Owns: everything that is particular to AliExpress. Only `products` speaks its words too.

pub mod methods;
pub mod terms;
pub mod wire;
=======
//! Owns: everything that is particular to AliExpress. Nothing outside this folder knows it.

pub mod clock_drift;
pub mod errors;
pub mod protocol;
pub mod signature;

pub use protocol::{AliExpress, QUOTA_DAY_OFFSET};
>>>>>>> d6ec2a341519fdd62f5369f970b3b30b5bfd7807
