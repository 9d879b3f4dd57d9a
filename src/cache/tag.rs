//! What an entry is about: products, categories, the operation that made it.
//!
//! Owns: the form of a tag's text and the number that stands for it in entries and tables. The number
//! is a hash that never changes, because entries outlive the process; two texts with one number
//! (1 in 2^64) would be invalidated together, which costs a refresh and nothing else.

use sha2::{Digest, Sha256};

/// Longest text of a tag, in bytes.
pub(super) const LONGEST: usize = 128;
/// Most tags of one entry; more are not kept. A full page of products has about a hundred.
pub(super) const MOST: usize = 256;

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
    named && valued && text.len() <= LONGEST
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let long = format!("product:{}", "1".repeat(LONGEST));
        for wrong in ["", "product", "product:", ":1", "Product:1", "product:1 2", "a:\n", &long] {
            assert!(!is_tag(wrong), "{wrong:?}");
        }
    }
}
