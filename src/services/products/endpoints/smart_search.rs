//! Smart search: a search, then the good products of its page, without near repetitions, best first,
//! each with an affiliate link.
//!
//! Owns: the fields that it adds to a search. It stands on the plain search, which is cached by
//! itself and shared with plain searches; choosing and ranking is done each time on its page, links
//! come from their own cache. Refuses: what a search refuses, and its own fields out of bounds, all
//! mistakes at once. A product whose link cannot be had has none.

use actix_web::web::to;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Schema, SchemaType, Type};

use super::links::{DEGRADED_LINKS, FoundLinks, targets_of};
use super::search::{Prepared, SearchData, pages_of, seen_page};
use crate::cache::Tier;
use crate::failure::Failure;
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField};
use crate::http::openapi::Doc;
use crate::http::served::Served;
use crate::http::service::Route;
use crate::limits::Class;
use crate::services::products::aliexpress::Target;
use crate::services::products::ask::{DEGRADED_UPSTREAM, Products};
use crate::services::products::forms::{count_of, id_schema};
use crate::services::products::product::{AffiliateStatus, Dropped, Product};
use crate::services::products::question::{parsed, replaced, same_as};
use crate::services::products::ranking;
use crate::services::products::search_query::{SearchForm, SearchQuery};

pub(super) const ROUTES: &[Route] = &[Route::at("/api/products/smart-search", Class::Search)
    .get(|| to(handle))
    .same_by_post(|| to(handle))
    .says(doc)];

fn doc(doc: &mut Doc<'_>) {
    let summary = "Searches products, then chooses and ranks them.";
    let details = "Leaves out similar and poor offers, puts the best first and attaches \
             affiliate links. Where a link cannot be made, `affiliate_url` is null and `degraded` \
             names `affiliate_links`.";
    doc.says("Products", "smartSearchProducts", summary, details)
        .for_gpt()
        .form::<SmartSearchForm>()
        .fetches::<SmartSearchData>("One page of products, chosen and ranked.");
}

/// A smart search as a client sends it: a search and what to do with its products.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SmartSearchRequest)]
pub(super) struct SmartSearchForm {
    #[serde(flatten)]
    pub search: SearchForm,
    #[schema(schema_with = category_id_schema)]
    pub category_id: Option<Value>,
    /// Whether every product gets an affiliate link of its own.
    #[schema(value_type = Option<bool>, default = true)]
    pub generate_affiliate_links: Option<Value>,
    /// Whether the cache is read past; the fresh answer is stored all the same. Without a key it counts
    /// five times in the client's share of the upstream's calls.
    #[schema(value_type = Option<bool>, default = false)]
    pub force_refresh: Option<Value>,
    /// Least quality score of a product.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1, default = 0)]
    pub min_quality: Option<Value>,
}

fn category_id_schema() -> Schema {
    let types = SchemaType::from_iter([Type::String, Type::Integer, Type::Null]);
    let id = id_schema().schema_type(types);
    let what = "One category id, added to `category_ids`.";
    Schema::Object(id.description(Some(what)).examples([json!("439132154")]).build())
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct SmartQuery {
    pub search: SearchQuery,
    pub generate_affiliate_links: bool,
    pub force_refresh: bool,
    /// 0..=1.
    pub min_quality: f64,
}

impl SmartSearchForm {
    /// Checks a smart search.
    ///
    /// # Errors
    /// Every field that is not as allowed.
    pub(super) fn validate(&self, defaults: &Target) -> Result<SmartQuery, Vec<InvalidField>> {
        let mut check = Check::default();
        let extra_category = check.ids("category_id", self.category_id.as_ref(), 1);
        let links = self.generate_affiliate_links.as_ref();
        let links = check.flag("generate_affiliate_links", links);
        let refresh = check.flag("force_refresh", self.force_refresh.as_ref());
        let range = Decimal::ZERO..=Decimal::ONE;
        let quality = check.decimal("min_quality", self.min_quality.as_ref(), range);
        let mut search = self.search.read(&mut check, defaults);
        search.category_ids.extend(extra_category);
        search.category_ids.sort_unstable();
        search.category_ids.dedup();
        check.finish(SmartQuery {
            search,
            generate_affiliate_links: links.unwrap_or(true),
            force_refresh: refresh.unwrap_or(false),
            min_quality: quality.and_then(|quality| quality.to_f64()).unwrap_or(0.0),
        })
    }
}

/// One page of products, chosen and ranked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct SmartSearchData {
    /// The products, best first unless an order was asked for.
    products: Vec<Product>,
    /// Matches in all, before any were left out.
    total_record_count: u64,
    /// Page, from 1.
    current_page: u64,
    /// Products a page that were asked for.
    page_size: u32,
    /// What the answer cost and what was left out.
    performance_metrics: PerformanceMetrics,
}

