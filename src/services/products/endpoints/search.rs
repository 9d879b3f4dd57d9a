//! Search among all products, or among those with a raised commission (hot products); also what smart
//! search stands on.
//!
//! Owns: the question to the upstream and its page, and a memory of query strings. When cache and
//! upstream fail, the last resort answers.

use std::cell::RefCell;
use std::sync::Arc;

use actix_web::web::to;
use cached::{Cached, LruCache};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::http::error::ApiError;
use crate::http::extract::{Answer, Call};
use crate::http::forms;
use crate::http::openapi::Doc;
use crate::http::served::Served;
use crate::http::service::{Route, fingerprint};
use crate::limits::Class;
use crate::limits::abuse::{Page, Seen};
use crate::services::products::aliexpress::records::Records;
use crate::services::products::aliexpress::terms::Sort;
use crate::services::products::aliexpress::{Method, Request, Target, read};
use crate::services::products::ask::Products;
use crate::services::products::forms::count_of;
use crate::services::products::last_resort::LastResort;
use crate::services::products::product::{Dropped, Product};
use crate::services::products::question::{
    Keyed, Kind, Question, Read, category_tag, loaded, reads, tags_of,
};
use crate::services::products::reading;
use crate::services::products::search_query::{SearchForm, SearchQuery};

/// Query strings that each worker remembers.
const REMEMBERED: usize = 2_048;
/// Longest query string that is remembered, in bytes.
const LONGEST_REMEMBERED: usize = 512;

pub const METHOD: Method = Method {
    name: "aliexpress.affiliate.product.query",
    records: Records::PRODUCTS,
    is_search: true,
};
pub const HOT_METHOD: Method = Method { name: "aliexpress.affiliate.hotproduct.query", ..METHOD };

const KIND: Kind = Kind {
    operation: "search",
    label: "search",
    is_answer: reads::<SearchData>,
    fresh: |ttls| ttls.kinds.search_ttl,
    is_validated: true,
    is_tracked: true,
    at_once: 1,
};
const HOT_KIND: Kind =
    Kind { operation: "hot", label: "hot", fresh: |ttls| ttls.kinds.hot_ttl, ..KIND };

pub(super) const ROUTES: &[Route] = &[
    Route::at("/api/products/search", Class::Search)
        .get(|| to(handle::<false>))
        .same_by_post(|| to(handle::<false>))
        .says(doc),
    Route::at("/api/products/search/no-cache", Class::Search)
        .post(|| to(handle_uncached))
        .says(doc_uncached),
    Route::at("/api/products/hot", Class::Search)
        .get(|| to(handle::<true>))
        .same_by_post(|| to(handle::<true>))
        .says(doc_hot),
];

fn doc(doc: &mut Doc<'_>) {
    let details = "Without keywords and categories the catalogue is listed. Answers come \
             from the cache where it holds them.";
    doc.says("Products", "searchProducts", "Searches products.", details)
        .for_gpt()
        .form::<SearchForm>()
        .fetches::<SearchData>("One page of products.");
}

fn doc_uncached(doc: &mut Doc<'_>) {
    let summary = "Searches products past the cache.";
    let details = "Reads no tier and stores nothing. Every such request spends an \
                   upstream call, and five of the share of a client without a key.";
    doc.says("Products", "searchProductsUncached", summary, details)
        .form::<SearchForm>()
        .fetches::<SearchData>("One page of products.");
}

fn doc_hot(doc: &mut Doc<'_>) {
    let details = "What sells best now, within the same bounds as a search.";
    doc.says("Products", "listHotProducts", "Lists hot products.", details)
        .for_gpt()
        .form::<SearchForm>()
        .fetches::<SearchData>("One page of hot products.");
}

/// One page of products.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct SearchData {
    /// The products, in the order asked for.
    pub products: Vec<Product>,
    /// Matches in all, as the upstream counts them; may be huge.
    pub total_record_count: u64,
    /// Page, from 1.
    pub current_page: u64,
    /// Products a page that were asked for.
    pub page_size: u32,
    /// Products of this page that were left out, by reason.
    #[serde(default, skip_serializing_if = "Dropped::is_empty")]
    pub dropped: Dropped,
}

/// One page of a search, among all products or among the hot ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Search<const HOT: bool> {
    pub(super) query: Arc<SearchQuery>,
}

impl<const HOT: bool> Search<HOT> {
    fn page(&self, result: &Value, validate: bool) -> SearchData {
        let query = &*self.query;
        let (products, dropped) = reading::products(result, &query.target, validate);
        let total = read::count(result, "total_record_count");
        let page = read::id(result, "current_page_no");
        SearchData {
            total_record_count: total.unwrap_or_else(|| count_of(products.len())),
            current_page: page.unwrap_or_else(|| u64::from(query.page_no)),
            page_size: query.page_size,
            dropped,
            products,
        }
    }
}

