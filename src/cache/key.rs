//! The name of a cached answer.
//!
//! Owns: the type and the hash. What goes into the hash is the caller's business: two requests that
//! mean the same must give the same parts, and no others may.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Bytes of the digest that are kept: 128 bits are beyond accidental collision.
const KEPT: usize = 16;

/// `{service}:{operation}:{hash}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
    /// Wraps a canonical key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// The key of what `parts` say, in this order.
    pub fn of<'a>(
        service: &str,
        operation: &str,
        parts: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length, so that no two lists of texts look the same.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let kept = hash.finalize().into_iter().take(KEPT);
        let number = kept.fold(0_u128, |number, byte| (number << 8) | u128::from(byte));
        Self::new(format!("{service}:{operation}:{number:032x}"))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_names_service_and_operation() {
        let key = CacheKey::of("things", "search", ["a"]);
        let parts: Vec<_> = key.as_str().split(':').collect();
        assert_eq!((parts[0], parts[1], parts[2].len()), ("things", "search", 32));
        assert!(parts[2].bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    proptest! {
        #[test]
        fn equal_keys_mean_equal_parts(a in prop::collection::vec("[ab]{0,2}", 0..4), b in prop::collection::vec("[ab]{0,2}", 0..4)) {
            let key = |parts: &[String]| CacheKey::of("s", "o", parts.iter().map(String::as_str));
            prop_assert_eq!(key(&a) == key(&b), a == b);
        }
    }
}
