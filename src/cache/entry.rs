//! One cached answer: what a client gets of it, its times, and what it is about.
//!
//! Owns: the shape and its bounds, and what this process alone knows about an entry: its uses, its
//! packed form, and the last verdict of invalidations. Everything else about it never changes. Nothing
//! here knows where the bytes come from or what they say: the products' JSON is one kind of
//! representation, an image or another origin's answer would be others.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

use super::key::{MOST_TAGS, Tag, digest};
use crate::clock::Timestamp;
use crate::gzip::Packed;

/// Bodies shorter than this are not worth packing, and packing longer ones takes too long.
const PACKED_FROM: usize = 1_024;
const PACKED_TO: usize = 4 << 20;
/// One of so many parts of a body is set aside for the packed one.
const PACKED_SHARE: usize = 3;

/// The times of an entry, which its stores only carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When the origin was asked: the data is not older.
    pub stored_at: Timestamp,
    /// Served without asking until then.
    pub fresh_until: Timestamp,
    /// Served at once while it is renewed, until then.
    pub revalidate_until: Timestamp,
    /// Usable when renewing fails, until then.
    pub stale_until: Timestamp,
}

/// What invalidations say about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    Valid,
    /// It may be served only when nothing newer can be had.
    Soft,
    Hard,
}

#[derive(Debug)]
pub struct Entry {
    pub representation: Representation,
    pub times: Times,
    /// It says that there is nothing.
    pub negative: bool,
    pub tags: Box<[Tag]>,
    /// Answers given with it and not yet counted elsewhere.
    uses: AtomicU32,
    /// The body behind the beginning that all answers have, packed when that was first asked for.
    packed: OnceLock<Option<Packed>>,
    /// That of the body, taken when it was first asked for.
    digest: OnceLock<u64>,
    /// The version of the invalidations it was last held against, and the verdict: `version << 2 | verdict`.
    checked: AtomicU64,
}

impl Entry {
    /// An entry from its parts; of too many tags the last are not kept.
    pub fn new(
        representation: Representation,
        times: Times,
        negative: bool,
        mut tags: Vec<Tag>,
    ) -> Self {
        tags.truncate(MOST_TAGS);
        let (uses, checked) = (AtomicU32::new(0), AtomicU64::new(0));
        let (packed, digest) = (OnceLock::new(), OnceLock::new());
        Self { representation, times, negative, tags: tags.into(), uses, packed, digest, checked }
    }

    /// Its body behind `before`, packed, which is done once. `None` when it is no text, or the packed
    /// form takes more memory than is set aside for it. All callers have to mean the same `before`.
    pub fn packed(&self, before: &[u8]) -> Option<&Packed> {
        let room = self.room_for_packed();
        let pack = || {
            if room == 0 {
                return None;
            }
            let packed = Packed::new([before, &self.representation.body]);
            packed.filter(|packed| packed.size() <= room)
        };
        self.packed.get_or_init(pack).as_ref()
    }

    /// The same for the same body.
    pub fn digest(&self) -> u64 {
        *self.digest.get_or_init(|| digest(&self.representation.body))
    }

    /// Bytes that its packed body may take. JSON packs to a quarter or less.
    pub fn room_for_packed(&self) -> usize {
        let size = self.representation.body.len();
        let packs = (PACKED_FROM..=PACKED_TO).contains(&size) && self.representation.is_text();
        if packs { size / PACKED_SHARE } else { 0 }
    }

    /// Counts answers given with it, or with the entry that it replaces.
    pub fn add_uses(&self, uses: u32) {
        self.uses.fetch_add(uses, Ordering::Relaxed);
    }

    pub fn take_uses(&self) -> u32 {
        self.uses.swap(0, Ordering::Relaxed)
    }

    /// What the invalidations of this `version` say; `judge` is asked once a version.
    pub fn verdict(&self, version: u64, judge: impl FnOnce() -> Validity) -> Validity {
        let checked = self.checked.load(Ordering::Relaxed);
        if checked >> 2 == version {
            return match checked & 3 {
                0 => Validity::Valid,
                1 => Validity::Soft,
                _ => Validity::Hard,
            };
        }
        let verdict = judge();
        let number = match verdict {
            Validity::Valid => 0,
            Validity::Soft => 1,
            Validity::Hard => 2,
        };
        self.checked.store(version << 2 | number, Ordering::Relaxed);
        verdict
    }
}

