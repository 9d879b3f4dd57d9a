//! What is asked of the upstream, and the keys of its answers.
//!
//! Owns: [`Question`], which every endpoint has one of, its key, what was read of an answer, and the
//! tags by which answers are invalidated. Has no neighbour that could be down.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::aliexpress::Request;
use super::last_resort::LastResort;
use super::product::{Dropped, Product};
use super::settings::Ttls;
use crate::cache::{CacheKey, Loaded, Representation, Tag};
use crate::failure::{Failure, FailureKind};
use crate::http::served::{Body, Served};

/// The service's part of its cache keys.
pub(super) const SERVICE: &str = "products";
/// The operations of what is kept, each with its kind.
pub(super) const OPERATIONS: &[(&str, &str)] = &[
    ("search", "search"),
    ("hot", "hot"),
    ("details", "product"),
    ("categories", "category"),
    ("link", "link"),
    ("smart-match", "smart_match"),
];
/// What the tags of answers begin with, and what can follow where it is no id.
pub(super) const ABOUT: &[(&str, &[&str])] = &[
    ("product", &[]),
    ("category", &[]),
    ("operation", &["search", "hot", "details", "categories", "link", "smart-match"]),
    ("answer", &["repaired"]),
];
/// Version of the form in which questions are stored; those of another one are outdated.
const VERSION: u8 = 3;
/// Longest question stored, in bytes: the longest search is about half of it. Longer are only links
/// of addresses that nobody asks for twice.
const LONGEST: usize = 4_096;

/// What the answers to one kind of question have in common.
#[derive(Debug)]
pub(super) struct Kind {
    /// Operation part of the cache keys, and of the tag that all answers have.
    pub(super) operation: &'static str,
    /// In metrics.
    pub(super) label: &'static str,
    /// How long an answer is fresh.
    pub(super) fresh: fn(&Ttls) -> Duration,
    /// Whether bytes that another process stored are an answer: see [`reads`].
    pub(super) is_answer: fn(&Representation) -> bool,
    /// Whether validation makes a difference.
    pub(super) is_validated: bool,
    /// Whether its request carries the tracking id: what was stored under another one is not asked
    /// again.
    pub(super) is_tracked: bool,
    /// Most questions that one upstream call answers.
    pub(super) at_once: usize,
}

/// Whether stored bytes are a `T`, as [`loaded`] writes it.
pub(super) fn reads<T: DeserializeOwned>(stored: &Representation) -> bool {
    serde_json::from_slice::<T>(&stored.body).is_ok()
}

/// What is asked under one cache key. It is stored beside the answer, so that the key can be warmed.
pub(super) trait Question:
    Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    const KIND: Kind;
    /// Part of the key from when what was stored under the old ones is no answer any more.
    const EDITION: Option<&'static str> = None;

    /// The upstream call that answers `all`, of which this is the first: at most [`Kind::at_once`]
    /// that differ only in what they name. A call of one question is what its key is made of.
    fn request(&self, all: &[Self]) -> Request;

    /// What the `result` of that call says about each of `all`, in their order. It is null when the
    /// upstream says that there is nothing.
    fn read(&self, all: &[Self], result: &Value, validate: bool) -> Read;

    /// A `result` of the last resort, if it has anything to say.
    fn last_resort(&self, _last: &LastResort, _validate: bool) -> Option<Value> {
        None
    }
}

/// What is stored for each question, or why nothing can be said about it, and what was left out of all.
pub(super) type Read = (Vec<Result<Loaded, Failure>>, Dropped);

/// A question with its keys.
#[derive(Debug, Clone)]
pub(super) struct Keyed<Q> {
    /// The question alone, as loaders take it: a hit must not copy it.
    pub(super) asked: Arc<[Q]>,
    pub(super) question: Q,
    key: CacheKey,
    /// The key of its answer without validation.
    unvalidated: CacheKey,
}

