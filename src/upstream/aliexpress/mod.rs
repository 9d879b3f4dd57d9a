//! The AliExpress affiliate protocol: signatures, methods, shapes and error table.
//!
//! Owns: everything that is particular to AliExpress. Only `products` speaks its words too.

pub mod methods;
pub mod terms;
pub mod wire;
