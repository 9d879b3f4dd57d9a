//! One cached answer and the form in which every tier outside memory keeps it.
//!
//! Owns: the envelope (magic, version, checksum, times, tags, key, body) and what this process knows
//! about the entry beside it. Refuses: anything that is cut, altered, of another version or stored
//! under another key; that is a miss, never an error.
//!
//! ```text
//!  "BWE" version:u8 │ crc32:u32 of what follows │ stored, fresh, revalidate, stale: i64 ms
//!  │ flags:u8 │ number of tags:u16 │ tags: u64 each │ key length:u16 │ key │ body
//!  (integers little-endian)
//! ```

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::key::CacheKey;
use super::tag::{self, Tag};
use crate::clock::{self, Timestamp};
use crate::gzip::Packed;

const MAGIC: &[u8; 4] = b"BWE\x02";
const NEGATIVE: u8 = 1;
const CHECKED_FROM: usize = 8;
/// Everything but tags, key and body.
const FIXED: usize = 8 + 4 * 8 + 1 + 2 + 2;
/// Bodies shorter than this are not worth packing.
const PACKED_FROM: usize = 1_024;
/// One of so many parts of a body is set aside for the packed one.
const PACKED_SHARE: usize = 3;

/// The times of an entry, which its stores only carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When it was asked for: the data is not older.
    pub stored_at: Timestamp,
    /// Served without asking until then.
    pub fresh_until: Timestamp,
    /// Served at once while it is refreshed, until then.
    pub revalidate_until: Timestamp,
    /// Usable when refreshing fails, until then.
    pub stale_until: Timestamp,
}

/// What invalidations say about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing.
    Valid,
    /// It may be served only when nothing newer can be had.
    Soft,
    /// It must not be served.
    Hard,
}

/// One cached answer: serialised data and its times.
#[derive(Debug)]
pub struct Entry {
    /// Serialised data, written into answers as it is.
    pub body: Bytes,
    /// Its times.
    pub times: Times,
    /// Says that there is nothing.
    pub negative: bool,
    /// What it is about.
    pub tags: Box<[Tag]>,
    known: Known,
}