/// What a smart search cost and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct PerformanceMetrics {
    /// Products whose link was made earlier.
    affiliate_links_cached: u64,
    /// Products whose link was made for this answer.
    affiliate_links_generated: u64,
    /// Upstream calls that the cache made unnecessary.
    api_calls_saved: u64,
    /// Products left out, by reason.
    dropped: Dropped,
}

async fn handle(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let form = call.form::<SmartSearchForm>().await?;
    let query = form.read(|form| form.validate(products.defaults()))?;
    call.watch(|| seen_page(pages_of("smart-search", &query.search)))?;
    Ok(call.answer(products.smart_search(&call, query).await?))
}

impl Products {
    /// Fails if there is no usable page anywhere. Links that fail are no error.
    async fn smart_search(&self, call: &Call, query: SmartQuery) -> Result<Served, Failure> {
        let search = Prepared::<false>::new(query.search.clone());
        let mut served = self.page(call, &search, query.force_refresh).await?;
        let mut page: SearchData = parsed(&served)?;
        let all = std::mem::take(&mut page.products);
        let order = query.search.sort.is_none();
        let (mut products, left_out) = ranking::select(all, query.min_quality, order);
        self.count(&left_out);
        let was_cached = served.source.is_some_and(|source| source.tier != Tier::Upstream);
        let mut saved = u64::from(was_cached);
        if query.generate_affiliate_links && !products.is_empty() {
            let ship_to = query.search.target.ship_to.as_deref();
            let links = self.link(call, ship_to, &mut products, &mut served).await;
            saved = saved.saturating_add(u64::from(links.are_all_cached()));
        }
        page.dropped.add(&left_out);
        let of_page = served.body.digest();
        let data = assemble(page, products, saved);
        let served = replaced(served, &data, data.products.is_empty())?;
        // Links are the same whether they were made now or earlier.
        let links = data.products.iter().map(|one| (&one.product_id, &one.affiliate_url));
        same_as(served, &(of_page, links.collect::<Vec<_>>()))
    }

    /// Gives every product its link. For products of the last resort no link is asked for: the
    /// upstream has just failed.
    async fn link(
        &self,
        call: &Call,
        ship_to: Option<&str>,
        products: &mut [Product],
        page: &mut Served,
    ) -> FoundLinks {
        let targets = targets_of(products);
        let found = if page.last_resort {
            FoundLinks::default()
        } else {
            self.links(call, &targets, ship_to).await
        };
        if found.attach(products, targets) {
            page.degraded.push(DEGRADED_LINKS);
        }
        if found.failure.is_some() {
            page.degraded.push(DEGRADED_UPSTREAM);
        }
        found
    }
}

/// The answer: the page beneath it with other products. `saved` counts the upstream calls that the
/// cache made unnecessary.
fn assemble(page: SearchData, products: Vec<Product>, saved: u64) -> SmartSearchData {
    let with = |status| {
        count_of(products.iter().filter(|product| product.affiliate_status == status).count())
    };
    SmartSearchData {
        total_record_count: page.total_record_count,
        current_page: page.current_page,
        page_size: page.page_size,
        performance_metrics: PerformanceMetrics {
            affiliate_links_cached: with(AffiliateStatus::Cached),
            affiliate_links_generated: with(AffiliateStatus::Generated),
            api_calls_saved: saved,
            dropped: page.dropped,
        },
        products,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::products::fixtures;
    use crate::services::products::product::DropReason;

    #[test]
    fn what_was_left_out_and_saved_is_counted() {
        let mut page = SearchData { total_record_count: 9, ..SearchData::default() };
        page.dropped.count(DropReason::PriceTooHigh);
        let cached = Product { affiliate_status: AffiliateStatus::Cached, ..fixtures::product(1) };
        let data = assemble(page, vec![cached, fixtures::product(2)], 2);
        assert_eq!((data.total_record_count, data.products.len()), (9, 2));
        let metrics = data.performance_metrics;
        assert_eq!((metrics.affiliate_links_cached, metrics.affiliate_links_generated), (1, 0));
        assert_eq!((metrics.api_calls_saved, metrics.dropped.total()), (2, 1));
    }
}
