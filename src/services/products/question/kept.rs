//! The form in which questions are kept, and the check that a question read back is one.
//!
//! Owns: names and order of the fields; a change of either needs another version. Refuses: values
//! that the checks of a request would not have let through.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Question;
use crate::services::products::aliexpress::methods::{Target, link_source};
use crate::services::products::aliexpress::terms::{Currency, Language, Sort};
use crate::services::products::check::fold_white_space;
use crate::services::products::query::{
    MAX_CATEGORIES, MAX_KEYWORDS, MAX_PAGE, MAX_PAGE_SIZE, SearchQuery,
};
use crate::services::products::search::Among;
use crate::services::products::smart_match::SmartMatchQuery;

/// The form in which a question is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    pub(super) v: u8,
    pub(super) asked: Asked,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Asked {
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
    pub(super) fn of(question: &Question) -> Self {
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

    pub(super) fn read(self) -> Option<Question> {
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
pub(super) struct For {
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
