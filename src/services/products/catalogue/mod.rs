//! A catalogue of products: read from a file, found by words, categories and prices.
//!
//! Owns: the format of catalogue files, the tree of categories, the index of words, currencies with
//! one fixed table of rates, and everything a catalogue holds, read once at the start and never
//! changed after, so every thread reads it without a lock. The simulator serves one as if it were
//! the upstream's; the gateway may hold one to answer from when everything else has failed. Refuses:
//! a file that cannot be read to its end, and one without a single good line; to know who asks or
//! how answers look. It has no neighbour that could be down.

mod categories;
mod index;
mod line;
mod load;
pub(crate) mod money;
mod product;
mod report;
mod search;
mod words;

use std::collections::HashMap;
use std::path::Path;

pub(crate) use categories::{Categories, Category};
use index::Index;
use line::Line;
pub(crate) use line::Price;
pub(crate) use product::Product;
pub use report::{LoadError, LoadReport, SkippedLine};
use search::Ranks;
pub(crate) use search::{Bounds, Query, Sort};

/// Products in order of units sold, most first; a product's place in it is its index everywhere.
#[derive(Debug)]
pub(crate) struct Catalogue {
    products: Vec<Product>,
    by_id: HashMap<u64, usize>,
    by_category: HashMap<u64, Vec<usize>>,
    categories: Categories,
    index: Index,
    ranks: Ranks,
}

impl Catalogue {
    /// Reads the file at `path`, or the built-in catalogue, and says what was skipped.
    pub(crate) fn load(path: Option<&Path>) -> Result<(Self, LoadReport), LoadError> {
        let (lines, mut report) = load::read(path)?;
        let catalogue = Self::of(lines);
        report.categories = catalogue.categories.flat().len();
        Ok((catalogue, report))
    }

    fn of(lines: Vec<Line>) -> Self {
        let categories = Categories::of(lines.iter().map(|line| line.category_path.as_slice()));
        let mut found_by: Vec<(Product, String)> = lines
            .into_iter()
            .map(|line| {
                let text = findable_text(&line);
                (Product::of(line, &categories), text)
            })
            .collect();
        found_by.sort_by_key(|(product, _)| (std::cmp::Reverse(product.volume), product.id));
        let index = Index::of(found_by.iter().map(|(_, text)| text.as_str()));
        let products: Vec<Product> = found_by.into_iter().map(|(product, _)| product).collect();
        Self {
            by_id: products.iter().enumerate().map(|(at, product)| (product.id, at)).collect(),
            by_category: members(&products),
            ranks: Ranks::of(&products),
            categories,
            index,
            products,
        }
    }

    /// The product with this id.
    pub(crate) fn product(&self, id: u64) -> Option<&Product> {
        self.products.get(*self.by_id.get(&id)?)
    }

    /// Every product, most sold first.
    pub(crate) fn products(&self) -> &[Product] {
        &self.products
    }

    /// The category tree.
    pub(crate) fn categories(&self) -> &Categories {
        &self.categories
    }

    /// Products that share words with `id`'s title, the closest first, itself left out.
    pub(crate) fn similar_to(&self, id: u64) -> Vec<&Product> {
        let Some(product) = self.product(id) else { return Vec::new() };
        let found = self.index.sharing_words(&product.title);
        let others = found.into_iter().filter_map(|at| self.products.get(at));
        others.filter(|other| other.id != id).collect()
    }
}

/// A product is found by the words of its title, its brand and its categories.
fn findable_text(line: &Line) -> String {
    let brand = line.brand.as_deref().unwrap_or_default();
    format!("{} {brand} {}", line.title, line.category_path.join(" "))
}

fn members(products: &[Product]) -> HashMap<u64, Vec<usize>> {
    let mut members: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, product) in products.iter().enumerate() {
        for id in &product.categories {
            members.entry(*id).or_default().push(at);
        }
    }
    members
}

#[cfg(test)]
mod tests;