const LARGEST_BODY: usize = 16 << 20;
const MOST_FIELDS: usize = 32;
const LONGEST_FIELDS: usize = 16 << 10;

/// The content type of the products' answers, without a copy of the text in each entry.
pub const JSON: Cow<'static, str> = Cow::Borrowed("application/json");

/// One answer of an origin, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    pub body: Bytes,
    pub content_type: Cow<'static, str>,
    /// Header fields to be given with it, beside the content type.
    pub fields: Vec<(String, Bytes)>,
}

impl Representation {
    pub const fn json(body: Bytes) -> Self {
        Self { body, content_type: JSON, fields: Vec::new() }
    }

    /// Whether it may be cached; what is larger is answered with once.
    pub fn is_cacheable(&self) -> bool {
        self.body.len() <= LARGEST_BODY
            && self.fields.len() <= MOST_FIELDS
            && self.size_of_head() <= LONGEST_FIELDS
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        self.body.len().saturating_add(self.size_of_head())
    }

    /// Whether gzip makes it smaller: images and archives are packed already.
    pub fn is_text(&self) -> bool {
        let kind = &*self.content_type;
        kind.starts_with("text/")
            || ["json", "xml", "javascript"].iter().any(|text| kind.contains(text))
    }

    fn size_of_head(&self) -> usize {
        let size = |(name, value): &(String, Bytes)| name.len().saturating_add(value.len());
        self.fields.iter().map(size).fold(self.content_type.len(), usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(body: Vec<u8>, tags: Vec<Tag>) -> Entry {
        let at = Timestamp::from_millis(0);
        let times = Times { stored_at: at, fresh_until: at, revalidate_until: at, stale_until: at };
        Entry::new(Representation::json(body.into()), times, false, tags)
    }

    #[test]
    fn too_many_tags_are_cut() {
        let entry = entry(vec![], vec![Tag::from_number(1); MOST_TAGS + 1]);
        assert_eq!(entry.tags.len(), MOST_TAGS);
    }

    #[test]
    fn a_verdict_is_asked_for_once_a_version() {
        let entry = entry(vec![], vec![]);
        assert_eq!(entry.verdict(1, || Validity::Soft), Validity::Soft);
        assert_eq!(entry.verdict(1, || Validity::Hard), Validity::Soft);
        assert_eq!(entry.verdict(2, || Validity::Valid), Validity::Valid);
        assert_eq!(entry.verdict(3, || Validity::Hard), Validity::Hard);
    }

    #[test]
    fn only_texts_of_a_fair_size_have_a_packed_form() {
        let packs = |body: Vec<u8>| entry(body, vec![]).packed(b"before").is_some();
        assert!(packs(vec![b'a'; PACKED_FROM]));
        assert!(!packs(vec![b'a'; PACKED_FROM - 1]) && !packs(vec![b'a'; PACKED_TO + 1]));
        let image = Representation {
            content_type: "image/webp".into(),
            ..Representation::json(Bytes::from(vec![b'a'; PACKED_FROM]))
        };
        let times = entry(vec![], vec![]).times;
        assert!(Entry::new(image, times, false, vec![]).packed(b"before").is_none());
    }

    #[test]
    fn what_is_too_large_is_not_cached() {
        let of = |body: usize, fields: usize, value: usize| {
            let field = ("x-a".to_owned(), Bytes::from(vec![b'a'; value]));
            let fields = vec![field; fields];
            Representation { fields, ..Representation::json(vec![0; body].into()) }.is_cacheable()
        };
        assert!(of(LARGEST_BODY, 0, 0) && of(0, MOST_FIELDS, 1));
        assert!(!of(LARGEST_BODY + 1, 0, 0) && !of(0, MOST_FIELDS + 1, 1));
        assert!(!of(0, 1, LONGEST_FIELDS));
    }

    #[test]
    fn only_texts_are_worth_packing() {
        let is_text = |kind: &'static str| {
            let content_type = Cow::Borrowed(kind);
            Representation { content_type, ..Representation::json(Bytes::new()) }.is_text()
        };
        for kind in ["application/json", "text/html; charset=utf-8", "image/svg+xml"] {
            assert!(is_text(kind), "{kind}");
        }
        for kind in ["image/webp", "application/octet-stream", ""] {
            assert!(!is_text(kind), "{kind}");
        }
    }
}
