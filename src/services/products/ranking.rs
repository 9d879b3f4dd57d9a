//! Of a page's products the good ones, without near repetitions, best first.
//!
//! Owns: what counts as nearly the same, and the ranking. Refuses: products below the asked
//! quality, and the worse of two similar ones; both counted. Never fails.
//!
//! Two products are nearly the same when they share their main image, or when
//! - their titles share at least 85 % of their words (Jaccard index of the two sets of words),
//! - the words with a digit in them (models, sizes, capacities) are the same, and
//! - the prices are in one currency and at most a tenth apart.
//!
//! Comparing is quadratic, on at most 50 products of one page.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use super::product::{DropReason, Dropped, Product};
use crate::http::forms::decimal;

/// Least share of common words, in percent.
const SIMILAR_PERCENT: usize = 85;

/// The products of a page that a smart search shows, and what was left out; best first if `by_quality`,
/// else in their order.
#[must_use]
pub(super) fn select(
    products: Vec<Product>,
    min_quality: f64,
    by_quality: bool,
) -> (Vec<Product>, Dropped) {
    let mut dropped = Dropped::default();
    let good = products
        .into_iter()
        .filter(|product| {
            let good = product.quality_score >= min_quality;
            if !good {
                dropped.count(DropReason::BelowMinQuality);
            }
            good
        })
        .collect();
    let mut kept = without_similar(good, &mut dropped);
    if by_quality {
        kept.sort_by(|a, b| b.quality_score.total_cmp(&a.quality_score));
    }
    (kept, dropped)
}

/// A product with what is compared, made once.
struct Candidate {
    position: usize,
    product: Product,
    words: BTreeSet<String>,
    price: Option<Decimal>,
}

/// Looks at the better of any two first, so that what is kept is never the worse one.
fn without_similar(products: Vec<Product>, dropped: &mut Dropped) -> Vec<Product> {
    let mut candidates: Vec<_> = products.into_iter().enumerate().map(candidate).collect();
    candidates.sort_by(|a, b| {
        b.product
            .quality_score
            .total_cmp(&a.product.quality_score)
            .then_with(|| a.price.cmp(&b.price))
            .then_with(|| a.position.cmp(&b.position))
    });
    let mut kept: Vec<Candidate> = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if kept.iter().any(|better| similar(better, &candidate)) {
            dropped.count(DropReason::Similar);
        } else {
            kept.push(candidate);
        }
    }
    kept.sort_by_key(|candidate| candidate.position);
    kept.into_iter().map(|candidate| candidate.product).collect()
}

fn candidate((position, product): (usize, Product)) -> Candidate {
    let words = words(&product.product_title);
    let price = decimal(&product.price);
    Candidate { position, product, words, price }
}

fn words(title: &str) -> BTreeSet<String> {
    title
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn similar(a: &Candidate, b: &Candidate) -> bool {
    same_image(&a.product, &b.product)
        || (same_price_band(a, b) && same_numbers(a, b) && alike(&a.words, &b.words))
}

fn same_image(a: &Product, b: &Product) -> bool {
    let images = a.image_url.as_deref().zip(b.image_url.as_deref());
    images.is_some_and(|(one, other)| without_query(one) == without_query(other))
}

fn without_query(url: &str) -> Option<&str> {
    url.split(['?', '#']).next()
}

/// Whether the lower price is at least nine tenths of the higher one.
fn same_price_band(a: &Candidate, b: &Candidate) -> bool {
    let (Some(x), Some(y)) = (a.price, b.price) else { return false };
    let tenths = |price: Decimal, tenths: i64| price.checked_mul(Decimal::from(tenths));
    a.product.currency == b.product.currency
        && tenths(x.min(y), 10)
            .is_some_and(|low| tenths(x.max(y), 9).is_some_and(|high| low >= high))
}

fn same_numbers(a: &Candidate, b: &Candidate) -> bool {
    let has_digit = |word: &&String| word.chars().any(char::is_numeric);
    a.words.iter().filter(has_digit).eq(b.words.iter().filter(has_digit))
}

fn alike(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let common = a.intersection(b).count();
    let all = a.union(b).count();
    common.saturating_mul(100) >= all.saturating_mul(SIMILAR_PERCENT) && common > 0
}

#[cfg(test)]
#[path = "ranking_tests.rs"]
mod tests;
