//! Categories: one flat list from the upstream, the whole list and the children of one for clients.
//!
//! Owns: reading the list, which is cached once; children are picked from it. Refuses: entries
//! without id or name, counted, and repeated ids, of which the first stays. When cache and upstream
//! fail, the last resort answers.

use std::collections::HashSet;

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, ID_ALLOWED, InvalidField, NoFields};
use crate::http::openapi::NOT_FOUND;
use crate::http::served::Served;
use crate::http::service::Route;
use crate::limits::Class;
use crate::limits::abuse::{Named, Seen};
use crate::services::products::aliexpress::records::Records;
use crate::services::products::aliexpress::{Method, Request, read};
use crate::services::products::ask::Products;
use crate::services::products::forms::{count_of, id_in};
use crate::services::products::last_resort::LastResort;
use crate::services::products::product::{DropReason, Dropped};
use crate::services::products::question::{
    Keyed, Kind, Question, Read, loaded, parsed, reads, replaced,
};

pub const METHOD: Method = Method {
    name: "aliexpress.affiliate.category.get",
    records: Records {
        outer: "categories",
        inner: "category",
        ids: &["category_id"],
        texts: &[&["category_name"]],
    },
    is_search: false,
};

pub(super) const ROUTES: &[Route] = &[
    Route::at("/api/categories", Class::General).get(|| to(all)).says(|doc| {
        let details = "Categories of all levels in one list; each names the one above it.";
        doc.says("Categories", "listCategories", "Lists all categories.", details)
            .for_gpt()
            .fetches::<CategoriesData>("The categories.");
    }),
    Route::at("/api/categories/{id}/children", Class::General).get(|| to(children)).says(|doc| {
        let summary = "Lists the categories directly below one.";
        let details = "A lowest category has none, which is an empty list; a category that does \
             not exist is not found.";
        doc.says("Categories", "listChildCategories", summary, details)
            .for_gpt()
            .path("id", &format!("Category id, {ID_ALLOWED}."), Some("^0*[1-9][0-9]{0,19}$"))
            .example("248625901")
            .fetches::<ChildrenData>("The categories below.")
            .fails(NOT_FOUND);
    }),
];

/// All categories of all levels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct CategoriesData {
    /// The categories, in the upstream's order.
    pub categories: Vec<Category>,
    /// How many.
    pub total_count: u64,
}

/// The categories directly below one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct ChildrenData {
    /// The category above.
    pub parent_category_id: String,
    /// The categories below it; none for a lowest one.
    pub categories: Vec<Category>,
    /// How many.
    pub total_count: u64,
}

/// One category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Category {
    /// Id, digits.
    pub category_id: String,
    /// Name.
    pub category_name: String,
    /// The category above; none for a top one.
    pub parent_category_id: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Categories;

impl Question for Categories {
    const KIND: Kind = Kind {
        operation: "categories",
        label: "category",
        is_answer: reads::<CategoriesData>,
        fresh: |ttls| ttls.kinds.category_ttl,
        is_validated: false,
        is_tracked: false,
        at_once: 1,
    };

    fn request(&self, _: &[Self]) -> Request {
        Request::of(&METHOD)
    }

    fn read(&self, _: &[Self], result: &Value, _: bool) -> Read {
        let (categories, dropped) = categories_in(result);
        (vec![loaded(self, &categories, categories.total_count == 0, [])], dropped)
    }

    fn last_resort(&self, last: &LastResort, _: bool) -> Option<Value> {
        Some(last.categories())
    }
}

fn categories_in(result: &Value) -> (CategoriesData, Dropped) {
    let (mut dropped, mut seen) = (Dropped::default(), HashSet::new());
    let mut categories = Vec::new();
    for record in METHOD.records.list(result) {
        match category(record) {
            Some(category) if seen.insert(category.category_id.clone()) => {
                categories.push(category);
            }
            Some(_) => dropped.count(DropReason::IdRepeated),
            None => dropped.count(DropReason::Unreadable),
        }
    }
    (CategoriesData { total_count: count_of(categories.len()), categories }, dropped)
}

