//! The AliExpress affiliate protocol: signatures, methods, shapes and error table.
//!
//! Owns: everything that is particular to AliExpress. Nothing outside this folder knows it.