impl<Q: Question> Keyed<Q> {
    pub(super) fn new(question: Q) -> Self {
        let (key, unvalidated) = (key(&question, true), key(&question, false));
        Self { asked: Arc::new([question.clone()]), question, key, unvalidated }
    }

    pub(super) const fn key(&self, validate: bool) -> &CacheKey {
        if validate { &self.key } else { &self.unvalidated }
    }
}

/// The key of a question's answer. Requests are canonical: keywords in one form, ids sorted, defaults
/// filled in, price bounds in the smallest unit; so two that mean the same have the same key.
pub(super) fn key<Q: Question>(question: &Q, validate: bool) -> CacheKey {
    let request = question.request(std::slice::from_ref(question));
    let parameters = request.params.iter().flat_map(|(name, value)| [*name, value.as_str()]);
    let variant = if validate || !Q::KIND.is_validated { "" } else { "unvalidated" };
    let parts =
        std::iter::once(request.method.name).chain(parameters).chain([variant]).chain(Q::EDITION);
    CacheKey::of(SERVICE, Q::KIND.operation, parts)
}

/// A question as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored<'a, Q> {
    v: u8,
    pub(super) operation: &'a str,
    question: Q,
}

impl<Q: Question> Stored<'_, Q> {
    /// `None` if it is not worth it.
    pub(super) fn write(question: &Q) -> Option<String> {
        let stored = Stored { v: VERSION, operation: Q::KIND.operation, question };
        serde_json::to_string(&stored).ok().filter(|text| text.len() <= LONGEST)
    }
}

impl<Q> Stored<'_, Q> {
    pub(super) fn current(self) -> Option<Q> {
        (self.v == VERSION).then_some(self.question)
    }
}

/// What is stored under one key. The operation's tag comes first, so that it stays if there are more
/// tags than an entry keeps.
pub(super) fn loaded<Q: Question>(
    _: &Q,
    data: &impl Serialize,
    empty: bool,
    about: impl IntoIterator<Item = Tag>,
) -> Result<Loaded, Failure> {
    let operation = Tag::of(&format!("operation:{}", Q::KIND.operation));
    let about: BTreeSet<_> = about.into_iter().collect();
    let tags = std::iter::once(operation).chain(about).collect();
    Ok(Loaded::json(serialised(data)?, empty, tags))
}

fn serialised(data: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(data)
        .map(Bytes::from)
        .map_err(|error| Failure::new(FailureKind::Internal, format!("cannot serialise: {error}")))
}

pub(super) fn parsed<'a, T: Deserialize<'a>>(served: &'a Served) -> Result<T, Failure> {
    serde_json::from_slice(served.body.bytes())
        .map_err(|error| Failure::new(FailureKind::Internal, format!("cannot read back: {error}")))
}

/// The same answer with other data.
pub(super) fn replaced(
    served: Served,
    data: &impl Serialize,
    empty: bool,
) -> Result<Served, Failure> {
    Ok(Served { body: Body::Own(serialised(data)?), empty, ..served })
}

/// The same answer, which is as another one wherever `same` is.
pub(super) fn same_as(served: Served, same: &impl Serialize) -> Result<Served, Failure> {
    Ok(Served { same_as: Some(serialised(same)?), ..served })
}

/// `product:ID`: the answer is about this product, or says that it is not there.
pub(super) fn product_tag(id: impl Display) -> Tag {
    Tag::of(&format!("product:{id}"))
}

/// `category:ID`: this category was asked for, or a product of it is shown.
pub(super) fn category_tag(id: impl Display) -> Tag {
    Tag::of(&format!("category:{id}"))
}

/// The tags of the products shown, and of their categories.
pub(super) fn tags_of<'a>(
    shown: impl IntoIterator<Item = &'a Product>,
) -> impl Iterator<Item = Tag> {
    shown.into_iter().flat_map(|shown| {
        let category = shown.category_id.as_ref().map(category_tag);
        std::iter::once(product_tag(&shown.product_id)).chain(category)
    })
}
