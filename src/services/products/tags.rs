//! What answers are about: the tags by which they are invalidated.
//!
//! Owns: which tags an answer has: the operation that made it, the products in it, the categories
//! that were asked for and those of its products. Refuses nothing. What is about nothing but its
//! operation (orders are not kept at all) has that one tag.

use std::fmt::Display;

use super::key::Operation;
use super::product::Product;
use super::smart_match::product_id_of;
use crate::cache::Tag;

/// `operation:NAME`: everything that this operation made.
#[must_use]
pub fn operation(operation: Operation) -> Tag {
    Tag::of(&format!("operation:{}", operation.name()))
}

/// `product:ID`: everything that shows this product, or says that it is not there.
#[must_use]
pub fn product(id: impl Display) -> Tag {
    Tag::of(&format!("product:{id}"))
}

/// `category:ID`: everything that was asked for within this category, or shows a product of it.
#[must_use]
pub fn category(id: impl Display) -> Tag {
    Tag::of(&format!("category:{id}"))
}

/// A page of products that was asked for within `categories`.
#[must_use]
pub fn page(made_by: Operation, categories: &[u64], products: &[Product]) -> Vec<Tag> {
    let asked = categories.iter().map(category);
    once_each(made_by, asked.chain(products.iter().flat_map(of_product)))
}

/// Products like one: the one, and those like it.
#[must_use]
pub fn matches(product_id: u64, products: &[Product]) -> Vec<Tag> {
    let like = products.iter().flat_map(of_product);
    once_each(Operation::SmartMatch, std::iter::once(product(product_id)).chain(like))
}

/// One product's details, or that there is no such product.
#[must_use]
pub fn details(product_id: u64, found: Option<&Product>) -> Vec<Tag> {
    let of_found = found.into_iter().flat_map(of_product);
    once_each(Operation::Details, std::iter::once(product(product_id)).chain(of_found))
}

/// The affiliate link of an address; about a product if the address is that product's page.
#[must_use]
pub fn link(source: &str) -> Vec<Tag> {
    once_each(Operation::Link, product_id_of(source).map(product).into_iter())
}

/// All categories.
#[must_use]
pub fn categories() -> Vec<Tag> {
    vec![operation(Operation::Categories)]
}

fn of_product(shown: &Product) -> impl Iterator<Item = Tag> {
    let category = shown.category_id.as_ref().map(category);
    std::iter::once(product(&shown.product_id)).chain(category)
}

/// The operation's tag first, so that it stays if there are more tags than an entry keeps.
fn once_each(made_by: Operation, others: impl Iterator<Item = Tag>) -> Vec<Tag> {
    let mut others: Vec<_> = others.collect();
    others.sort_unstable();
    others.dedup();
    std::iter::once(operation(made_by)).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::services::products::fixtures;

    fn texts(tags: &[&str]) -> HashSet<Tag> {
        tags.iter().map(|text| Tag::of(text)).collect()
    }

    fn set(tags: Vec<Tag>) -> HashSet<Tag> {
        let count = tags.len();
        let set: HashSet<_> = tags.into_iter().collect();
        assert_eq!(set.len(), count, "each once");
        set
    }

    #[test]
    fn a_page_is_about_its_products_their_categories_and_those_asked_for() {
        let products = [fixtures::product(1), fixtures::product(2), fixtures::product(1)];
        let expected =
            texts(&["operation:hot", "category:7", "category:26", "product:1", "product:2"]);
        assert_eq!(set(page(Operation::Hot, &[7, 26], &products)), expected);
        assert_eq!(page(Operation::Search, &[], &[]), [Tag::of("operation:search")]);
    }

    #[test]
    fn details_are_about_the_product_even_when_there_is_none() {
        assert_eq!(set(details(5, None)), texts(&["operation:details", "product:5"]));
        let found = fixtures::product(5);
        let expected = texts(&["operation:details", "product:5", "category:26"]);
        assert_eq!(set(details(5, Some(&found))), expected);
    }

    #[test]
    fn matches_are_about_the_product_they_are_like_too() {
        let expected = texts(&["operation:smart-match", "product:9", "product:1", "category:26"]);
        assert_eq!(set(matches(9, &[fixtures::product(1)])), expected);
    }

    #[test]
    fn a_link_is_about_the_product_of_its_address_if_there_is_one() {
        let page = link("https://www.aliexpress.com/item/77.html");
        assert_eq!(set(page), texts(&["operation:link", "product:77"]));
        assert_eq!(set(link("https://www.aliexpress.com/")), texts(&["operation:link"]));
        assert_eq!(set(categories()), texts(&["operation:categories"]));
    }
}