/// What this process alone knows about an entry. Its waits are monotonic: a clock that is set back
/// must not lengthen them.
#[derive(Debug)]
struct Known {
    /// After a failed refresh: no other before then (ticks).
    refresh_from: AtomicI64,
    /// A refresh has been begun: nobody else need begin one before then (ticks).
    begun_until: AtomicI64,
    /// Answers given with it and not yet counted elsewhere.
    uses: AtomicU32,
    /// The body behind the beginning that all answers have, packed when that was first asked for.
    packed: OnceLock<Option<Packed>>,
    /// The version of the invalidations it was last held against, and the verdict: `version << 2 | verdict`.
    checked: AtomicU64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            refresh_from: AtomicI64::new(i64::MIN),
            begun_until: AtomicI64::new(i64::MIN),
            uses: AtomicU32::new(0),
            packed: OnceLock::new(),
            checked: AtomicU64::new(0),
        }
    }
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
    /// An entry from its parts; of too many tags the last are not kept.
    #[must_use]
    pub fn new(body: Bytes, times: Times, negative: bool, mut tags: Vec<Tag>) -> Self {
        tags.truncate(tag::MOST);
        Self { body, times, negative, tags: tags.into(), known: Known::default() }
    }

    /// Whether a refresh may be tried at `now`.
    #[must_use]
    pub fn may_refresh(&self, now: Instant) -> bool {
        self.known.refresh_from.load(Ordering::Relaxed) <= clock::ticks(now)
    }

    /// Holds refreshes back until `then`.
    pub fn hold_refresh(&self, then: Instant) {
        self.known.refresh_from.store(clock::ticks(then), Ordering::Relaxed);
    }

    /// Takes it on to begin a refresh; true for one caller in each `lease`, if refreshes are not held
    /// back.
    #[must_use]
    pub fn begin_refresh(&self, now: Instant, lease: Duration) -> bool {
        let begun = self.known.begun_until.load(Ordering::Relaxed);
        let until = clock::ticks(now + lease);
        self.may_refresh(now)
            && begun <= clock::ticks(now)
            && self
                .known
                .begun_until
                .compare_exchange(begun, until, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Its body behind `before`, packed, which is done once. `None` when that fails, or takes more
    /// memory than is set aside for it. All callers have to mean the same `before`.
    #[must_use]
    pub fn packed(&self, before: &[u8]) -> Option<&Packed> {
        let pack = || Packed::new([before, &self.body]);
        let fits = |packed: &Packed| packed.size() <= self.room_for_packed();
        self.known.packed.get_or_init(|| pack().filter(fits)).as_ref()
    }

    /// Bytes that its packed body may take. JSON packs to a quarter or less.
    #[must_use]
    pub fn room_for_packed(&self) -> usize {
        if self.body.len() < PACKED_FROM { 0 } else { self.body.len() / PACKED_SHARE }
    }

    /// Counts an answer given with it.
    pub fn used(&self) {
        self.known.uses.fetch_add(1, Ordering::Relaxed);
    }

    /// The answers counted since this was last asked.
    #[must_use]
    pub fn take_uses(&self) -> u32 {
        self.known.uses.swap(0, Ordering::Relaxed)
    }

    /// What the invalidations of this `version` say; `judge` is asked once a version.
    #[must_use]
    pub fn verdict(&self, version: u64, judge: impl FnOnce() -> Verdict) -> Verdict {
        let checked = self.known.checked.load(Ordering::Relaxed);
        if checked >> 2 == version {
            return match checked & 3 {
                0 => Verdict::Valid,
                1 => Verdict::Soft,
                _ => Verdict::Hard,
            };
        }
        let verdict = judge();
        let number = match verdict {
            Verdict::Valid => 0,
            Verdict::Soft => 1,
            Verdict::Hard => 2,
        };
        self.known.checked.store(version << 2 | number, Ordering::Relaxed);
        verdict
    }

    /// The stored form under `key`.
    #[must_use]
    pub fn encode(&self, key: &CacheKey) -> Bytes {
        let name = key.as_str().as_bytes();
        let name = name.get(..usize::from(u16::MAX)).unwrap_or(name);
        let size = FIXED + 8 * self.tags.len() + name.len() + self.body.len();
        let mut bytes = BytesMut::with_capacity(size);
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(0);
        let Times { stored_at, fresh_until, revalidate_until, stale_until } = self.times;
        for time in [stored_at, fresh_until, revalidate_until, stale_until] {
            bytes.put_i64_le(time.as_millis());
        }
        bytes.put_u8(if self.negative { NEGATIVE } else { 0 });
        bytes.put_u16_le(u16::try_from(self.tags.len()).unwrap_or(0));
        self.tags.iter().for_each(|tag| bytes.put_u64_le(tag.number()));
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
        let times = Times {
            stored_at: time(),
            fresh_until: time(),
            revalidate_until: time(),
            stale_until: time(),
        };
        let negative = bytes.get_u8() & NEGATIVE != 0;
        let count = usize::from(bytes.get_u16_le());
        if bytes.len() < 8 * count + 2 {
            return Err(Malformed::Corrupt);
        }
        let tags = (0..count).map(|_| Tag::from_number(bytes.get_u64_le())).collect();
        let length = usize::from(bytes.get_u16_le());
        if bytes.len() < length {
            return Err(Malformed::Corrupt);
        }
        if bytes.split_to(length) != key.as_str().as_bytes() {
            return Err(Malformed::WrongKey);
        }
        Ok(Self::new(bytes, times, negative, tags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(body: Vec<u8>, negative: bool, tags: &[u64]) -> Entry {
        let at = Timestamp::from_millis;
        let times = Times {
            stored_at: at(1),
            fresh_until: at(2),
            revalidate_until: at(3),
            stale_until: at(4),
        };
        let tags = tags.iter().map(|number| Tag::from_number(*number)).collect();
        Entry::new(body.into(), times, negative, tags)
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(
            body: Vec<u8>, negative: bool, name in "[a-z:0-9]{1,60}",
            tags in prop::collection::vec(any::<u64>(), 0..20),
        ) {
            let key = CacheKey::new(name);
            let before = entry(body.clone(), negative, &tags);
            let back = Entry::decode(before.encode(&key), &key).unwrap();
            prop_assert_eq!(&back.body[..], &body[..]);
            prop_assert_eq!((back.negative, back.times), (negative, before.times));
            prop_assert_eq!(back.tags, before.tags);
        }

        #[test]
        fn any_flipped_bit_is_noticed(body: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let key = CacheKey::new("a:b:c");
            let mut bytes = entry(body, false, &[7]).encode(&key).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Entry::decode(bytes.into(), &key).is_err());
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            prop_assert!(Entry::decode(bytes.into(), &CacheKey::new("k")).is_err());
        }

        /// A checksum that is right does not make the rest so.
        #[test]
        fn any_checked_bytes_are_safe(rest: Vec<u8>) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(crc32fast::hash(&rest).to_le_bytes());
            bytes.extend(&rest);
            drop(Entry::decode(bytes.into(), &CacheKey::new("k")));
        }
    }

    #[test]
    fn another_keys_entry_is_not_mine() {
        let bytes = entry(vec![1], false, &[]).encode(&CacheKey::new("mine"));
        assert_eq!(Entry::decode(bytes, &CacheKey::new("yours")).err(), Some(Malformed::WrongKey));
    }

    #[test]
    fn too_many_tags_are_cut() {
        let entry = entry(vec![], false, &[1; tag::MOST + 1]);
        assert_eq!(entry.tags.len(), tag::MOST);
    }

    #[test]
    fn one_in_each_lease_begins_a_refresh() {
        let (entry, start) = (entry(vec![], false, &[]), clock::monotonic());
        let at = |millis| start + Duration::from_millis(millis);
        let begin = |now| entry.begin_refresh(at(now), Duration::from_millis(10));
        assert_eq!([begin(0), begin(5), begin(10)], [true, false, true]);
        entry.hold_refresh(at(100));
        assert_eq!([begin(99), begin(100)], [false, true]);
    }

    #[test]
    fn a_verdict_is_asked_for_once_a_version() {
        let entry = entry(vec![], false, &[]);
        assert_eq!(entry.verdict(1, || Verdict::Soft), Verdict::Soft);
        assert_eq!(entry.verdict(1, || Verdict::Hard), Verdict::Soft);
        assert_eq!(entry.verdict(2, || Verdict::Valid), Verdict::Valid);
        assert_eq!(entry.verdict(3, || Verdict::Hard), Verdict::Hard);
        assert_eq!(entry.verdict(3, || Verdict::Valid), Verdict::Hard);
    }
}
