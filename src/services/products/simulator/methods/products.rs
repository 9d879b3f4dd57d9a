//! Search, hot products and details.
//!
//! Owns: reading a search's parameters and the shape of a page of products. Refuses: page sizes
//! beyond 50, bounds that are no whole numbers, unknown orders. Products without commission are
//! found by a search and missing from the details, as upstream.

use serde::Serialize;
use std::collections::BTreeMap;

use super::super::answer::Answer;
use super::super::parameters::Parameters;
use super::super::refusal::Refusal;
use super::Call;
use super::product_view::{Presentation, ProductView};
use crate::services::products::catalogue::{Bounds, Product, Query, Sort};

/// How many ids one call for details may name.
const MOST_IDS: usize = 50;

#[derive(Serialize)]
struct ProductPage<'a> {
    current_page_no: usize,
    current_record_count: usize,
    total_page_no: usize,
    total_record_count: usize,
    products: BTreeMap<&'static str, Vec<ProductView<'a>>>,
}

/// Where in the pages a call is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paging {
    /// Page number, from 1.
    pub(crate) page_no: usize,
    /// Products on a page.
    pub(crate) page_size: usize,
}

impl Paging {
    /// Reads `page_no` and `page_size`.
    pub(crate) fn read(parameters: &Parameters) -> Result<Self, Refusal> {
        Ok(Self {
            page_no: parameters.integer("page_no", 1, 1..=1_000_000)?,
            page_size: parameters.integer("page_size", 20, 1..=50)?,
        })
    }

    /// How many records come before this page.
    pub(crate) const fn skip(self) -> usize {
        (self.page_no - 1) * self.page_size
    }
}

/// `product.query`, or any other search `among` fewer products.
pub(crate) fn query(call: &Call<'_>, among: Option<usize>) -> Result<Answer, Refusal> {
    let paging = Paging::read(call.parameters)?;
    let query = Query { among_first: among, ..read_query(call.parameters, paging)? };
    search(call, &query, paging, "ship_to_country")
}

/// `hotproduct.query`: the same among the fifth that sells best.
pub(crate) fn hot(call: &Call<'_>) -> Result<Answer, Refusal> {
    query(call, Some((call.catalogue.products().len() / 5).max(100)))
}

/// Answers with one page of what fits `query`.
pub(crate) fn search(
    call: &Call<'_>,
    query: &Query,
    paging: Paging,
    country: &str,
) -> Result<Answer, Refusal> {
    let found = call.catalogue.search(query);
    page(call, &found.products, found.total, paging, country)
}

/// One page of products, empty in the two ways of the upstream.
pub(crate) fn page(
    call: &Call<'_>,
    products: &[&Product],
    total: usize,
    paging: Paging,
    country: &str,
) -> Result<Answer, Refusal> {
    let unknown = call.wrong_tracking_id();
    let (products, total) = if unknown { (&[][..], 0) } else { (products, total) };
    let with = Presentation::of(call, country, products)?;
    if products.is_empty() && !unknown {
        return Ok(Answer::empty());
    }
    Ok(Answer::of(&ProductPage {
        current_page_no: paging.page_no,
        current_record_count: products.len(),
        total_page_no: total.div_ceil(paging.page_size),
        total_record_count: total,
        products: shown(&with, products),
    }))
}

fn shown<'a>(
    with: &'a Presentation<'a>,
    products: &[&'a Product],
) -> BTreeMap<&'static str, Vec<ProductView<'a>>> {
    BTreeMap::from([("product", products.iter().map(|product| with.show(product)).collect())])
}

fn read_query(parameters: &Parameters, paging: Paging) -> Result<Query, Refusal> {
    parameters.one_of("platform_product_type", &["ALL", "PLAZA", "TMALL"])?;
    let days = parameters.one_of("delivery_days", &["3", "5", "7", "10"])?;
    Ok(Query {
        keywords: parameters.get("keywords").unwrap_or_default().to_owned(),
        categories: parameters.identifiers("category_ids")?,
        bounds: read_bounds(parameters)?,
        delivery_days: days.and_then(|days| days.parse().ok()),
        sort: read_sort(parameters)?,
        skip: paging.skip(),
        take: paging.page_size,
        ..Query::default()
    })
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

/// Reads `sort`.
pub(crate) fn read_sort(parameters: &Parameters) -> Result<Sort, Refusal> {
    const WORDS: [(&str, Sort); 4] = [
        ("SALE_PRICE_ASC", Sort::PriceUp),
        ("SALE_PRICE_DESC", Sort::PriceDown),
        ("LAST_VOLUME_ASC", Sort::VolumeUp),
        ("LAST_VOLUME_DESC", Sort::VolumeDown),
    ];
    let word = parameters.one_of("sort", &WORDS.map(|(word, _)| word))?;
    let sort = word.and_then(|word| WORDS.into_iter().find(|(known, _)| *known == word));
    Ok(sort.map_or(Sort::Shop, |(_, sort)| sort))
}

/// `productdetail.get`: unknown ids and products without commission are left out, and the order
/// is the shop's, not the caller's.
pub(crate) fn detail(call: &Call<'_>) -> Result<Answer, Refusal> {
    #[derive(Serialize)]
    struct Details<'a> {
        current_record_count: usize,
        products: BTreeMap<&'static str, Vec<ProductView<'a>>>,
    }
    call.parameters.required("product_ids")?;
    let mut ids = call.parameters.identifiers("product_ids")?;
    if ids.len() > MOST_IDS {
        return Err(Refusal::invalid("product_ids", "at most 50 ids"));
    }
    ids.sort_unstable();
    ids.dedup();
    let unknown = call.wrong_tracking_id();
    let known = ids.iter().filter_map(|id| call.catalogue.product(*id));
    let products: Vec<&Product> =
        known.filter(|product| !unknown && product.commission_permille.is_some()).collect();
    let with = Presentation::of(call, "country", &products)?;
    if products.is_empty() && !unknown {
        return Ok(Answer::empty());
    }
    let products = shown(&with, &products);
    let current_record_count = products.values().map(Vec::len).sum();
    Ok(Answer::of(&Details { current_record_count, products }))
}
