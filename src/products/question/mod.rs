//! What was asked under a cache key, in a form that survives a restart.
//!
//! Owns: the JSON of a question, the upstream call that answers it and the key it is kept under.
//! Refuses: to read what this version did not write or would not ask: other versions, unknown
//! fields, values that no valid request leads to. Then there is no question, and the key is not
//! warmed; it is loaded when a client asks for it. Orders have no question: they are never kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::check::fold_white_space;
use super::key::{self, Operation};
use super::query::{MAX_CATEGORIES, MAX_KEYWORDS, MAX_PAGE, MAX_PAGE_SIZE, SearchQuery};
use super::search::{self, Among};
use super::smart_match::{self, SmartMatchQuery};
use super::{categories, details};
use crate::cache::CacheKey;
use crate::upstream::Request;
use crate::upstream::aliexpress::methods::{self, Target, link_source};
use crate::upstream::aliexpress::terms::{Currency, Language, Sort};

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
        /// The address, as [`link_source`] makes it.
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
            Self::Link { source, tracking_id, ship_to } => {
                methods::link_generate(&[source.clone()], tracking_id, ship_to.as_deref())
            }
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

/// The form in which a question is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u8,
    asked: Asked,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    Search {
        among: Among,
        keywords: Option<String>,
        category_ids: Vec<u64>,
        min_sale_price: Option<u64>,
        max_sale_price: Option<u64>,
        page_no: u32,
        page_size: u32,
        sort: Option<Sort>,
        target: For,
    },
    Details {
        product_id: u64,
        target: For,
    },
    Categories,
    Link {
        source: String,
        tracking_id: String,
        ship_to: Option<String>,
    },
    SmartMatch {
        product_id: u64,
        target: For,
    },
}

impl Asked {
    fn of(question: &Question) -> Self {
        match question {
            Question::Search { query, among } => Self::Search {
                among: *among,
                keywords: query.keywords.clone(),
                category_ids: query.category_ids.clone(),
                min_sale_price: query.min_sale_price,
                max_sale_price: query.max_sale_price,
                page_no: query.page_no,
                page_size: query.page_size,
                sort: query.sort,
                target: For::of(&query.target),
            },
            Question::Details { product_id, target } => {
                Self::Details { product_id: *product_id, target: For::of(target) }
            }
            Question::Categories => Self::Categories,
            Question::Link { source, tracking_id, ship_to } => Self::Link {
                source: source.clone(),
                tracking_id: tracking_id.clone(),
                ship_to: ship_to.clone(),
            },
            Question::SmartMatch(query) => {
                Self::SmartMatch { product_id: query.product_id, target: For::of(&query.target) }
            }
        }
    }

    fn read(self) -> Option<Question> {
        Some(match self {
            Self::Search {
                among,
                keywords,
                category_ids,
                min_sale_price,
                max_sale_price,
                page_no,
                page_size,
                sort,
                target,
            } => {
                let query = SearchQuery {
                    keywords,
                    category_ids,
                    min_sale_price,
                    max_sale_price,
                    page_no,
                    page_size,
                    sort,
                    target: target.read()?,
                };
                let query = Arc::new(Some(query).filter(is_canonical)?);
                Question::Search { query, among }
            }
            Self::Details { product_id, target } => {
                Question::Details { product_id: id(product_id)?, target: target.read()? }
            }
            Self::Categories => Question::Categories,
            Self::Link { source, tracking_id, ship_to } => {
                let is_source = link_source(&source).as_ref() == Some(&source);
                let asked = is_source && !tracking_id.is_empty() && is_country(ship_to.as_deref());
                asked.then_some(Question::Link { source, tracking_id, ship_to })?
            }
            Self::SmartMatch { product_id, target } => Question::SmartMatch(SmartMatchQuery {
                product_id: id(product_id)?,
                target: target.read()?,
            }),
        })
    }
}

/// For whom, in words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct For {
    currency: String,
    language: String,
    ship_to: Option<String>,
    tracking_id: Option<String>,
}

impl For {
    fn of(target: &Target) -> Self {
        Self {
            currency: target.currency.code().to_owned(),
            language: target.language.code().to_owned(),
            ship_to: target.ship_to.clone(),
            tracking_id: target.tracking_id.clone(),
        }
    }

    fn read(self) -> Option<Target> {
        is_country(self.ship_to.as_deref()).then_some(())?;
        Some(Target {
            currency: Currency::requestable(&self.currency)?,
            language: Language::parse(&self.language)?,
            ship_to: self.ship_to,
            tracking_id: self.tracking_id,
        })
    }
}

fn id(id: u64) -> Option<u64> {
    (id > 0).then_some(id)
}

fn is_country(code: Option<&str>) -> bool {
    code.is_none_or(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
}

/// Whether a valid request leads to this search.
fn is_canonical(query: &SearchQuery) -> bool {
    let words = query.keywords.as_deref().is_none_or(are_words);
    let ids = &query.category_ids;
    // A smart search names one more.
    let categories = ids.len() <= MAX_CATEGORIES.saturating_add(1)
        && ids.first().is_none_or(|first| *first > 0)
        && ids.is_sorted_by(|a, b| a < b);
    let page =
        (1..=MAX_PAGE).contains(&query.page_no) && (1..=MAX_PAGE_SIZE).contains(&query.page_size);
    words && categories && page && leaves_a_price(query.min_sale_price, query.max_sale_price)
}

fn are_words(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= MAX_KEYWORDS
        && !text.chars().any(char::is_control)
        && fold_white_space(text) == text
}

fn leaves_a_price(lower: Option<u64>, upper: Option<u64>) -> bool {
    lower != Some(0)
        && upper != Some(0)
        && lower.zip(upper).is_none_or(|(lower, upper)| lower <= upper)
}

#[cfg(test)]
mod tests;
