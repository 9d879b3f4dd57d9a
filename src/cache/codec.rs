//! The form in which tiers outside memory keep an entry.
//!
//! Owns: writing and reading it. Bytes that are cut, altered, of an unknown version or stored under
//! another key are a miss, never an error.
//!
//! ```text
//!  "BWE" version:u8 │ crc32:u32 of version and what follows │ stored, fresh, revalidate, stale: i64 ms
//!  │ flags:u8 │ number of tags:u16 │ tags: u64 each │ key
//!  │ content type │ number of fields:u8 │ name and value of each │ body
//!  (integers little-endian; key, content type, names and values have their length before them: u16)
//! ```

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::entry::{Entry, JSON, Representation, Times};
use super::key::{CacheKey, MOST_TAGS, Tag};
use crate::clock::Timestamp;

const NAME: &[u8; 3] = b"BWE";
const VERSION: u8 = 3;
/// That of the release before: the body came straight after the key.
const ONLY_JSON: u8 = 2;
const NEGATIVE: u8 = 1;
/// Name, version and checksum.
const HEAD: usize = 8;
/// The shortest entry: head, times, flags, number of tags, length of the key.
const SHORTEST: usize = HEAD + 4 * 8 + 1 + 2 + 2;

/// So many bytes hold all that stands before the representation, of keys that are no longer than they are.
pub(super) const BEGINNING: usize = SHORTEST + 8 * MOST_TAGS + 512;

/// Why stored bytes are not an entry.
const FOREIGN: &str = "not an entry of this version";
const CORRUPT: &str = "checksum does not match";
const WRONG_KEY: &str = "stored under another key";

impl Entry {
    pub fn encode(&self, key: &CacheKey) -> Bytes {
        let Representation { body, content_type, fields } = &self.representation;
        let lengths = 2 * (1 + 2 * fields.len()) + 1;
        let size = SHORTEST + 8 * self.tags.len() + key.as_str().len() + lengths;
        let mut bytes = BytesMut::with_capacity(size + self.representation.size());
        bytes.put_slice(NAME);
        bytes.put_u8(VERSION);
        bytes.put_u32_le(0);
        let Times { stored_at, fresh_until, revalidate_until, stale_until } = self.times;
        for time in [stored_at, fresh_until, revalidate_until, stale_until] {
            bytes.put_i64_le(time.as_millis());
        }
        bytes.put_u8(if self.negative { NEGATIVE } else { 0 });
        bytes.put_u16_le(u16::try_from(self.tags.len()).unwrap_or(0));
        self.tags.iter().for_each(|tag| bytes.put_u64_le(tag.number()));
        put(&mut bytes, key.as_str().as_bytes());
        put(&mut bytes, content_type.as_bytes());
        bytes.put_u8(u8::try_from(fields.len()).unwrap_or(0));
        for (name, value) in fields.iter().take(u8::MAX.into()) {
            put(&mut bytes, name.as_bytes());
            put(&mut bytes, value);
        }
        bytes.put_slice(body);
        let checksum = checksum(VERSION, bytes.get(HEAD..).unwrap_or_default());
        if let Some(place) = bytes.get_mut(4..HEAD) {
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        bytes.freeze()
    }

    pub fn decode(mut bytes: Bytes, key: &CacheKey) -> Result<Self, &'static str> {
        let version = version(&mut bytes)?;
        if bytes.get_u32_le() != checksum(version, &bytes) {
            return Err(CORRUPT);
        }
        let mut entry = bodiless(&mut bytes, key)?;
        entry.representation = match version {
            ONLY_JSON => Representation::json(bytes),
            _ => representation(bytes)?,
        };
        Ok(entry)
    }

    /// What the first [`BEGINNING`] bytes of a stored entry say, unchecked: times and tags, no body.
    pub(super) fn decode_beginning(mut bytes: Bytes, key: &CacheKey) -> Result<Self, &'static str> {
        version(&mut bytes)?;
        bytes.advance(HEAD - NAME.len() - 1);
        bodiless(&mut bytes, key)
    }
}

/// Reads name and version of what is long enough to have all that follows up to the key.
fn version(bytes: &mut Bytes) -> Result<u8, &'static str> {
    if bytes.len() < SHORTEST || !bytes.starts_with(NAME) {
        return Err(FOREIGN);
    }
    bytes.advance(NAME.len());
    let version = bytes.get_u8();
    if version == VERSION || version == ONLY_JSON { Ok(version) } else { Err(FOREIGN) }
}

/// Reads what stands between the checksum and the representation.
fn bodiless(bytes: &mut Bytes, key: &CacheKey) -> Result<Entry, &'static str> {
    let mut time = || Timestamp::from_millis(bytes.get_i64_le());
    let times = Times {
        stored_at: time(),
        fresh_until: time(),
        revalidate_until: time(),
        stale_until: time(),
    };
    let negative = bytes.get_u8() & NEGATIVE != 0;
    let count = usize::from(bytes.get_u16_le());
    if bytes.len() < 8 * count {
        return Err(CORRUPT);
    }
    let tags = (0..count).map(|_| Tag::from_number(bytes.get_u64_le())).collect();
    if take(bytes)? != key.as_str().as_bytes() {
        return Err(WRONG_KEY);
    }
    Ok(Entry::new(Representation::json(Bytes::new()), times, negative, tags))
}

/// Of the rest and of the version, which version 2 left out.
fn checksum(version: u8, rest: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    if version != ONLY_JSON {
        checksum.update(&[version]);
    }
    checksum.update(rest);
    checksum.finalize()
}

