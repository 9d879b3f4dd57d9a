//! What was asked under a cache key, in a form that survives a restart.
//!
//! Owns: the JSON of a question, the upstream call that answers it and the key it is kept under.
//! Refuses: to read what this version did not write or would not ask: other versions, unknown
//! fields, values that no valid request leads to. Then there is no question, and the key is not
//! warmed; it is loaded when a client asks for it. Orders have no question: they are never kept.

mod kept;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::key::{self, Operation};
use super::query::SearchQuery;
use super::search::{self, Among};
use super::smart_match::{self, SmartMatchQuery};
use super::{categories, details};
use crate::cache::CacheKey;
use crate::services::products::aliexpress::methods::{self, Request, Target};
use kept::{Asked, Written};

/// Version of the form; questions of another one are outdated.
const VERSION: u8 = 1;
/// Longest question kept, in bytes: the longest search is about half of it. Longer are only links
/// of addresses that nobody asks for twice.
const LONGEST: usize = 4_096;

/// What is asked under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A page of a search.
    Search {
        /// The search.
        query: Arc<SearchQuery>,
        /// Where.
        among: Among,
    },
    /// One product.
    Details {
        /// Its id.
        product_id: u64,
        /// For whom.
        target: Target,
    },
    /// All categories.
    Categories,
    /// One affiliate link.
    Link {
        /// The address, as [`methods::link_source`] makes it.
        source: String,
        /// Who earns.
        tracking_id: String,
        /// Country shipped to.
        ship_to: Option<String>,
    },
    /// Products like one.
    SmartMatch(SmartMatchQuery),
}

impl Question {
    /// The operation that answers it.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Search { among, .. } => among.operation(),
            Self::Details { .. } => Operation::Details,
            Self::Categories => Operation::Categories,
            Self::Link { .. } => Operation::Link,
            Self::SmartMatch(_) => Operation::SmartMatch,
        }
    }

    /// The upstream call that answers it.
    #[must_use]
    pub fn request(&self) -> Request {
        match self {
            Self::Search { query, among } => search::request(query, *among),
            Self::Details { product_id, target } => details::request(&[*product_id], target),
            Self::Categories => categories::request(),
            Self::Link { source, tracking_id, ship_to } => methods::link_generate(
                std::slice::from_ref(source),
                tracking_id,
                ship_to.as_deref(),
            ),
            Self::SmartMatch(query) => smart_match::request(query),
        }
    }

    /// The key of its validated answer.
    #[must_use]
    pub fn key(&self) -> CacheKey {
        CacheKey::new(key::key(self.operation(), &self.request(), true))
    }

    /// Whose tracking id it is asked with.
    #[must_use]
    pub fn tracking_id(&self) -> Option<&str> {
        match self {
            Self::Search { query, .. } => query.target.tracking_id.as_deref(),
            Self::Details { target, .. } => target.tracking_id.as_deref(),
            Self::Categories => None,
            Self::Link { tracking_id, .. } => Some(tracking_id),
            Self::SmartMatch(query) => query.target.tracking_id.as_deref(),
        }
    }

    /// As it is kept; `None` when it is too long to be worth it.
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        let written = Written { v: VERSION, asked: Asked::of(self) };
        serde_json::to_string(&written).ok().filter(|text| text.len() <= LONGEST)
    }

    /// As it was kept; `None` when this version would not ask that.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let written: Written = serde_json::from_str(text).ok()?;
        (written.v == VERSION).then_some(())?;
        written.asked.read()
    }
}
