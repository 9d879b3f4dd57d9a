//! Keys: how they look, what is kept of them, and whose a presented one is.
//!
//! Owns: nothing beside its parts. Which keys there are is the snapshot's business.

mod ring;
mod secret;
#[cfg(test)]
mod tests;

pub use ring::{Held, KeyRing, PresentedKey};
pub use secret::{NewKey, NoRandomness, SecretDigest};