fn representation(mut bytes: Bytes) -> Result<Representation, &'static str> {
    let content_type = text(take(&mut bytes)?)?;
    let content_type = if content_type == JSON { JSON } else { Cow::Owned(content_type) };
    let count = bytes.try_get_u8().map_err(|_| CORRUPT)?;
    let mut fields = Vec::with_capacity(count.into());
    for _ in 0..count {
        // Copied: a slice would keep the whole entry in memory with it.
        fields.push((text(take(&mut bytes)?)?, Bytes::copy_from_slice(&take(&mut bytes)?)));
    }
    Ok(Representation { body: bytes, content_type, fields })
}

fn put(bytes: &mut BytesMut, part: &[u8]) {
    let part = part.get(..usize::from(u16::MAX)).unwrap_or(part);
    bytes.put_u16_le(u16::try_from(part.len()).unwrap_or(u16::MAX));
    bytes.put_slice(part);
}

fn take(bytes: &mut Bytes) -> Result<Bytes, &'static str> {
    let length = bytes.try_get_u16_le().map_err(|_| CORRUPT)?.into();
    if bytes.len() < length { Err(CORRUPT) } else { Ok(bytes.split_to(length)) }
}

fn text(bytes: Bytes) -> Result<String, &'static str> {
    String::from_utf8(bytes.into()).map_err(|_| CORRUPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(representation: Representation, negative: bool, tags: &[u64]) -> Entry {
        let at = Timestamp::from_millis;
        let times = Times {
            stored_at: at(1),
            fresh_until: at(2),
            revalidate_until: at(3),
            stale_until: at(4),
        };
        let tags = tags.iter().map(|number| Tag::from_number(*number)).collect();
        Entry::new(representation, times, negative, tags)
    }

    fn of(body: &[u8]) -> Entry {
        entry(Representation::json(Bytes::copy_from_slice(body)), false, &[7])
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(
            body: Vec<u8>, negative: bool, name in "[a-z:0-9]{1,60}",
            kind in "application/json|image/webp|[a-z/]{0,20}",
            fields in prop::collection::vec(("[a-z-]{1,9}", any::<Vec<u8>>()), 0..6),
            tags in prop::collection::vec(any::<u64>(), 0..20),
        ) {
            let key = CacheKey::new(name);
            let fields = fields.into_iter().map(|(name, value)| (name, value.into())).collect();
            let held = Representation { body: body.into(), content_type: kind.into(), fields };
            let before = entry(held, negative, &tags);
            let back = Entry::decode(before.encode(&key), &key).unwrap();
            prop_assert_eq!(&back.representation, &before.representation);
            prop_assert_eq!((back.negative, back.times), (negative, before.times));
            prop_assert_eq!(&back.tags, &before.tags);
            let mut beginning = before.encode(&key);
            beginning.truncate(BEGINNING);
            let told = Entry::decode_beginning(beginning, &key).unwrap();
            prop_assert_eq!((told.times, told.tags), (before.times, before.tags));
        }

        #[test]
        fn any_flipped_bit_is_noticed(body: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let key = CacheKey::new("a:b:c");
            let mut bytes = of(&body).encode(&key).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Entry::decode(bytes.into(), &key).is_err());
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            prop_assert!(Entry::decode(bytes.clone().into(), &CacheKey::new("k")).is_err());
            prop_assert!(Entry::decode_beginning(bytes.into(), &CacheKey::new("k")).is_err());
        }

        /// A checksum that is right does not make the rest so.
        #[test]
        fn any_checked_bytes_are_safe(rest: Vec<u8>, version in ONLY_JSON..=VERSION) {
            let mut bytes = NAME.to_vec();
            bytes.push(version);
            bytes.extend(checksum(version, &rest).to_le_bytes());
            bytes.extend(&rest);
            drop(Entry::decode(bytes.into(), &CacheKey::new("k")));
        }
    }

    #[test]
    fn another_keys_entry_is_not_mine() {
        let bytes = of(&[1]).encode(&CacheKey::new("mine"));
        assert_eq!(Entry::decode(bytes, &CacheKey::new("yours")).err(), Some(WRONG_KEY));
    }

    #[test]
    fn entries_of_the_release_before_are_read_and_other_versions_are_not() {
        let key = CacheKey::new("a:b:c");
        let mut rest = of(b"{}").encode(&key).split_off(HEAD).to_vec();
        let added = 2 + JSON.len() + 1;
        let begin = rest.len() - added - 2;
        rest.drain(begin..begin + added);
        let with_version = |version: u8| {
            let checksum = checksum(version, &rest).to_le_bytes();
            Bytes::from([&NAME[..], &[version], &checksum, &rest].concat())
        };
        let back = Entry::decode(with_version(ONLY_JSON), &key).unwrap();
        assert_eq!(back.representation, Representation::json(Bytes::from_static(b"{}")));
        for other in [0, 1, 4] {
            assert_eq!(Entry::decode(with_version(other), &key).err(), Some(FOREIGN));
        }
    }

    #[test]
    fn the_largest_body_is_kept_whole() {
        let key = CacheKey::new("a:b:c");
        let body: Vec<u8> = (0..16_u32 << 20).map(|n| n.to_le_bytes()[0]).collect();
        let back = Entry::decode(of(&body).encode(&key), &key).unwrap();
        assert!(back.representation.body == body);
    }
}
