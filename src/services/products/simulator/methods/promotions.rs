//! `featuredpromo.get` and `featuredpromo.products.get`: promotions and their products.
//!
//! Owns: the three promotions that always run. Refuses: products of a promotion that is not named;
//! one that does not run is empty.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::answer::Answer;
use super::super::refusal::Refusal;
use super::super::verify::read_gateway_time;
use super::Call;
use super::products::{self, Paging};
use crate::services::products::catalogue::Query;

struct Promotion {
    name: &'static str,
    description: &'static str,
    min_discount: u64,
    among_first: Option<usize>,
}

const PROMOTIONS: [Promotion; 3] = [
    Promotion {
        name: "Hot Product",
        description: "What sells best",
        min_discount: 0,
        among_first: Some(200),
    },
    Promotion {
        name: "Super Deals",
        description: "At least half off",
        min_discount: 50,
        among_first: None,
    },
    Promotion {
        name: "Last Chance",
        description: "At least 70 percent off",
        min_discount: 70,
        among_first: None,
    },
];

impl Promotion {
    fn query(&self) -> Query {
        let (min_discount, among_first) = (self.min_discount, self.among_first);
        Query { min_discount, among_first, ..Query::default() }
    }
}

#[derive(Serialize)]
struct PromotionView {
    promo_name: &'static str,
    promo_desc: &'static str,
    product_num: usize,
}

/// The promotions that run.
pub(crate) fn names(call: &Call<'_>) -> Answer {
    #[derive(Serialize)]
    struct List {
        current_record_count: usize,
        promos: BTreeMap<&'static str, Vec<PromotionView>>,
    }
    let views = PROMOTIONS.iter().map(|promotion| PromotionView {
        promo_name: promotion.name,
        promo_desc: promotion.description,
        product_num: call.catalogue.search(&promotion.query()).total,
    });
    let promos = BTreeMap::from([("promo", views.collect())]);
    Answer::of(&List { current_record_count: PROMOTIONS.len(), promos })
}

/// Products of the promotion in `promotion_name`.
pub(crate) fn products(call: &Call<'_>) -> Result<Answer, Refusal> {
    let parameters = call.parameters;
    let name = parameters.required("promotion_name")?;
    for bound in ["promotion_start_time", "promotion_end_time"] {
        if parameters.get(bound).is_some_and(|text| read_gateway_time(text).is_none()) {
            return Err(Refusal::invalid(bound, "yyyy-MM-dd HH:mm:ss"));
        }
    }
    let paging = Paging::read(parameters)?;
    let sort = products::read_sort(parameters)?;
    let categories = parameters.identifiers("category_id")?;
    let Some(promotion) = PROMOTIONS.iter().find(|promotion| promotion.name == name) else {
        return products::page(call, &[], 0, paging, "country");
    };
    let query = Query {
        categories,
        sort,
        skip: paging.skip(),
        take: paging.page_size,
        ..promotion.query()
    };
    products::search(call, &query, paging, "country")
}
