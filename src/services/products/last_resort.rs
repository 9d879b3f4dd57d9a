//! Answers from a catalogue file, for when every tier and the upstream have failed.
//!
//! Owns: what a catalogue can say truly, written as a `result` of the upstream, so that it is read like
//! any other. Plain functions of the question and the catalogue. Refuses: to say that there is nothing.
//! What the catalogue does not hold may well exist, so a question without a product in its answer stays
//! the failure it was. Decided here:
//! - Prices stay in the currency of the catalogue, which every product names: a rate would be
//!   invented. With price bounds only products priced in the currency asked for are looked at,
//!   since of the others nobody can say whether they are within.
//! - What the file does not say (discount, commission, ratings, shop, links) is left out. Language
//!   and destination change nothing.
//! - Products are validated and scored like any other.

use std::fmt;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::aliexpress::terms;
use super::catalogue::money::Currency;
use super::catalogue::{self, Bounds, Catalogue, LoadReport, Price, Query};
use super::search_query::SearchQuery;

/// Hot products are one in so many, those that sell most, but no fewer than [`LEAST_HOT`].
const HOT_ONE_IN: usize = 5;
const LEAST_HOT: usize = 100;

/// A catalogue to answer from: read once, never changed, shared by all workers.
pub struct LastResort {
    catalogue: Catalogue,
    source: String,
}

impl fmt::Debug for LastResort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LastResort")
            .field("source", &self.source)
            .field("products", &self.products())
            .finish_non_exhaustive()
    }
}

impl LastResort {
    /// Reads the file (`.jsonl`, plain or gzip) and says what became of its lines. Blocks.
    ///
    /// # Errors
    /// The file cannot be read to its end, or has no good line.
    pub fn load(path: &Path) -> io::Result<(Self, LoadReport)> {
        let (catalogue, report) = Catalogue::load(Some(path))?;
        Ok((Self { catalogue, source: report.source.clone() }, report))
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    #[must_use]
    pub fn products(&self) -> usize {
        self.catalogue.products().len()
    }

    /// One page of a search; `None` when it cannot be put to the catalogue.
    pub(super) fn search(&self, query: &SearchQuery, hot: bool) -> Option<Value> {
        let page = self.catalogue.search(&self.question(query, hot)?);
        let products: Vec<_> = page.products.iter().map(|one| self.written(one)).collect();
        Some(json!({"products": products, "total_record_count": page.total}))
    }

    /// One product; `None` when the catalogue does not hold it, or when it earns no commission (the
    /// upstream does not tell of such a product either).
    pub(super) fn product(&self, id: u64) -> Option<Value> {
        let found = self.catalogue.product(id)?;
        found.commission_permille?;
        Some(json!({"products": [self.written(found)]}))
    }

    pub(super) fn categories(&self) -> Value {
        let categories = self.catalogue.categories().flat().iter().map(|one| {
            json!({
                "category_id": one.id,
                "category_name": one.name,
                "parent_category_id": one.parent,
            })
        });
        json!({ "categories": categories.collect::<Vec<_>>() })
    }

    /// The query in the catalogue's words; `None` when it has no word for the currency of bounds.
    fn question(&self, query: &SearchQuery, hot: bool) -> Option<Query> {
        let bounds = match (query.min_sale_price, query.max_sale_price) {
            (None, None) => None,
            (min, max) => Some(Bounds {
                min: min.unwrap_or(0),
                max: max.unwrap_or(u64::MAX),
                currency: Currency::named(query.target.currency.code())?,
            }),
        };
        let take = usize::try_from(query.page_size).ok()?;
        let pages_before = usize::try_from(query.page_no.saturating_sub(1)).ok()?;
        Some(Query {
            keywords: query.keywords.clone().unwrap_or_default(),
            categories: query.category_ids.clone(),
            bounds,
            priced_in: bounds.map(|bounds| bounds.currency),
            among_first: hot.then(|| (self.products() / HOT_ONE_IN).max(LEAST_HOT)),
            sort: sort(query.sort),
            skip: pages_before.saturating_mul(take),
            take,
        })
    }

    /// A product as the upstream would write it, as far as the file says.
    fn written(&self, product: &catalogue::Product) -> Value {
        let id = product.id;
        let (amount, currency) = match &product.price {
            Price::Missing => (None, None),
            Price::Known(money) => (Some(money.text()), Some(money.currency.code)),
            Price::Odd { amount, currency } => (Some(amount.clone()), Some(currency.as_str())),
        };
        let category = |level: usize| product.categories.get(level);
        let name = |level| category(level).and_then(|id| self.catalogue.categories().name(*id));
        json!({
            "product_id": id,
            "product_title": product.title,
            "product_detail_url": format!("https://www.aliexpress.com/item/{id}.html"),
            "product_main_image_url": product.image_url,
            "product_small_image_urls": product.images,
            "target_sale_price": amount,
            "target_sale_price_currency": currency,
            "lastest_volume": product.popularity,
            "first_level_category_id": category(0),
            "first_level_category_name": name(0),
            "second_level_category_id": category(1),
            "second_level_category_name": name(1),
        })
    }
}

/// Among several currencies the order by price follows the catalogue's fixed table of rates: it is
/// only an order, no price is made of it. The file names no discounts to order by.
fn sort(asked: Option<terms::Sort>) -> catalogue::Sort {
    match asked {
        None | Some(terms::Sort::DiscountAsc | terms::Sort::DiscountDesc) => catalogue::Sort::Shop,
        Some(terms::Sort::SalePriceAsc) => catalogue::Sort::PriceUp,
        Some(terms::Sort::SalePriceDesc) => catalogue::Sort::PriceDown,
        Some(terms::Sort::LastVolumeAsc) => catalogue::Sort::VolumeUp,
        Some(terms::Sort::LastVolumeDesc) => catalogue::Sort::VolumeDown,
    }
}

#[cfg(test)]
#[path = "last_resort_tests.rs"]
mod tests;
