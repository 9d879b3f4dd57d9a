//! What a client asks of smart search, checked.
//!
//! Owns: the fields that smart search adds to a search. Refuses: what [`super::query`] refuses, and
//! its own fields out of bounds, all mistakes at once.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::check::Check;
use super::input::RawForm;
use super::invalid::InvalidField;
use super::query::{RawSearch, SearchQuery, category_ids_schema, search_query};
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::aliexpress::terms::{Currency, Language, Sort};

/// A smart search as a client sends it: a search and what to do with its products.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[schema(as = SmartSearchRequest)]
#[serde(deny_unknown_fields)]
pub struct RawSmartSearch {
    /// Words to look for; white space is folded.
    #[schema(value_type = Option<String>, max_length = 256, example = "wireless earbuds")]
    #[param(value_type = Option<String>, max_length = 256, example = "wireless earbuds")]
    pub keywords: Option<Value>,
    /// Category ids, separated by commas; in a body also a list.
    #[schema(schema_with = category_ids_schema)]
    #[param(value_type = Option<String>, example = "26,55")]
    pub category_ids: Option<Value>,
    /// One category id, added to `category_ids`.
    #[schema(value_type = Option<String>, example = "26")]
    #[param(value_type = Option<String>, example = "26")]
    pub category_id: Option<Value>,
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
    /// Products a page, before similar and poor ones are left out.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    pub page_size: Option<Value>,
    /// Order of the products; best quality first when absent.
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
    /// Whether every product gets an affiliate link of its own.
    #[schema(value_type = Option<bool>, default = true)]
    #[param(value_type = Option<bool>, default = true)]
    pub generate_affiliate_links: Option<Value>,
    /// Whether the cache is read past; the fresh answer is stored all the same.
    #[schema(value_type = Option<bool>, default = false)]
    #[param(value_type = Option<bool>, default = false)]
    pub force_refresh: Option<Value>,
    /// Least quality score of a product.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1, default = 0)]
    #[param(value_type = Option<f64>, minimum = 0, maximum = 1, default = 0)]
    pub min_quality: Option<Value>,
}

impl RawForm for RawSmartSearch {}

/// A valid smart search.
#[derive(Debug, Clone, PartialEq)]
pub struct SmartQuery {
    /// The search beneath it, cached by itself.
    pub search: SearchQuery,
    /// Whether every product gets an affiliate link of its own.
    pub generate_affiliate_links: bool,
    /// Whether the cache is read past.
    pub force_refresh: bool,
    /// Least quality score, 0..=1.
    pub min_quality: f64,
}

/// Checks a smart search.
///
/// # Errors
/// Every field that is not as allowed.
pub fn validate(raw: RawSmartSearch, defaults: &Target) -> Result<SmartQuery, Vec<InvalidField>> {
    let mut check = Check::default();
    let extra_category = check.ids("category_id", raw.category_id.as_ref(), 1);
    let links = check.flag("generate_affiliate_links", raw.generate_affiliate_links.as_ref());
    let refresh = check.flag("force_refresh", raw.force_refresh.as_ref());
    let quality =
        check.decimal("min_quality", raw.min_quality.as_ref(), Decimal::ZERO..=Decimal::ONE);
    let mut search = search_query(&mut check, &plain(raw), defaults);
    search.category_ids.extend(extra_category);
    search.category_ids.sort_unstable();
    search.category_ids.dedup();
    check.finish(SmartQuery {
        search,
        generate_affiliate_links: links.unwrap_or(true),
        force_refresh: refresh.unwrap_or(false),
        min_quality: quality.and_then(|quality| quality.to_f64()).unwrap_or(0.0),
    })
}

fn plain(raw: RawSmartSearch) -> RawSearch {
    RawSearch {
        keywords: raw.keywords,
        category_ids: raw.category_ids,
        min_sale_price: raw.min_sale_price,
        max_sale_price: raw.max_sale_price,
        page_no: raw.page_no,
        page_size: raw.page_size,
        sort: raw.sort,
        ship_to_country: raw.ship_to_country,
        currency: raw.currency,
        language: raw.language,
    }
}
