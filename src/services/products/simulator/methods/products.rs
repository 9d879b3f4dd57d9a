//! Search, hot products, details, products like another, and categories.
//!
//! Owns: reading a search's parameters and the shape of a page of products. Refuses: page sizes
//! beyond 50, bounds that are no whole numbers, unknown orders. Products without commission are
//! found by a search and missing from the details, as upstream.

use serde_json::{Value, json};

use super::super::parameters::Parameters;
use super::super::refusal::Refusal;
use super::product_view::Presentation;
use super::{Answer, Call, Method};
use crate::services::products::catalogue::{Bounds, Category, Product, Query, Sort};

const MOST_IDS: usize = 50;
/// Products on a page of the match, which has no parameter for it.
const MATCH_PAGE: usize = 20;

pub(super) const METHODS: &[Method] = &[
    Method { name: "aliexpress.affiliate.product.query", answer: |call| search(call, None) },
    Method {
        name: "aliexpress.affiliate.hotproduct.query",
        // Among the fifth that sells best.
        answer: |call| search(call, Some((call.catalogue.products().len() / 5).max(100))),
    },
    Method { name: "aliexpress.affiliate.productdetail.get", answer: details },
    Method { name: "aliexpress.affiliate.product.smartmatch", answer: like },
    Method { name: "aliexpress.affiliate.category.get", answer: |call| Ok(categories(call)) },
];

#[derive(Debug, Clone, Copy)]
pub(super) struct Paging {
    pub(super) page_no: usize,
    pub(super) page_size: usize,
}

impl Paging {
    pub(super) fn read(parameters: &Parameters) -> Result<Self, Refusal> {
        Ok(Self {
            page_no: parameters.integer("page_no", 1, 1..=1_000_000)?,
            page_size: parameters.integer("page_size", 20, 1..=50)?,
        })
    }

    pub(super) const fn skip(self) -> usize {
        (self.page_no - 1) * self.page_size
    }
}

fn search(call: &Call<'_>, among_first: Option<usize>) -> Result<Answer, Refusal> {
    let parameters = call.parameters;
    let paging = Paging::read(parameters)?;
    parameters.one_of("platform_product_type", &["ALL", "PLAZA", "TMALL"])?;
    parameters.one_of("delivery_days", &["3", "5", "7", "10"])?;
    let query = Query {
        keywords: keywords(parameters),
        categories: parameters.identifiers("category_ids")?,
        bounds: read_bounds(parameters)?,
        among_first,
        sort: read_sort(parameters)?,
        ..Query::default()
    };
    page_of(call, query, paging, "ship_to_country")
}

/// Answers with one page of what fits `query`.
fn page_of(
    call: &Call<'_>,
    query: Query,
    paging: Paging,
    country: &str,
) -> Result<Answer, Refusal> {
    let found =
        call.catalogue.search(&Query { skip: paging.skip(), take: paging.page_size, ..query });
    page(call, &found.products, found.total, paging, country)
}

/// One page of products; a page past the end has the total, and what matches nothing is no result.
fn page(
    call: &Call<'_>,
    products: &[&Product],
    total: usize,
    paging: Paging,
    country: &str,
) -> Result<Answer, Refusal> {
    let is_unknown = call.has_wrong_tracking_id();
    let (products, total) = if is_unknown { (&[][..], 0) } else { (products, total) };
    let shown = shown(call, products, country)?;
    if total == 0 && !is_unknown {
        return Ok(Answer::EMPTY);
    }
    Ok(Answer::Result(json!({
        "current_page_no": paging.page_no,
        "current_record_count": products.len(),
        "total_page_no": total.div_ceil(paging.page_size),
        "total_record_count": total,
        "products": {"product": shown},
    })))
}

fn shown(call: &Call<'_>, products: &[&Product], country: &str) -> Result<Vec<Value>, Refusal> {
    let with = Presentation::of(call, country, products)?;
    Ok(products.iter().map(|product| with.show(product)).collect())
}

fn keywords(parameters: &Parameters) -> String {
    parameters.get("keywords").unwrap_or_default().to_owned()
}

