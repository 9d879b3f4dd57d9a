//! What a client asks of search and of hot products, checked.
//!
//! Owns: fields, defaults and bounds of a search. Refuses: whatever the upstream would not
//! understand, all mistakes at once. Decided here:
//! - A search may have neither keywords nor categories: the upstream then lists its catalogue,
//!   and a storefront browses so.
//! - White space in keywords is folded, because it means nothing; case is kept, because nothing
//!   says that the upstream ignores it.
//! - A price bound finer than the currency's smallest unit is rounded inwards, so that nothing
//!   outside the bounds comes back.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{Array, Object, OneOfBuilder, Schema, Type};
use utoipa::{IntoParams, ToSchema};

use super::check::Check;
use super::input::RawForm;
use super::invalid::InvalidField;
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::aliexpress::terms::{Currency, Language, Sort};

/// Longest keywords, in characters.
pub const MAX_KEYWORDS: usize = 256;
/// Most categories of one search.
pub const MAX_CATEGORIES: usize = 50;
/// Most products of one page.
pub const MAX_PAGE_SIZE: u32 = 50;
/// Highest page; far beyond what anybody reads, and within what the upstream takes.
pub const MAX_PAGE: u32 = 10_000;
/// Products of a page when nothing else is asked for.
pub const DEFAULT_PAGE_SIZE: u32 = 20;
/// Highest price bound, in major units.
const MAX_PRICE_BOUND: i64 = 1_000_000_000;

/// A search as a client sends it, in the query string or as a JSON object. Numbers may be texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[schema(as = SearchRequest)]
#[serde(deny_unknown_fields)]
pub struct RawSearch {
    /// Words to look for; white space is folded.
    #[schema(value_type = Option<String>, max_length = 256, example = "wireless earbuds")]
    #[param(value_type = Option<String>, max_length = 256, example = "wireless earbuds")]
    pub keywords: Option<Value>,
    /// Category ids, separated by commas; in a body also a list.
    #[schema(schema_with = category_ids_schema)]
    #[param(value_type = Option<String>, example = "26,55")]
    pub category_ids: Option<Value>,
    /// Least price, in units of the currency.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    #[param(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub min_sale_price: Option<Value>,
    /// Highest price, in units of the currency.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1_000_000_000)]
    #[param(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1_000_000_000)]
    pub max_sale_price: Option<Value>,
    /// Page, from 1.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1)]
    pub page_no: Option<Value>,
    /// Products a page.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    pub page_size: Option<Value>,
    /// Order of the products; the upstream's own order of relevance when absent.
    #[schema(value_type = Option<Sort>)]
    #[param(value_type = Option<Sort>, inline)]
    pub sort: Option<Value>,
    /// Country shipped to, two letters.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z]{2}$", example = "US")]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z]{2}$", example = "US")]
    pub ship_to_country: Option<Value>,
    /// Currency of prices and price bounds.
    #[schema(value_type = Option<Currency>)]
    #[param(value_type = Option<Currency>, inline)]
    pub currency: Option<Value>,
    /// Language of titles and category names.
    #[schema(value_type = Option<Language>)]
    #[param(value_type = Option<Language>, inline)]
    pub language: Option<Value>,
}

impl RawForm for RawSearch {}

/// Category ids as a body may give them: one text, or a list.
pub(super) fn category_ids_schema() -> Schema {
    let texts = OneOfBuilder::new()
        .description(Some("Category ids: texts or numbers in a list, or one comma-separated text."))
        .item(Object::with_type(Type::String))
        .item(Array::new(Object::with_type(Type::String)))
        .item(Object::with_type(Type::Null))
        .examples([serde_json::json!("26,55"), serde_json::json!(["26", "55"])])
        .build();
    Schema::OneOf(texts)
}

/// A valid search in canonical form: two that mean the same are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SearchQuery {
    /// Words to look for, white space folded.
    pub keywords: Option<String>,
    /// Categories, ascending, each once.
    pub category_ids: Vec<u64>,
    /// Least price in the currency's smallest unit; `None` for no bound.
    pub min_sale_price: Option<u64>,
    /// Highest price in the currency's smallest unit.
    pub max_sale_price: Option<u64>,
    /// Page, from 1.
    pub page_no: u32,
    /// Products a page, 1..=50.
    pub page_size: u32,
    /// Order; the upstream's own when `None`.
    pub sort: Option<Sort>,
    /// Currency, language, destination, tracking id.
    pub target: Target,
}

