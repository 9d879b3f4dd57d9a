//! What answers are about: the tags by which they are invalidated, beside that of their operation.
//!
//! Owns: the words. An answer is about the products in it, or that it says are not there, and about
//! the categories that were asked for and those of its products.

use std::fmt::Display;

use super::product::Product;
use crate::cache::Tag;

/// `product:ID`
pub(super) fn product(id: impl Display) -> Tag {
    Tag::of(&format!("product:{id}"))
}

/// `category:ID`
pub(super) fn category(id: impl Display) -> Tag {
    Tag::of(&format!("category:{id}"))
}

/// Those of the products shown, and of their categories.
pub(super) fn products<'a>(
    shown: impl IntoIterator<Item = &'a Product>,
) -> impl Iterator<Item = Tag> {
    shown.into_iter().flat_map(|shown| {
        let category = shown.category_id.as_ref().map(category);
        std::iter::once(product(&shown.product_id)).chain(category)
    })
}
