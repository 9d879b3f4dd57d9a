//! Answers from a catalogue file, for when every tier and the upstream have failed.
//!
//! Owns: what a catalogue can say truly, in the shapes of every other answer. Plain functions of the
//! question and the catalogue. Refuses: to say that there is nothing. What the catalogue does not
//! hold may well exist, so a question without a product in its answer stays the failure it was.
//! Decided here:
//! - Prices stay in the currency of the catalogue, which every product names: a rate would be
//!   invented. With price bounds only products priced in the currency asked for are looked at,
//!   since of the others nobody can say whether they are within.
//! - What the file does not say (discount, commission, ratings, shop, links) is left out. Language
//!   and destination change nothing.
//! - Products are validated and scored like any other.

use std::fmt;
use std::io;
use std::path::Path;

use super::ask::Reading;
use super::count_of;
use super::dropped::Dropped;
use super::endpoints::categories::{CategoriesData, Category};
use super::endpoints::search::{SearchData, SearchQuery};
use super::product::{self, Product};
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::aliexpress::{terms, wire};
use crate::services::products::catalogue::money::Currency;
use crate::services::products::catalogue::{self, Bounds, Catalogue, LoadReport, Price, Query};

/// In `degraded`: the answer, or a part of it, was made from the catalogue file.
pub(super) const DEGRADED_LAST_RESORT: &str = "last_resort";

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

    /// The file it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// How many products it holds.
    #[must_use]
    pub fn products(&self) -> usize {
        self.catalogue.products().len()
    }

    /// One page of a search; `None` when it would hold no product.
    #[must_use]
    pub(super) fn search(
        &self,
        query: &SearchQuery,
        hot: bool,
        validate: bool,
    ) -> Option<Reading<SearchData>> {
        let page = self.catalogue.search(&self.question(query, hot)?);
        let found = page.products.iter().map(|product| self.written(product)).collect();
        let (products, dropped) = product::products(found, &query.target, validate);
        if products.is_empty() {
            return None;
        }
        let data = SearchData {
            products,
            total_record_count: count_of(page.total),
            current_page: u64::from(query.page_no),
            page_size: query.page_size,
            dropped: dropped.clone(),
        };
        Some(Reading { data, dropped, is_empty: false })
    }

    /// One product; `None` when the catalogue does not hold it, when it earns no commission (the
    /// upstream does not tell of such a product either), or when it is unfit to be shown.
    #[must_use]
    pub(super) fn product(
        &self,
        id: u64,
        target: &Target,
        validate: bool,
    ) -> Option<Reading<Product>> {
        let found = self.catalogue.product(id)?;
        found.commission_permille?;
        let data = product::product(self.written(found), target, validate).ok()?;
        let dropped = Dropped::default();
        Some(Reading { data, dropped, is_empty: false })
    }

    /// All categories; `None` when the catalogue names none.
    #[must_use]
    pub(super) fn categories(&self) -> Option<Reading<CategoriesData>> {
        let categories: Vec<_> = self.catalogue.categories().flat().iter().map(category).collect();
        if categories.is_empty() {
            return None;
        }
        let data = CategoriesData { total_count: count_of(categories.len()), categories };
        Some(Reading { data, dropped: Dropped::default(), is_empty: false })
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
            ..Query::default()
        })
    }

    /// A product as the upstream would write it, as far as the file says.
    fn written(&self, product: &catalogue::Product) -> wire::Product {
        let level = |id: Option<&u64>| wire::CategoryName {
            id: id.copied(),
            name: id.and_then(|id| self.catalogue.categories().name(*id)).map(str::to_owned),
        };
        wire::Product {
            product_id: Some(product.id),
            title: Some(product.title.clone()),
            detail_url: Some(format!("https://www.aliexpress.com/item/{}.html", product.id)),
            main_image_url: product.image_url.clone(),
            small_image_urls: product.images.clone(),
            promotion_link: None,
            sale_price: amount(&product.price),
            original_price: None,
            discount: None,
            commission_rate: None,
            evaluate_rate: None,
            latest_volume: product.popularity,
            first_level: level(product.categories.first()),
            second_level: level(product.categories.get(1)),
            shop_id: None,
            shop_url: None,
        }
    }
}

fn amount(price: &Price) -> Option<wire::Money> {
    let (amount, currency) = match price {
        Price::Missing => return None,
        Price::Known(money) => (money.text(), money.currency.code.to_owned()),
        Price::Odd { amount, currency } => (amount.clone(), currency.clone()),
    };
    Some(wire::Money { amount, currency: Some(currency), targeted: true })
}

fn category(known: &catalogue::Category) -> Category {
    Category {
        category_id: known.id.to_string(),
        category_name: known.name.clone(),
        parent_category_id: known.parent.map(|id| id.to_string()),
    }
}

/// Among several currencies the order by price follows the catalogue's fixed table of rates: it is
/// only an order, no price is made of it.
fn sort(asked: Option<terms::Sort>) -> catalogue::Sort {
    match asked {
        None => catalogue::Sort::Shop,
        Some(terms::Sort::SalePriceAsc) => catalogue::Sort::PriceUp,
        Some(terms::Sort::SalePriceDesc) => catalogue::Sort::PriceDown,
        Some(terms::Sort::LastVolumeAsc) => catalogue::Sort::VolumeUp,
        Some(terms::Sort::LastVolumeDesc) => catalogue::Sort::VolumeDown,
    }
}

#[cfg(test)]
#[path = "last_resort_tests.rs"]
mod tests;