fn category(record: &Value) -> Option<Category> {
    let id = read::id(record, "category_id")?;
    // A top one has no parent, or 0; one that is its own parent is a top one as well.
    let parent = read::id(record, "parent_category_id").filter(|parent| *parent != id);
    Some(Category {
        category_id: id.to_string(),
        category_name: read::text(record, "category_name")
            .map(|name| read::prose(&name))
            .filter(|name| !name.is_empty())?,
        parent_category_id: parent.map(|id| id.to_string()),
    })
}

/// The categories directly below `parent`; `None` when there is no such category.
fn below(all: CategoriesData, parent: u64) -> Option<ChildrenData> {
    let parent_category_id = parent.to_string();
    let exists = all.categories.iter().any(|one| one.category_id == parent_category_id);
    let mut categories = all.categories;
    categories.retain(|one| one.parent_category_id.as_ref() == Some(&parent_category_id));
    (exists || !categories.is_empty()).then(|| ChildrenData {
        parent_category_id,
        total_count: count_of(categories.len()),
        categories,
    })
}

fn children_in(all: Served, parent: u64) -> Result<Option<Served>, Failure> {
    let Some(children) = below(parsed(&all)?, parent) else { return Ok(None) };
    replaced(all, &children, false).map(Some)
}

fn read_parent(id: &str) -> Result<u64, Vec<InvalidField>> {
    let mut check = Check::default();
    let parent = id_in(&mut check, "id", id);
    check.finish(parent.unwrap_or_default())
}

async fn all(call: Call) -> Answer {
    call.no_fields().await?;
    let products: &Products = call.service()?;
    Ok(call.answer(products.ask(&call, Categories).await?))
}

async fn children(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let id = call.path::<String>()?;
    let parent = call.form::<NoFields>().await?.read(|_| read_parent(&id))?;
    let ids = [parent];
    call.watch(|| Seen { ids: &ids, named: Named::Groups, ..Seen::default() })?;
    let children = match products.ask_keyed(&call, &Keyed::new(Categories), false).await {
        Ok(all) => children_in(all, parent)?,
        // A category that the last resort does not know may exist all the same.
        Err(failure) => {
            let all = products.or_last_resort(&call, &Categories, Err(failure.clone()))?;
            Some(children_in(all, parent)?.ok_or(failure)?)
        }
    };
    let none = || ApiError::with_message(ErrorCode::NotFound, "There is no such category.");
    Ok(call.answer(children.ok_or_else(none)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all() -> CategoriesData {
        categories_in(&json!({"categories": {"category": [
            {"category_id": 7, "category_name": "Office"},
            {"category_id": 702, "category_name": "Laptops", "parent_category_id": 7},
            {"category_id": 8, "category_name": "Home", "parent_category_id": 0},
            {"category_id": 9, "category_name": "Loop", "parent_category_id": 9}]}}))
        .0
    }

    #[test]
    fn a_parent_is_named_by_digits() {
        assert_eq!(read_parent("702"), Ok(702));
        for wrong in ["", "0", "+7", "-7", "7 ", "x", "18446744073709551616"] {
            assert_eq!(read_parent(wrong).unwrap_err()[0].field, "id", "{wrong}");
        }
    }

    #[test]
    fn the_flat_list_becomes_a_tree() {
        assert_eq!(all().total_count, 4);
        let top = all().categories.into_iter().filter(|one| one.parent_category_id.is_none());
        assert_eq!(top.map(|one| one.category_id).collect::<Vec<_>>(), ["7", "8", "9"]);
        let children = below(all(), 7).unwrap();
        let first = children.categories[0].category_name.as_str();
        assert_eq!((children.total_count, first), (1, "Laptops"));
    }

    #[test]
    fn a_lowest_category_has_no_children_and_an_unknown_one_is_none() {
        assert_eq!(below(all(), 702).unwrap().total_count, 0);
        assert_eq!(below(all(), 1), None);
    }

    #[test]
    fn unreadable_and_repeated_entries_are_counted() {
        let (data, dropped) = categories_in(
            &json!({"categories": [{"category_id": 1}, {"category_name": "x"},
            {"category_id": "2", "category_name": "a"}, {"category_id": 2, "category_name": "b"}]}),
        );
        assert_eq!(dropped.total(), 3);
        assert_eq!(data.categories[0].category_name, "a");
    }
}
