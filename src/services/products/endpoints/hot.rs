//! Hot products: a search among those with a raised commission.
//!
//! Owns: what is different from a plain search: the method, the lifetime and the words.

use actix_web::web::to;

use super::search::{Among, form_and_page, handle};
use crate::http::openapi::Doc;
use crate::http::service::{Operation, Route};
use crate::limits::Class;
use crate::services::products::aliexpress::methods::{self, ProductQuery, Request};
use crate::services::products::ask::Kind;

pub(super) const ROUTES: &[Route] = &[Route::new(
    "/api/products/hot",
    Class::Search,
    &[
        Operation::get(|| to(handle::<Hot>), doc),
        Operation::same_by_post(|| to(handle::<Hot>), doc),
    ],
)];

fn doc(doc: &mut Doc<'_>) {
    let details = "What sells best now, within the same bounds as a search.";
    doc.says("Products", "listHotProducts", "Lists hot products.", details).for_gpt();
    form_and_page(doc, "One page of hot products.");
}

/// Products with a raised commission.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hot;

impl Among for Hot {
    const KIND: Kind = Kind {
        operation: "hot",
        label: "hot",
        fresh: |setup| setup.lifetimes.hot_ttl,
        is_validated: true,
        at_once: 1,
    };
    const IS_HOT: bool = true;

    fn request(query: &ProductQuery<'_>) -> Request {
        methods::hot_product_query(query)
    }
}
