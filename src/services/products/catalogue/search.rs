//! From a query to one page of products.
//!
//! Owns: filters, order and paging. Everything is an index into the products, which lie in the
//! order of units sold; only the products up to the end of the page are ever sorted. Has no
//! neighbour.

use std::cmp::Reverse;

use super::money::{Currency, Money};
use super::{Catalogue, Price, Product};

/// In which order products come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    /// The shop's own: most sold first.
    #[default]
    Shop,
    /// Cheapest first; products without a price last.
    PriceUp,
    /// Dearest first; products without a price last.
    PriceDown,
    /// Least sold first.
    VolumeUp,
    /// Most sold first.
    VolumeDown,
}

/// Price bounds, both inclusive, in the currency's smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// At least this.
    pub(crate) min: u64,
    /// At most this.
    pub(crate) max: u64,
    /// In this currency.
    pub(crate) currency: Currency,
}

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// Free text; without a word in it, everything.
    pub(crate) keywords: String,
    /// Any of these categories or one below; empty: all.
    pub(crate) categories: Vec<u64>,
    /// Price bounds.
    pub(crate) bounds: Option<Bounds>,
    /// Only products whose price is in this currency.
    pub(crate) priced_in: Option<Currency>,
    /// Arrives within so many days.
    pub(crate) delivery_days: Option<u64>,
    /// Only the so many most sold products of the catalogue.
    pub(crate) among_first: Option<usize>,
    /// Only products with at least this discount.
    pub(crate) min_discount: u64,
    /// Order.
    pub(crate) sort: Sort,
    /// How many to pass over.
    pub(crate) skip: usize,
    /// How many to take.
    pub(crate) take: usize,
}

/// One page of what was found.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// The products of the page.
    pub(crate) products: Vec<&'a Product>,
    /// How many there are on all pages.
    pub(crate) total: usize,
}

/// Each product's place in the orders by price.
#[derive(Debug)]
pub(crate) struct Ranks {
    up: Vec<usize>,
    down: Vec<usize>,
}

impl Ranks {
    /// Ranks of these products; whoever has no price comes last both ways.
    pub(crate) fn of(products: &[Product]) -> Self {
        let worth: Vec<(usize, Option<u128>)> = products.iter().map(worth).enumerate().collect();
        let mut order = worth;
        order.sort_by_key(|(_, worth)| (worth.is_none(), *worth));
        let up = ranks(&order);
        order.sort_by_key(|(at, worth)| (worth.is_none(), Reverse(*worth), *at));
        Self { up, down: ranks(&order) }
    }

    fn key(&self, sort: Sort, at: usize) -> usize {
        match sort {
            Sort::Shop | Sort::VolumeDown => at,
            Sort::VolumeUp => usize::MAX - at,
            Sort::PriceUp => self.up.get(at).copied().unwrap_or(usize::MAX),
            Sort::PriceDown => self.down.get(at).copied().unwrap_or(usize::MAX),
        }
    }
}

/// From an order of products to each product's place in it.
fn ranks(order: &[(usize, Option<u128>)]) -> Vec<usize> {
    let mut ranks = vec![usize::MAX; order.len()];
    for (rank, (at, _)) in order.iter().enumerate() {
        if let Some(place) = ranks.get_mut(*at) {
            *place = rank;
        }
    }
    ranks
}

fn worth(product: &Product) -> Option<u128> {
    known_price(product).map(Money::micro_dollars)
}

fn known_price(product: &Product) -> Option<Money> {
    match product.price {
        Price::Known(money) => Some(money),
        Price::Missing | Price::Odd { .. } => None,
    }
}

impl Catalogue {
    /// One page of the products that fit.
    pub(crate) fn search(&self, query: &Query) -> Page<'_> {
        let mut found = self.candidates(query);
        let all = self.products.len();
        found.retain(|at| {
            *at < query.among_first.unwrap_or(all)
                && self.products.get(*at).is_some_and(|product| fits(product, query))
        });
        let end = query.skip.saturating_add(query.take).min(found.len());
        let key = |at: &usize| self.ranks.key(query.sort, *at);
        if !found.is_sorted_by_key(key) {
            if end < found.len() {
                found.select_nth_unstable_by_key(end, key);
            }
            if let Some(wanted) = found.get_mut(..end) {
                wanted.sort_unstable_by_key(key);
            }
        }
        let page = found.get(query.skip..end).unwrap_or_default();
        let products = page.iter().filter_map(|at| self.products.get(*at)).collect();
        Page { products, total: found.len() }
    }

    /// Products that may fit, by the cheapest way to list them.
    fn candidates(&self, query: &Query) -> Vec<usize> {
        if let Some(found) = self.index.matching(&query.keywords) {
            return found;
        }
        match query.categories.as_slice() {
            [] => (0..self.products.len()).collect(),
            [one] => self.by_category.get(one).cloned().unwrap_or_default(),
            several => {
                let lists = several.iter().filter_map(|id| self.by_category.get(id));
                let mut found: Vec<usize> = lists.flatten().copied().collect();
                found.sort_unstable();
                found.dedup();
                found
            }
        }
    }
}

fn fits(product: &Product, query: &Query) -> bool {
    let category = query.categories.is_empty()
        || product.categories.iter().any(|id| query.categories.contains(id));
    category
        && product.discount_percent >= query.min_discount
        && query.delivery_days.is_none_or(|days| product.delivery_days <= days)
        && query.priced_in.is_none_or(|currency| priced_in(product, currency))
        && query.bounds.is_none_or(|bounds| within(product, bounds))
}

fn priced_in(product: &Product, currency: Currency) -> bool {
    known_price(product).is_some_and(|price| price.currency == currency)
}

/// A product without a price is within no bounds.
fn within(product: &Product, bounds: Bounds) -> bool {
    known_price(product)
        .is_some_and(|price| (bounds.min..=bounds.max).contains(&price.to(bounds.currency).minor))
}