/// Checks a search. What it does not say about currency, language, destination and tracking id
/// is taken from `defaults`.
///
/// # Errors
/// Every field that is not as allowed.
pub fn validate(raw: &RawSearch, defaults: &Target) -> Result<SearchQuery, Vec<InvalidField>> {
    let mut check = Check::default();
    let query = search_query(&mut check, raw, defaults);
    check.finish(query)
}

/// Reads a search, noting every mistake in `check`.
pub(super) fn search_query(check: &mut Check, raw: &RawSearch, defaults: &Target) -> SearchQuery {
    let target = target(check, &Place::of(raw), defaults);
    let keywords = check.words("keywords", raw.keywords.as_ref(), MAX_KEYWORDS);
    let mut category_ids = check.ids("category_ids", raw.category_ids.as_ref(), MAX_CATEGORIES);
    category_ids.sort_unstable();
    let (min_sale_price, max_sale_price) = price_bounds(check, raw, target.currency);
    let (page_no, page_size) = page(check, raw.page_no.as_ref(), raw.page_size.as_ref());
    let sort = check.word("sort", raw.sort.as_ref(), Sort::parse, &codes(Sort::ALL, Sort::code));
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

/// Page number and size with their defaults.
pub(super) fn page(check: &mut Check, no: Option<&Value>, size: Option<&Value>) -> (u32, u32) {
    (
        check.whole("page_no", no, 1..=MAX_PAGE).unwrap_or(1),
        check.whole("page_size", size, 1..=MAX_PAGE_SIZE).unwrap_or(DEFAULT_PAGE_SIZE),
    )
}

fn price_bounds(
    check: &mut Check,
    raw: &RawSearch,
    currency: Currency,
) -> (Option<u64>, Option<u64>) {
    let range = Decimal::ZERO..=Decimal::from(MAX_PRICE_BOUND);
    let min = check.decimal("min_sale_price", raw.min_sale_price.as_ref(), range.clone());
    let max = check.decimal("max_sale_price", raw.max_sale_price.as_ref(), range);
    let lower = min.and_then(|min| currency.lower_bound(min)).filter(|min| *min > 0);
    let upper = max.and_then(|max| currency.upper_bound(max));
    if upper == Some(0) {
        let smallest = Decimal::new(1, currency.decimals());
        check.refuse("max_sale_price", "is below every price", format!("{smallest} or more"));
    } else if let (Some(lower), Some(upper)) = (lower, upper)
        && lower > upper
    {
        check.refuse(
            "min_sale_price",
            "leaves no price below max_sale_price",
            "at most max_sale_price",
        );
    }
    (lower, upper)
}

/// The three fields that say for whom an answer is made.
#[derive(Debug, Default)]
pub(super) struct Place<'a> {
    pub(super) currency: Option<&'a Value>,
    pub(super) language: Option<&'a Value>,
    pub(super) ship_to_country: Option<&'a Value>,
}

impl<'a> Place<'a> {
    fn of(raw: &'a RawSearch) -> Self {
        Self {
            currency: raw.currency.as_ref(),
            language: raw.language.as_ref(),
            ship_to_country: raw.ship_to_country.as_ref(),
        }
    }
}

/// Reads for whom an answer is made.
pub(super) fn target(check: &mut Check, place: &Place<'_>, defaults: &Target) -> Target {
    let currencies = codes(Currency::REQUESTABLE, Currency::code);
    let languages = codes(Language::ALL, Language::code);
    let currency = check.word("currency", place.currency, Currency::requestable, &currencies);
    let language = check.word("language", place.language, Language::parse, &languages);
    let ship_to =
        check.word("ship_to_country", place.ship_to_country, country, "a two-letter country code");
    Target {
        currency: currency.unwrap_or(defaults.currency),
        language: language.unwrap_or(defaults.language),
        ship_to: ship_to.or_else(|| defaults.ship_to.clone()),
        tracking_id: defaults.tracking_id.clone(),
    }
}

/// An ISO 3166-1 alpha-2 code, upper case.
fn country(code: &str) -> Option<String> {
    let two_letters = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic());
    two_letters.then(|| code.to_ascii_uppercase())
}

pub(super) fn codes<T: Copy, const N: usize>(all: [T; N], code: fn(T) -> &'static str) -> String {
    all.map(code).join(", ")
}
