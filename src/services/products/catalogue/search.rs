//! The catalogue, and finding in it: from a query to one page of products.
//!
//! Owns: what a word is, which products match, their order and the page. Products lie in the order of
//! units sold, and a product's place is its number here. Has no neighbour.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;

use super::load::{self, LoadReport};
use super::money::Currency;
use super::product::{Categories, Product};

/// More different words than this in one search are not looked at.
const MOST_WORDS: usize = 64;

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
    /// Free text; without a word in it, everything.
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

/// For each word the places of the products that have it, ascending.
#[derive(Debug, Default)]
pub(super) struct Index {
    places: HashMap<String, Vec<usize>>,
    products: usize,
}

impl Index {
    pub(super) fn of(texts: impl Iterator<Item = String>) -> Self {
        let mut index = Self::default();
        for text in texts {
            for word in words(&text) {
                index.places.entry(word).or_default().push(index.products);
            }
            index.products += 1;
        }
        index
    }

    /// Products with all the words match; when no product has all of them, those that share the most
    /// words match, if that is at least half of them. `None` when there is no word.
    fn matching(&self, keywords: &str) -> Option<Vec<usize>> {
        let asked = words(keywords);
        if asked.is_empty() {
            return None;
        }
        let shared = self.shared(&asked, self.products);
        let most = shared.values().copied().max().unwrap_or(0);
        let mut found: Vec<usize> = if most * 2 < asked.len() {
            Vec::new()
        } else {
            shared.into_iter().filter(|(_, words)| *words == most).map(|(at, _)| at).collect()
        };
        found.sort_unstable();
        Some(found)
    }

    /// Products that share any telling word with `text`, the most words first. A word that more
    /// than a tenth of the products have tells nothing.
    fn like(&self, text: &str) -> Vec<usize> {
        let shared = self.shared(&words(text), self.products / 10 + 1);
        let mut found: Vec<_> = shared.into_iter().collect();
        found.sort_by_key(|(at, words)| (Reverse(*words), *at));
        found.into_iter().map(|(at, _)| at).collect()
    }

    /// How many of the words each product has; words of more than `most` products do not count.
    fn shared(&self, words: &BTreeSet<String>, most: usize) -> HashMap<usize, usize> {
        let mut shared = HashMap::new();
        let lists = words.iter().filter_map(|word| self.places.get(word));
        for at in lists.filter(|list| list.len() <= most).flatten() {
            *shared.entry(*at).or_default() += 1;
        }
        shared
    }
}

/// The different words of a text, in lower case and singular.
fn words(text: &str) -> BTreeSet<String> {
    let text = text.to_lowercase();
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(singular).take(MOST_WORDS).collect()
}

/// Drops the plural's `s`; what is left need not be a word, only be the same on both sides.
fn singular(word: &str) -> String {
    let is_plural = word.len() > 3 && !word.ends_with("ss");
    word.strip_suffix('s').filter(|_| is_plural).unwrap_or(word).to_owned()
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
        let index = Index::of(products.iter().map(|one| findable_text(one, &categories)));
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
        let all = self.products.len();
        let found = self.index.matching(&query.keywords);
        let mut found = found.unwrap_or_else(|| (0..all).collect());
        found.truncate(found.partition_point(|at| *at < query.among_first.unwrap_or(all)));
        found.retain(|at| self.products.get(*at).is_some_and(|product| fits(product, query)));
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

/// A product is found by the words of its title, its brand and its categories.
fn findable_text(product: &Product, categories: &Categories) -> String {
    let names = product.categories.iter().filter_map(|id| categories.name(*id));
    let mut text = product.title.clone();
    for more in product.brand.as_deref().into_iter().chain(names) {
        text.push(' ');
        text.push_str(more);
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    fn index(texts: &[&str]) -> Index {
        Index::of(texts.iter().map(|text| (*text).to_owned()))
    }

    #[test]
    fn titles_and_keywords_agree() {
        let found = |text| words(text).into_iter().collect::<Vec<_>>();
        assert_eq!(found("USB-C Cables, 2m usb"), ["2m", "c", "cable", "usb"]);
        assert_eq!(found("glass dresses is"), ["dresse", "glass", "is"]);
        assert_eq!(found("ÉCOUTEURS"), found("écouteur"));
        assert!(words(" \u{0}—!? ").is_empty());
    }

    #[test]
    fn all_words_first_then_most_words_but_at_least_half() {
        let index = index(&["red usb cable", "usb cable", "red usb lamp", "green tea", "Usb hub"]);
        assert_eq!(index.matching("CABLES usb"), Some(vec![0, 1]));
        assert_eq!(index.matching("usb usb"), Some(vec![0, 1, 2, 4]));
        assert_eq!(index.matching("red usb stapler"), Some(vec![0, 2]));
        assert_eq!(index.matching("green stapler"), Some(vec![3]));
        assert_eq!(index.matching("green stapler thing"), Some(vec![]));
        assert_eq!(index.matching(" !"), None);
        assert_eq!(Index::default().matching("usb"), Some(vec![]));
    }

    #[test]
    fn likeness_is_by_telling_words() {
        let texts: Vec<String> =
            (0..20).map(|n| format!("thing {}", if n < 2 { "lamp" } else { "other" })).collect();
        let index = Index::of(texts.into_iter());
        assert_eq!(index.like("thing lamp"), [0, 1]);
    }
}
