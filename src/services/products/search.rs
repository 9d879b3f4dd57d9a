//! Search among all products and among hot ones: what to ask for and what to make of it.
//!
//! Owns: [`request`] and [`digest`]. Refuses nothing: the query is valid, and an answer that holds
//! no product is an empty page.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::{DEGRADED_VALIDATION, Digested, SearchData, count_of};
use super::dropped::Dropped;
use super::key::{self, Operation};
use super::mark::Mark;
use super::product;
use super::query::SearchQuery;
use crate::cache::CacheKey;
use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::methods::{self, ProductQuery};
use crate::services::products::aliexpress::wire;

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// All products.
    All,
    /// Products with a raised commission.
    Hot,
}

impl Among {
    /// The operation that searches there.
    #[must_use]
    pub const fn operation(self) -> Operation {
        match self {
            Self::All => Operation::Search,
            Self::Hot => Operation::Hot,
        }
    }
}

/// A search that was checked and has its keys: what is left to do is to look it up. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The search.
    pub query: Arc<SearchQuery>,
    /// Where.
    pub among: Among,
    /// The key of its validated answer.
    pub key: CacheKey,
    /// The key of its answer without validation.
    pub unvalidated: CacheKey,
    /// What it asks for, as a number.
    pub mark: Mark,
}

impl Prepared {
    /// Prepares a valid search.
    #[must_use]
    pub fn new(query: SearchQuery, among: Among) -> Self {
        let request = request(&query, among);
        let key = |validate| CacheKey::new(key::key(among.operation(), &request, validate));
        let mark = Mark::of_search(&query, among);
        Self { key: key(true), unvalidated: key(false), query: Arc::new(query), among, mark }
    }
}

/// The call that answers a search.
#[must_use]
pub fn request(query: &SearchQuery, among: Among) -> Request {
    let parameters = ProductQuery {
        keywords: query.keywords.as_deref(),
        category_ids: &query.category_ids,
        min_sale_price: query.min_sale_price,
        max_sale_price: query.max_sale_price,
        page_no: query.page_no,
        page_size: query.page_size,
        sort: query.sort,
        target: &query.target,
    };
    match among {
        Among::All => methods::product_query(&parameters),
        Among::Hot => methods::hot_product_query(&parameters),
    }
}

/// What the call's `result` says. `validate` is the `ENABLE_DATA_VALIDATION` decision.
#[must_use]
pub fn digest(result: &Value, query: &SearchQuery, validate: bool) -> Digested<SearchData> {
    let page = wire::product_page(result);
    let empty = page.products.is_empty();
    let (products, dropped) = product::products(page.products, &query.target, validate);
    let data = SearchData {
        total_record_count: page.total_record_count.unwrap_or_else(|| count_of(products.len())),
        current_page: page.current_page_no.unwrap_or_else(|| u64::from(query.page_no)),
        page_size: query.page_size,
        dropped: dropped.clone(),
        products,
    };
    Digested { data, dropped, empty, degraded: degraded(validate) }
}

/// The answer when the upstream says that there is nothing.
#[must_use]
pub fn nothing(query: &SearchQuery) -> Digested<SearchData> {
    let data = SearchData {
        current_page: u64::from(query.page_no),
        page_size: query.page_size,
        ..SearchData::default()
    };
    Digested { data, dropped: Dropped::default(), empty: true, degraded: Vec::new() }
}

/// What `degraded` says about validation.
pub(super) fn degraded(validate: bool) -> Vec<&'static str> {
    if validate { Vec::new() } else { vec![DEGRADED_VALIDATION] }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::products::aliexpress::methods::{HOT_PRODUCT_QUERY, PRODUCT_QUERY};
    use crate::services::products::fixtures::{self, search_query};

    #[test]
    fn a_page_is_digested_and_reads_back() {
        let result = json!({"current_page_no": 1, "total_record_count": 1_000_000_000_000_u64,
            "products": {"product": [fixtures::wire_product(1), {"product_title": "no id here"}]}});
        let digested = digest(&result, &search_query(), true);
        assert_eq!(digested.data.products.len(), 1);
        assert_eq!(digested.data.total_record_count, 1_000_000_000_000);
        assert_eq!((digested.dropped.total(), digested.empty), (1, false));
        let stored = serde_json::to_vec(&digested.data).unwrap();
        assert_eq!(serde_json::from_slice::<SearchData>(&stored).unwrap(), digested.data);
    }

    #[test]
    fn an_answer_without_counts_is_counted_here() {
        let digested =
            digest(&json!({"products": [fixtures::wire_product(1)]}), &search_query(), true);
        assert_eq!((digested.data.total_record_count, digested.data.current_page), (1, 1));
    }

    #[test]
    fn nothing_is_an_empty_page() {
        let none = nothing(&search_query());
        assert!(none.empty && none.data.products.is_empty());
        assert_eq!(digest(&json!({}), &search_query(), true).data, none.data);
        let text = serde_json::to_string(&none.data).unwrap();
        assert_eq!(
            text,
            r#"{"products":[],"total_record_count":0,"current_page":1,"page_size":20}"#
        );
    }

    #[test]
    fn without_validation_the_answer_says_so() {
        let digested =
            digest(&json!({"products": [fixtures::wire_product(1)]}), &search_query(), false);
        assert_eq!(digested.degraded, ["validation"]);
    }

    #[test]
    fn hot_products_are_another_method() {
        assert_eq!(request(&search_query(), Among::All).method, PRODUCT_QUERY);
        assert_eq!(request(&search_query(), Among::Hot).method, HOT_PRODUCT_QUERY);
    }
}