impl<const HOT: bool> Question for Search<HOT> {
    const KIND: Kind = if HOT { HOT_KIND } else { KIND };

    fn request(&self, _: &[Self]) -> Request {
        let query = &*self.query;
        Request::of(if HOT { &HOT_METHOD } else { &METHOD })
            .optional("keywords", query.keywords.as_deref())
            .list("category_ids", &query.category_ids)
            .optional("min_sale_price", query.min_sale_price)
            .optional("max_sale_price", query.max_sale_price)
            .set("page_no", query.page_no)
            .set("page_size", query.page_size)
            .optional("sort", query.sort.map(Sort::code))
            .optional("ship_to_country", query.target.ship_to.as_deref())
            .target(&query.target)
    }

    fn read(&self, _: &[Self], result: &Value, validate: bool) -> Read {
        let page = self.page(result, validate);
        let is_empty = METHOD.records.list(result).is_empty();
        let categories = self.query.category_ids.iter().map(category_tag);
        let tags = categories.chain(tags_of(&page.products));
        (vec![loaded(self, &page, is_empty, tags)], page.dropped)
    }

    /// A page of which nothing is fit to be shown says nothing.
    fn last_resort(&self, last: &LastResort, validate: bool) -> Option<Value> {
        let result = last.search(&self.query, HOT)?;
        (!self.page(&result, validate).products.is_empty()).then_some(result)
    }
}

/// A search that was checked and has its keys: what is left to do is to look it up. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Prepared<const HOT: bool> {
    pub(super) keyed: Keyed<Search<HOT>>,
    page: Page,
}

impl<const HOT: bool> Prepared<HOT> {
    pub(super) fn new(query: SearchQuery) -> Self {
        let page = pages_of(Search::<HOT>::KIND.operation, &query);
        Self { keyed: Keyed::new(Search { query: Arc::new(query) }), page }
    }

    fn seen(&self) -> Seen<'static> {
        seen_page(self.page)
    }
}

/// The search without its page, as a number, and the page.
pub(super) fn pages_of(operation: &str, query: &SearchQuery) -> Page {
    let of = SearchQuery { page_no: 0, ..query.clone() };
    Page { of: fingerprint(&(operation, of)), number: query.page_no }
}

pub(super) fn seen_page(page: Page) -> Seen<'static> {
    let query = fingerprint(&(page.of, page.number));
    Seen { query: Some(query), page: Some(page), ..Seen::default() }
}

/// Query strings that were read before, so that a popular search is parsed, checked and hashed once.
/// What is long or wrong is read each time.
pub(super) struct Memo<const HOT: bool>(RefCell<LruCache<String, Prepared<HOT>>>);

impl<const HOT: bool> Default for Memo<HOT> {
    fn default() -> Self {
        Self(RefCell::new(LruCache::new(REMEMBERED)))
    }
}

impl<const HOT: bool> Memo<HOT> {
    fn of(&self, text: &str, defaults: &Target) -> Result<Prepared<HOT>, ApiError> {
        if let Some(prepared) = self.0.borrow_mut().cache_get(text) {
            return Ok(prepared.clone());
        }
        let form = forms::from_query::<SearchForm>(text);
        let prepared = Prepared::new(form.read(|form| form.validate(defaults))?);
        if text.len() <= LONGEST_REMEMBERED {
            self.0.borrow_mut().cache_set(text.to_owned(), prepared.clone());
        }
        Ok(prepared)
    }
}

pub(super) async fn handle<const HOT: bool>(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let prepared = match call.query() {
        Some(text) => call.service::<Memo<HOT>>()?.of(text, products.defaults())?,
        None => {
            let form = call.form::<SearchForm>().await?;
            Prepared::new(form.read(|form| form.validate(products.defaults()))?)
        }
    };
    call.watch(|| prepared.seen())?;
    Ok(call.answer(products.page(&call, &prepared, false).await?))
}

async fn handle_uncached(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let form = call.form::<SearchForm>().await?;
    let query = form.read(|form| form.validate(products.defaults()))?;
    let prepared = Prepared::<false>::new(query);
    call.watch(|| prepared.seen())?;
    Ok(call.answer(products.ask_live(&call, &prepared.keyed.question).await?))
}

impl Products {
    /// One page of a search; `reload` reads past the cache and stores.
    pub(super) async fn page<const HOT: bool>(
        &self,
        call: &Call,
        search: &Prepared<HOT>,
        reload: bool,
    ) -> Result<Served, Failure> {
        let answer = self.ask_keyed(call, &search.keyed, reload).await;
        self.or_last_resort(call, &search.keyed.question, answer)
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
