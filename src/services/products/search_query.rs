//! What a search asks for.
//!
//! Owns: the form of a search, which smart searches extend, and its canonical query. Refuses: what the
//! upstream would not understand, all mistakes at once. Has no neighbour. Decided here:
//! - A search may have neither keywords nor categories: the upstream then lists its catalogue, and a
//!   storefront browses so.
//! - Keywords are put into their canonical form ([`Check::search_words`]), and sent so.
//! - A price bound finer than the currency's smallest unit is rounded inwards, so that nothing
//!   outside the bounds comes back.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, Object, OneOfBuilder, Schema, Type};

use super::aliexpress::Target;
use super::aliexpress::terms::{Currency, Sort};
use super::forms::{TargetForm, codes, id_schema, page};
use crate::http::forms::{Check, InvalidField};

/// Longest keywords, in characters.
const MAX_KEYWORDS: usize = 256;
/// Most categories of one search.
const MAX_CATEGORIES: usize = 50;
/// Highest price bound, in major units.
const MAX_PRICE_BOUND: i64 = 1_000_000_000;

/// A search as a client sends it, in the query string or as a JSON object. Numbers may be texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SearchRequest)]
pub(super) struct SearchForm {
    /// Words to look for. Case, white space and the way letters are encoded do not count.
    #[schema(value_type = Option<String>, max_length = 256, example = "wireless earbuds")]
    pub keywords: Option<Value>,
    #[schema(schema_with = category_ids_schema)]
    pub category_ids: Option<Value>,
    /// Least price, in units of the currency.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub min_sale_price: Option<Value>,
    /// Highest price, in units of the currency.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1_000_000_000)]
    pub max_sale_price: Option<Value>,
    /// Page, from 1.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1)]
    pub page_no: Option<Value>,
    /// Products a page; a smart search then leaves out similar and poor ones.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    pub page_size: Option<Value>,
    /// Order of the products. When absent: the upstream's own order of relevance; of a smart search,
    /// best quality first.
    #[schema(value_type = Option<Sort>)]
    pub sort: Option<Value>,
    #[serde(flatten)]
    pub target: TargetForm,
}

/// Category ids as a body may give them: one text, or a list.
fn category_ids_schema() -> Schema {
    let what =
        "Category ids, separated by commas in one text; in a body also texts or numbers in a list.";
    let texts = OneOfBuilder::new()
        .description(Some(what))
        .item(Object::with_type(Type::String))
        .item(Object::with_type(Type::Integer))
        .item(ArrayBuilder::new().items(id_schema()).max_items(Some(MAX_CATEGORIES)))
        .item(Object::with_type(Type::Null))
        .examples([
            serde_json::json!("439132154,447694628"),
            serde_json::json!(["439132154", "447694628"]),
        ])
        .build();
    Schema::OneOf(texts)
}

/// A valid search in canonical form: two that mean the same are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct SearchQuery {
    /// In canonical form.
    pub keywords: Option<String>,
    /// Ascending, each once.
    pub category_ids: Vec<u64>,
    /// In the currency's smallest unit; `None` for no bound.
    pub min_sale_price: Option<u64>,
    pub max_sale_price: Option<u64>,
    pub page_no: u32,
    /// 1..=50.
    pub page_size: u32,
    /// The upstream's own order when `None`.
    pub sort: Option<Sort>,
    pub target: Target,
}

impl SearchForm {
    /// Checks a search. What it does not say about its target is taken from `defaults`.
    ///
    /// # Errors
    /// Every field that is not as allowed.
    pub(super) fn validate(&self, defaults: &Target) -> Result<SearchQuery, Vec<InvalidField>> {
        let mut check = Check::default();
        let query = self.read(&mut check, defaults);
        check.finish(query)
    }

    /// Reads a search, noting every mistake in `check`.
    pub(super) fn read(&self, check: &mut Check, defaults: &Target) -> SearchQuery {
        let target = self.target.read(check, defaults);
        let keywords = check.search_words("keywords", self.keywords.as_ref(), MAX_KEYWORDS);
        let category_ids = self.category_ids.as_ref();
        let mut category_ids = check.ids("category_ids", category_ids, MAX_CATEGORIES);
        category_ids.sort_unstable();
        let (min_sale_price, max_sale_price) = self.price_bounds(check, target.currency);
        let (page_no, page_size) = page(check, self.page_no.as_ref(), self.page_size.as_ref());
        let sorts = codes(Sort::ALL, Sort::code);
        let sort = check.word("sort", self.sort.as_ref(), Sort::parse, &sorts);
        SearchQuery {
            keywords,
            category_ids,
            min_sale_price,
            max_sale_price,
            page_no,
            page_size,
            sort,
            target,
        }
    }

    fn price_bounds(&self, check: &mut Check, currency: Currency) -> (Option<u64>, Option<u64>) {
        let range = Decimal::ZERO..=Decimal::from(MAX_PRICE_BOUND);
        let min = check.decimal("min_sale_price", self.min_sale_price.as_ref(), range.clone());
        let max = check.decimal("max_sale_price", self.max_sale_price.as_ref(), range);
        let lower = min.and_then(|min| currency.lower_bound(min)).filter(|min| *min > 0);
        let upper = max.and_then(|max| currency.upper_bound(max));
        if upper == Some(0) {
            let smallest = Decimal::new(1, currency.decimals());
            check.refuse("max_sale_price", "is below every price", format!("{smallest} or more"));
        } else if let (Some(lower), Some(upper)) = (lower, upper)
            && lower > upper
        {
            let problem = "leaves no price below max_sale_price";
            check.refuse("min_sale_price", problem, "at most max_sale_price");
        }
        (lower, upper)
    }
}
