//! The services behind the core: one folder each.
//!
//! Owns: what is asked for, and what becomes of an answer. A service uses the core (`cache`,
//! `origin`, `http`); the core names no service, and `app` hands the list to it.

pub mod products;
