//! `featuredpromo.get` and `featuredpromo.products.get`: promotions and their products.
//!
//! Owns: the three promotions that always run. Refuses: products of a promotion that is not named;
//! one that does not run is empty.

use serde_json::{Value, json};

use super::super::refusal::Refusal;
use super::super::verify::read_gateway_time;
use super::products::{self, Paging};
use super::{Answer, Call, Method};
use crate::services::products::catalogue::Query;

/// Name, description, least discount, and how many of the most sold it is among.
const PROMOTIONS: [(&str, &str, u64, Option<usize>); 3] = [
    ("Hot Product", "What sells best", 0, Some(200)),
    ("Super Deals", "At least half off", 50, None),
    ("Last Chance", "At least 70 percent off", 70, None),
];

pub(super) const METHODS: &[Method] = &[
    Method { name: "aliexpress.affiliate.featuredpromo.get", answer: |call| Ok(names(call)) },
    Method { name: "aliexpress.affiliate.featuredpromo.products.get", answer: products_of },
];

fn names(call: &Call<'_>) -> Answer {
    let shown = PROMOTIONS.map(|(name, description, min_discount, among_first)| {
        let query = Query { min_discount, among_first, ..Query::default() };
        let total = call.catalogue.search(&query).total;
        json!({"promo_name": name, "promo_desc": description, "product_num": total})
    });
    let count = shown.len();
    Answer::Result(
        json!({"current_record_count": count, "promos": {"promo": Value::from_iter(shown)}}),
    )
}

fn products_of(call: &Call<'_>) -> Result<Answer, Refusal> {
    let parameters = call.parameters;
    let asked = parameters.required("promotion_name")?;
    for bound in ["promotion_start_time", "promotion_end_time"] {
        if parameters.get(bound).is_some_and(|text| read_gateway_time(text).is_none()) {
            return Err(Refusal::invalid(bound, "yyyy-MM-dd HH:mm:ss"));
        }
    }
    let paging = Paging::read(parameters)?;
    let sort = products::read_sort(parameters)?;
    let categories = parameters.identifiers("category_id")?;
    let running = PROMOTIONS.into_iter().find(|(name, ..)| *name == asked);
    let Some((_, _, min_discount, among_first)) = running else {
        return products::page(call, &[], 0, paging, "country");
    };
    let query = Query { categories, sort, min_discount, among_first, ..Query::default() };
    products::page_of(call, query, paging, "country")
}
