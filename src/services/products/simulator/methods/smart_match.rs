//! `product.smartmatch`: products like another.
//!
//! Owns: what "like" means here: sharing telling words of the title. Without a known product the
//! keywords decide, and without those what sells best. Refuses: a call without `device_id`.

use super::super::answer::Answer;
use super::super::refusal::Refusal;
use super::Call;
use super::products::{self, Paging};
use crate::services::products::catalogue::{Product, Query};

/// Products on a page; the method has no parameter for it.
const PAGE_SIZE: usize = 20;

/// Similar products.
pub(crate) fn like(call: &Call<'_>) -> Result<Answer, Refusal> {
    let parameters = call.parameters;
    parameters.required("device_id")?;
    let page_no = parameters.integer("page_no", 1, 1..=1_000_000)?;
    let paging = Paging { page_no, page_size: PAGE_SIZE };
    let named = match parameters.get("product_id") {
        Some(id) => {
            Some(id.parse::<u64>().map_err(|_| Refusal::invalid("product_id", "a whole number"))?)
        }
        None => None,
    };
    let known = named.filter(|id| call.catalogue.product(*id).is_some());
    let Some(id) = known else { return by_keywords(call, paging) };
    let similar: Vec<&Product> = call.catalogue.similar_to(id);
    let shown: Vec<&Product> =
        similar.iter().skip(paging.skip()).take(PAGE_SIZE).copied().collect();
    products::page(call, &shown, similar.len(), paging, "country")
}

fn by_keywords(call: &Call<'_>, paging: Paging) -> Result<Answer, Refusal> {
    let query = Query {
        keywords: call.parameters.get("keywords").unwrap_or_default().to_owned(),
        skip: paging.skip(),
        take: paging.page_size,
        ..Query::default()
    };
    products::search(call, &query, paging, "country")
}
