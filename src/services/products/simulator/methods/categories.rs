//! `category.get`: every category of every level in one flat list.
//!
//! Owns: the shape of the list. Some top categories have a parent 0, the others none at all; both
//! are seen upstream. Refuses: nothing.

use serde_json::{Value, json};

use super::{Answer, Call, Method};
use crate::services::products::catalogue::Category;

pub(super) const METHODS: &[Method] =
    &[Method { name: "aliexpress.affiliate.category.get", answer: |call| Ok(all(call)) }];

fn all(call: &Call<'_>) -> Answer {
    let shown: Vec<Value> = call.catalogue.categories().flat().iter().map(show).collect();
    if shown.is_empty() {
        return Answer::EMPTY;
    }
    Answer::Result(json!({"total_result_count": shown.len(), "categories": {"category": shown}}))
}

fn show(category: &Category) -> Value {
    let mut shown = json!({"category_id": category.id, "category_name": category.name});
    let top = category.id.is_multiple_of(2).then_some(0);
    if let (Some(parent), Some(fields)) = (category.parent.or(top), shown.as_object_mut()) {
        fields.insert("parent_category_id".to_owned(), parent.into());
    }
    shown
}
