//! The name of a cached answer, and what the answer is about.
//!
//! Owns: both types and their hashes. What goes into a key is the caller's business: two requests that
//! mean the same must give the same parts, and no others may. A tag names a product, a category, or the
//! operation that made the answer; its number never changes, because entries outlive the process. Two
//! tags with one number (1 in 2^64) are invalidated together, which costs a refresh and nothing else.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Bytes of the digest that are kept: 128 bits are beyond accidental collision.
const KEPT: usize = 16;

/// `{service}:{operation}:{hash}`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey(Arc<str>);

impl CacheKey {
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

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) const LONGEST_TAG: usize = 128;
/// Most tags of one entry; more are not kept. A full page of products has about a hundred.
pub(super) const MOST_TAGS: usize = 256;

/// One tag as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    /// The tag of a text such as `product:1005001`.
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        let number =
            digest.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        Self(number)
    }

    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub const fn number(self) -> u64 {
        self.0
    }
}

/// Whether `text` has the form of a tag: `word:value`, without white space or control characters.
pub(super) fn is_tag(text: &str) -> bool {
    let (word, value) = text.split_once(':').unwrap_or((text, ""));
    let named = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let valued = !value.is_empty() && !value.chars().any(|c| c.is_whitespace() || c.is_control());
    named && valued && text.len() <= LONGEST_TAG
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

    #[test]
    fn a_tags_number_never_changes() {
        assert_eq!(Tag::of("product:1005001"), Tag::of("product:1005001"));
        assert_ne!(Tag::of("product:1"), Tag::of("category:1"));
        assert_eq!(Tag::of("product:1").number(), FIRST);
    }

    /// Written into stored entries: if this changes, the version of the envelope must.
    const FIRST: u64 = 0x4e91_69c6_ab5a_8135;

    #[test]
    fn only_word_and_value_are_a_tag() {
        for fine in ["product:1", "category:7", "operation:search", "a_b:x:y"] {
            assert!(is_tag(fine), "{fine}");
        }
        let long = format!("product:{}", "1".repeat(LONGEST_TAG));
        for wrong in ["", "product", "product:", ":1", "Product:1", "product:1 2", "a:\n", &long] {
            assert!(!is_tag(wrong), "{wrong:?}");
        }
    }
}
