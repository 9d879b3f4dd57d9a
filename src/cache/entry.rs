//! One cached answer and the form in which every tier outside memory keeps it.
//!
//! Owns: the envelope (magic, version, checksum, key, times, body). Refuses: anything that is cut,
//! altered, of another version or stored under another key; that is a miss, never an error.
//!
//! ```text
//!  "BWE" version:u8 │ crc32:u32 of what follows │ stored, fresh, stale: i64 ms │ flags:u8
//!  │ key length:u16 │ key │ body            (integers little-endian)
//! ```

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::key::CacheKey;
use crate::clock::Timestamp;

const MAGIC: &[u8; 4] = b"BWE\x01";
const NEGATIVE: u8 = 1;
const CHECKED_FROM: usize = 8;
const FIXED: usize = 8 + 3 * 8 + 1 + 2;

/// One cached answer: serialised data and its times.
#[derive(Debug)]
pub struct Entry {
    /// Serialised data, written into answers as it is.
    pub body: Bytes,
    /// When it was loaded.
    pub stored_at: Timestamp,
    /// Served without asking until then.
    pub fresh_until: Timestamp,
    /// Usable until then.
    pub stale_until: Timestamp,
    /// Says that there is nothing.
    pub negative: bool,
    /// After a failed refresh: no other before then (milliseconds). Known to this process only.
    refresh_from: AtomicI64,
}

/// Why stored bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Not written by this version of Breakwater.
    Foreign,
    /// Cut or altered.
    Corrupt,
    /// An entry, but of another key.
    WrongKey,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "not an entry of this version",
            Self::Corrupt => "checksum does not match",
            Self::WrongKey => "stored under another key",
        })
    }
}

impl Entry {
    /// An entry from its parts.
    #[must_use]
    pub const fn new(
        body: Bytes,
        stored_at: Timestamp,
        fresh_until: Timestamp,
        stale_until: Timestamp,
        negative: bool,
    ) -> Self {
        let refresh_from = AtomicI64::new(0);
        Self { body, stored_at, fresh_until, stale_until, negative, refresh_from }
    }

    /// Whether a refresh may be tried at `now`.
    #[must_use]
    pub fn may_refresh(&self, now: Timestamp) -> bool {
        self.refresh_from.load(Ordering::Relaxed) <= now.as_millis()
    }

    /// Holds refreshes back until `then`.
    pub fn hold_refresh(&self, then: Timestamp) {
        self.refresh_from.store(then.as_millis(), Ordering::Relaxed);
    }

    /// The stored form under `key`.
    #[must_use]
    pub fn encode(&self, key: &CacheKey) -> Bytes {
        let name = key.as_str().as_bytes();
        let name = name.get(..usize::from(u16::MAX)).unwrap_or(name);
        let mut bytes = BytesMut::with_capacity(FIXED + name.len() + self.body.len());
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(0);
        for time in [self.stored_at, self.fresh_until, self.stale_until] {
            bytes.put_i64_le(time.as_millis());
        }
        bytes.put_u8(if self.negative { NEGATIVE } else { 0 });
        bytes.put_u16_le(u16::try_from(name.len()).unwrap_or(u16::MAX));
        bytes.put_slice(name);
        bytes.put_slice(&self.body);
        let checksum = crc32fast::hash(bytes.get(CHECKED_FROM..).unwrap_or_default());
        if let Some(place) = bytes.get_mut(MAGIC.len()..CHECKED_FROM) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        bytes.freeze()
    }

    /// Reads the stored form found under `key`.
    ///
    /// # Errors
    /// The bytes are no entry of this key.
    pub fn decode(mut bytes: Bytes, key: &CacheKey) -> Result<Self, Malformed> {
        if bytes.len() < FIXED || !bytes.starts_with(MAGIC) {
            return Err(Malformed::Foreign);
        }
        bytes.advance(MAGIC.len());
        let checksum = bytes.get_u32_le();
        if crc32fast::hash(&bytes) != checksum {
            return Err(Malformed::Corrupt);
        }
        let mut time = || Timestamp::from_millis(bytes.get_i64_le());
        let (stored_at, fresh_until, stale_until) = (time(), time(), time());
        let negative = bytes.get_u8() & NEGATIVE != 0;
        let length = usize::from(bytes.get_u16_le());
        if bytes.len() < length {
            return Err(Malformed::Corrupt);
        }
        if bytes.split_to(length) != key.as_str().as_bytes() {
            return Err(Malformed::WrongKey);
        }
        Ok(Self::new(bytes, stored_at, fresh_until, stale_until, negative))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(body: Vec<u8>, negative: bool) -> Entry {
        let at = Timestamp::from_millis;
        Entry::new(body.into(), at(1), at(2), at(3), negative)
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(body: Vec<u8>, negative: bool, name in "[a-z:0-9]{1,60}") {
            let key = CacheKey::new(name);
            let back = Entry::decode(entry(body.clone(), negative).encode(&key), &key).unwrap();
            prop_assert_eq!(&back.body[..], &body[..]);
            prop_assert_eq!(back.negative, negative);
            prop_assert_eq!(back.stale_until.as_millis(), 3);
        }

        #[test]
        fn any_flipped_bit_is_noticed(body: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let key = CacheKey::new("a:b:c");
            let mut bytes = entry(body, false).encode(&key).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Entry::decode(bytes.into(), &key).is_err());
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            prop_assert!(Entry::decode(bytes.into(), &CacheKey::new("k")).is_err());
        }
    }

    #[test]
    fn another_keys_entry_is_not_mine() {
        let bytes = entry(vec![1], false).encode(&CacheKey::new("mine"));
        assert_eq!(Entry::decode(bytes, &CacheKey::new("yours")).err(), Some(Malformed::WrongKey));
    }
}
