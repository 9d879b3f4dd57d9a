//! The catalogue, and finding in it: from a query to one page of products.
//!
//! Owns: which products match, their order and the page; words are the index's. Products lie in the order
//! of units sold, and a product's place is its number here. Has no neighbour.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::index::{Found, Index};
use super::load::{self, LoadReport};
use super::money::Currency;
use super::product::{Categories, Product};

/// In which order products come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    /// The shop's own: those with more of the words in their title first, then most sold first.
    #[default]
    Shop,
    /// Cheapest first; products without a price last.
    PriceUp,
    /// Dearest first; products without a price last.
    PriceDown,
    VolumeUp,
    VolumeDown,
    DiscountUp,
    DiscountDown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) min: u64,
    pub(crate) max: u64,
    pub(crate) currency: Currency,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// Free text; empty: everything, without a word in it nothing.
    pub(crate) keywords: String,
    /// Any of these categories or one below; empty: all.
    pub(crate) categories: Vec<u64>,
    pub(crate) bounds: Option<Bounds>,
    /// Only products whose price is in this currency.
    pub(crate) priced_in: Option<Currency>,
    /// Only the so many most sold products of the catalogue.
    pub(crate) among_first: Option<usize>,
    pub(crate) sort: Sort,
    pub(crate) skip: usize,
    pub(crate) take: usize,
}

#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) products: Vec<&'a Product>,
    /// How many there are on all pages.
    pub(crate) total: usize,
}

/// Products in order of units sold, most first.
#[derive(Debug)]
pub(crate) struct Catalogue {
    products: Vec<Product>,
    by_id: HashMap<u64, usize>,
    categories: Categories,
    index: Index,
}

impl Catalogue {
    /// Reads the file at `path`, or the built-in catalogue, and says what was skipped.
    pub(crate) fn load(path: Option<&Path>) -> io::Result<(Self, LoadReport)> {
        let load::Lines { products, categories, report } = load::read(path)?;
        Ok((Self::of(products, categories), report))
    }

    pub(super) fn of(mut products: Vec<Product>, categories: Categories) -> Self {
        products.sort_by_key(|product| (Reverse(product.volume), product.id));
        let by_id = products.iter().enumerate().map(|(at, product)| (product.id, at)).collect();
        let index =
            Index::of(products.iter().map(|one| (one.title.as_str(), found_by(one, &categories))));
        Self { products, by_id, categories, index }
    }

    pub(crate) fn product(&self, id: u64) -> Option<&Product> {
        self.products.get(*self.by_id.get(&id)?)
    }

    pub(crate) fn products(&self) -> &[Product] {
        &self.products
    }

    pub(crate) const fn categories(&self) -> &Categories {
        &self.categories
    }

    pub(crate) fn search(&self, query: &Query) -> Page<'_> {
        let first = query.among_first.unwrap_or(usize::MAX);
        let mut found = match query.keywords.trim() {
            "" => (0..self.products.len()).map(|place| Found { place, in_title: 0 }).collect(),
            keywords => self.index.matching(keywords),
        };
        found.retain(|one| {
            one.place < first && self.products.get(one.place).is_some_and(|it| fits(it, query))
        });
        if query.sort == Sort::Shop {
            found.sort_by_key(|one| Reverse(one.in_title));
        }
        let mut found: Vec<usize> = found.into_iter().map(|one| one.place).collect();
        let price = |at: &usize| Some(self.products.get(*at)?.price.known()?.dollars());
        let discount = |at: &usize| self.products.get(*at).map(|one| one.discount_percent);
        match query.sort {
            Sort::Shop | Sort::VolumeDown => {}
            Sort::VolumeUp => found.reverse(),
            Sort::PriceUp => found.sort_by_cached_key(|at| {
                let price = price(at);
                (price.is_none(), price)
            }),
            Sort::PriceDown => found.sort_by_cached_key(|at| Reverse(price(at))),
            Sort::DiscountUp => found.sort_by_key(discount),
            Sort::DiscountDown => found.sort_by_key(|at| Reverse(discount(at))),
        }
        let page = found.iter().skip(query.skip).take(query.take);
        let products = page.filter_map(|at| self.products.get(*at)).collect();
        Page { products, total: found.len() }
    }

    /// Products that share words with the title of `id`, the closest first, itself left out.
    pub(crate) fn similar_to(&self, id: u64) -> Vec<&Product> {
        let Some(product) = self.product(id) else { return Vec::new() };
        let found = self.index.like(&product.title).into_iter();
        found.filter_map(|at| self.products.get(at)).filter(|other| other.id != id).collect()
    }
}

/// Beside its title a product is found by its brand and its categories.
fn found_by(product: &Product, categories: &Categories) -> String {
    let names = product.categories.iter().filter_map(|id| categories.name(*id));
    product.brand.as_deref().into_iter().chain(names).collect::<Vec<_>>().join(" ")
}

fn fits(product: &Product, query: &Query) -> bool {
    let price = product.price.known();
    let category = query.categories.is_empty()
        || product.categories.iter().any(|id| query.categories.contains(id));
    category
        && query.priced_in.is_none_or(|asked| price.is_some_and(|price| price.currency == asked))
        // A product without a price is within no bounds.
        && query.bounds.is_none_or(|Bounds { min, max, currency }| {
            price.is_some_and(|price| (min..=max).contains(&price.to(currency).minor()))
        })
}
