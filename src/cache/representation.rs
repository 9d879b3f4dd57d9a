//! What a client gets: bytes, what they are, and a few header fields.
//!
//! Owns: the shape and its bounds. Nothing here knows where the bytes come from or what they say: the
//! products' JSON is one kind of representation, an image or another origin's answer would be others.

use std::borrow::Cow;

use bytes::Bytes;

/// Largest body that is cached.
pub(super) const LARGEST_BODY: usize = 16 << 20;
/// Most header fields, and most bytes of all of them.
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
    /// Serialised JSON.
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
