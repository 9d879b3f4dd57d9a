//! Categories: one flat list from the upstream, the whole list and the children of one for clients.
//!
//! Owns: reading the list. The list is cached once; children are picked from it. Refuses: entries
//! without id or name, counted, and repeated ids, of which the first stays.

use std::collections::HashSet;

use serde_json::Value;

use super::answer::{CategoriesData, Category, ChildrenData, Digested, count_of};
use super::check::Check;
use super::details::product_id_in;
use super::dropped::{DropReason, Dropped};
use super::invalid::InvalidField;
use crate::services::products::aliexpress::methods;
use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::wire;

/// The call for all categories.
#[must_use]
pub fn request() -> Request {
    methods::category_get()
}

/// Checks the id of a category whose children are wanted.
///
/// # Errors
/// It is no id.
pub fn validate_parent(id: &str) -> Result<u64, Vec<InvalidField>> {
    let mut check = Check::default();
    let parent = product_id_in(&mut check, "category_id", id);
    check.finish(parent.unwrap_or_default())
}

/// What the call's `result` says.
#[must_use]
pub fn digest(result: &Value) -> Digested<CategoriesData> {
    let mut dropped = Dropped::default();
    let mut seen = HashSet::new();
    let mut categories = Vec::new();
    for raw in wire::category_list(result).categories {
        match category(raw) {
            Some(category) if seen.insert(category.category_id.clone()) => {
                categories.push(category);
            }
            Some(_) => dropped.count(DropReason::IdRepeated),
            None => dropped.count(DropReason::Unreadable),
        }
    }
    let empty = categories.is_empty();
    let data = CategoriesData { total_count: count_of(categories.len()), categories };
    Digested { data, dropped, empty, degraded: Vec::new() }
}

fn category(raw: wire::Category) -> Option<Category> {
    let id = raw.id?;
    Some(Category {
        category_id: id.to_string(),
        category_name: raw.name?,
        parent_category_id: raw.parent.filter(|parent| *parent != id).map(|id| id.to_string()),
    })
}

/// The categories without one above them.
#[must_use]
pub fn top_level(all: &CategoriesData) -> CategoriesData {
    let categories = select(all, |category| category.parent_category_id.is_none());
    CategoriesData { total_count: count_of(categories.len()), categories }
}

/// The categories directly below `parent`; `None` when there is no such category.
#[must_use]
pub fn children(all: &CategoriesData, parent: u64) -> Option<ChildrenData> {
    let parent_category_id = parent.to_string();
    let categories = select(all, |category| {
        category.parent_category_id.as_deref() == Some(parent_category_id.as_str())
    });
    let exists = !categories.is_empty()
        || all.categories.iter().any(|category| category.category_id == parent_category_id);
    exists.then(|| ChildrenData {
        parent_category_id,
        total_count: count_of(categories.len()),
        categories,
    })
}

fn select(all: &CategoriesData, wanted: impl Fn(&Category) -> bool) -> Vec<Category> {
    all.categories.iter().filter(|category| wanted(category)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> CategoriesData {
        digest(&json!({"categories": {"category": [
            {"category_id": 7, "category_name": "Office"},
            {"category_id": 702, "category_name": "Laptops", "parent_category_id": 7},
            {"category_id": 8, "category_name": "Home", "parent_category_id": 0},
            {"category_id": 9, "category_name": "Loop", "parent_category_id": 9}]}}))
        .data
    }

    #[test]
    fn a_parent_is_named_by_digits() {
        assert_eq!(validate_parent("702"), Ok(702));
        for wrong in ["", "0", "+7", "-7", "7 ", "x", "18446744073709551616"] {
            assert_eq!(validate_parent(wrong).unwrap_err()[0].field, "category_id", "{wrong}");
        }
    }

    #[test]
    fn the_flat_list_becomes_a_tree() {
        assert_eq!(all().total_count, 4);
        let top: Vec<_> =
            top_level(&all()).categories.into_iter().map(|top| top.category_id).collect();
        assert_eq!(top, ["7", "8", "9"]);
        let below = children(&all(), 7).unwrap();
        assert_eq!((below.total_count, below.categories[0].category_name.as_str()), (1, "Laptops"));
    }

    #[test]
    fn a_lowest_category_has_no_children_and_an_unknown_one_is_none() {
        assert_eq!(children(&all(), 702).unwrap().total_count, 0);
        assert_eq!(children(&all(), 1), None);
    }

    #[test]
    fn unreadable_and_repeated_entries_are_counted() {
        let digested = digest(&json!({"categories": [{"category_id": 1}, {"category_name": "x"},
            {"category_id": "2", "category_name": "a"}, {"category_id": 2, "category_name": "b"}]}));
        assert_eq!(digested.dropped.total(), 3);
        assert_eq!(digested.data.categories[0].category_name, "a");
    }
}
