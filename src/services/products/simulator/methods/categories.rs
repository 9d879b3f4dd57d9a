//! `category.get`: every category of every level in one flat list.
//!
//! Owns: the shape of the list. Some top categories have a parent 0, the others none at all; both
//! are seen upstream. Refuses: nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::answer::Answer;
use super::Call;
use crate::services::products::catalogue::Category;

#[derive(Serialize)]
struct CategoryView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_category_id: Option<u64>,
    category_id: u64,
    category_name: &'a str,
}

impl<'a> CategoryView<'a> {
    fn of(category: &'a Category) -> Self {
        let top = category.id.is_multiple_of(2).then_some(0);
        Self {
            parent_category_id: category.parent.or(top),
            category_id: category.id,
            category_name: &category.name,
        }
    }
}

/// All of them.
pub(crate) fn all(call: &Call<'_>) -> Answer {
    #[derive(Serialize)]
    struct List<'a> {
        total_result_count: usize,
        categories: BTreeMap<&'static str, Vec<CategoryView<'a>>>,
    }
    let flat = call.catalogue.categories().flat();
    if flat.is_empty() {
        return Answer::empty();
    }
    let views = flat.iter().map(CategoryView::of).collect();
    let categories = BTreeMap::from([("category", views)]);
    Answer::of(&List { total_result_count: flat.len(), categories })
}