fn read_bounds(parameters: &Parameters) -> Result<Option<Bounds>, Refusal> {
    let min = parameters.smallest_units("min_sale_price")?;
    let max = parameters.smallest_units("max_sale_price")?;
    if min.is_none() && max.is_none() {
        return Ok(None);
    }
    let currency = parameters.currency()?;
    Ok(Some(Bounds { min: min.unwrap_or(0), max: max.unwrap_or(u64::MAX), currency }))
}

fn read_sort(parameters: &Parameters) -> Result<Sort, Refusal> {
    const WORDS: [(&str, Sort); 6] = [
        ("SALE_PRICE_ASC", Sort::PriceUp),
        ("SALE_PRICE_DESC", Sort::PriceDown),
        ("LAST_VOLUME_ASC", Sort::VolumeUp),
        ("LAST_VOLUME_DESC", Sort::VolumeDown),
        ("DISCOUNT_ASC", Sort::DiscountUp),
        ("DISCOUNT_DESC", Sort::DiscountDown),
    ];
    let word = parameters.one_of("sort", &WORDS.map(|(word, _)| word))?;
    let sort = word.and_then(|word| WORDS.into_iter().find(|(known, _)| *known == word));
    Ok(sort.map_or(Sort::Shop, |(_, sort)| sort))
}

/// Unknown ids and products without commission are left out, and the order is the shop's, not the
/// caller's.
fn details(call: &Call<'_>) -> Result<Answer, Refusal> {
    call.parameters.required("product_ids")?;
    let mut ids = call.parameters.identifiers("product_ids")?;
    if ids.len() > MOST_IDS {
        return Err(Refusal::invalid("product_ids", "at most 50 ids"));
    }
    ids.sort_unstable();
    ids.dedup();
    let is_unknown = call.has_wrong_tracking_id();
    let known = ids.iter().filter_map(|id| call.catalogue.product(*id));
    let products: Vec<&Product> =
        known.filter(|product| !is_unknown && product.commission_permille.is_some()).collect();
    let shown = shown(call, &products, "country")?;
    if products.is_empty() && !is_unknown {
        return Ok(Answer::EMPTY);
    }
    Ok(Answer::Result(
        json!({"current_record_count": products.len(), "products": {"product": shown}}),
    ))
}

/// "Like" means sharing telling words of the title. Without a known product the keywords decide; like one that
/// nobody knows is nothing, and without both it is what sells best.
fn like(call: &Call<'_>) -> Result<Answer, Refusal> {
    let parameters = call.parameters;
    parameters.required("device_id")?;
    let page_no = parameters.integer("page_no", 1, 1..=1_000_000)?;
    let paging = Paging { page_no, page_size: MATCH_PAGE };
    let id = parameters.get("product_id").map(str::parse::<u64>).transpose();
    let id = id.map_err(|_| Refusal::invalid("product_id", "a whole number"))?;
    let Some(id) = id.filter(|id| call.catalogue.product(*id).is_some()) else {
        let query = Query { keywords: keywords(parameters), ..Query::default() };
        if id.is_some() && query.keywords.is_empty() {
            return Ok(Answer::EMPTY);
        }
        return page_of(call, query, paging, "country");
    };
    let similar = call.catalogue.similar_to(id);
    let shown: Vec<_> = similar.iter().skip(paging.skip()).take(MATCH_PAGE).copied().collect();
    page(call, &shown, similar.len(), paging, "country")
}

/// Every category of every level in one flat list.
fn categories(call: &Call<'_>) -> Answer {
    let shown: Vec<Value> = call.catalogue.categories().flat().iter().map(category).collect();
    if shown.is_empty() {
        return Answer::EMPTY;
    }
    Answer::Result(json!({"total_result_count": shown.len(), "categories": {"category": shown}}))
}

/// Some top categories have a parent 0, the others none at all; both are seen upstream.
fn category(category: &Category) -> Value {
    let mut shown = json!({"category_id": category.id, "category_name": category.name});
    let top = category.id.is_multiple_of(2).then_some(0);
    if let (Some(parent), Some(fields)) = (category.parent.or(top), shown.as_object_mut()) {
        fields.insert("parent_category_id".to_owned(), parent.into());
    }
    shown
}
