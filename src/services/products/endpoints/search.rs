//! Search among all products; also what hot products and smart search stand on.
//!
//! Owns: the form of a search, its canonical query, its question and its page. Refuses: what the
//! upstream would not understand, all mistakes at once. When cache and upstream fail, the last
//! resort answers. Decided here:
//! - A search may have neither keywords nor categories: the upstream then lists its catalogue, and a
//!   storefront browses so.
//! - White space in keywords is folded, because it means nothing; case is kept.
//! - A price bound finer than the currency's smallest unit is rounded inwards, so that nothing
//!   outside the bounds comes back.

use std::cell::RefCell;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use actix_web::web::to;
use cached::{Cached, LruCache};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, Object, OneOfBuilder, Schema, Type};

use crate::failure::Failure;
use crate::http::error::ApiError;
use crate::http::extract::{Answer, Call};
use crate::http::forms::{self, Check, InvalidField, RawForm};
use crate::http::openapi::Doc;
use crate::http::openapi::failures::{BAD_INPUT, UPSTREAM};
use crate::http::served::Served;
use crate::http::service::{Operation, Route, fingerprint};
use crate::limits::Class;
use crate::limits::abuse::{Page, Seen};
use crate::services::products::aliexpress::methods::{self, ProductQuery, Request, Target};
use crate::services::products::aliexpress::terms::{Currency, Sort};
use crate::services::products::aliexpress::wire;
use crate::services::products::ask::{Keyed, Kind, Question, Read, Reading};
use crate::services::products::dropped::Dropped;
use crate::services::products::product::{self, Product};
use crate::services::products::target::{TargetForm, codes};
use crate::services::products::{Products, count_of, tags};

/// Longest keywords, in characters.
const MAX_KEYWORDS: usize = 256;
/// Most categories of one search.
const MAX_CATEGORIES: usize = 50;
/// Most products of one page.
const MAX_PAGE_SIZE: u32 = 50;
/// Highest page; far beyond what anybody reads, and within what the upstream takes.
const MAX_PAGE: u32 = 10_000;
/// Products of a page when nothing else is asked for.
const DEFAULT_PAGE_SIZE: u32 = 20;
/// Highest price bound, in major units.
const MAX_PRICE_BOUND: i64 = 1_000_000_000;
/// Query strings that each worker remembers.
const REMEMBERED: usize = 2_048;
/// Longest query string that is remembered, in bytes.
const LONGEST_REMEMBERED: usize = 512;

pub(super) const ROUTES: &[Route] = &[
    Route::new(
        "/api/products/search",
        Class::Search,
        &[
            Operation::get(|| to(handle::<All>), doc),
            Operation::same_by_post(|| to(handle::<All>), doc),
        ],
    ),
    Route::new(
        "/api/products/search/no-cache",
        Class::Search,
        &[Operation::post(
            || to(handle_uncached),
            |doc| {
                let details =
                    "Reads no tier and stores nothing. Every such request spends an upstream call.";
                doc.says(
                    "Products",
                    "searchProductsUncached",
                    "Searches products past the cache.",
                    details,
                );
                form_and_page(doc, "One page of products.");
            },
        )],
    ),
];

fn doc(doc: &mut Doc<'_>) {
    let details = "Without keywords and categories the catalogue is listed. Answers come from the \
                   cache where it holds them.";
    doc.says("Products", "searchProducts", "Searches products.", details).for_gpt();
    form_and_page(doc, "One page of products.");
}

pub(super) fn form_and_page(doc: &mut Doc<'_>, what: &str) {
    doc.form::<SearchForm>().fetches::<SearchData>(what).fails(BAD_INPUT).fails(UPSTREAM);
}

/// A search as a client sends it, in the query string or as a JSON object. Numbers may be texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SearchRequest)]
pub(in crate::services::products) struct SearchForm {
    /// Words to look for; white space is folded.
    #[schema(value_type = Option<String>, max_length = 256, example = "wireless earbuds")]
    pub keywords: Option<Value>,
    #[schema(schema_with = category_ids_schema)]
    pub category_ids: Option<Value>,
    /// Least price, in units of the currency.
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 1_000_000_000)]
    pub min_sale_price: Option<Value>,
    /// Highest price, in units of the currency.
    #[schema(value_type = Option<f64>, exclusive_minimum = 0, maximum = 1_000_000_000)]
    pub max_sale_price: Option<Value>,
    /// Page, from 1.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1)]
    pub page_no: Option<Value>,
    /// Products a page; a smart search then leaves out similar and poor ones.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    pub page_size: Option<Value>,
    /// Order of the products. When absent: the upstream's own order of relevance; of a smart search,
    /// best quality first.
    #[schema(value_type = Option<Sort>)]
    pub sort: Option<Value>,
    #[serde(flatten)]
    pub target: TargetForm,
}

impl RawForm for SearchForm {}

/// Category ids as a body may give them: one text, or a list.
fn category_ids_schema() -> Schema {
    let what =
        "Category ids, separated by commas in one text; in a body also texts or numbers in a list.";
    let texts = OneOfBuilder::new()
        .description(Some(what))
        .item(Object::with_type(Type::String))
        .item(Array::new(Object::with_type(Type::String)))
        .item(Object::with_type(Type::Null))
        .examples([serde_json::json!("26,55"), serde_json::json!(["26", "55"])])
        .build();
    Schema::OneOf(texts)
}

/// A valid search in canonical form: two that mean the same are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::services::products) struct SearchQuery {
    /// White space folded.
    pub keywords: Option<String>,
    /// Ascending, each once.
    pub category_ids: Vec<u64>,
    /// In the currency's smallest unit; `None` for no bound.
    pub min_sale_price: Option<u64>,
    pub max_sale_price: Option<u64>,
    /// From 1.
    pub page_no: u32,
    /// 1..=50.
    pub page_size: u32,
    /// The upstream's own order when `None`.
    pub sort: Option<Sort>,
    pub target: Target,
}

impl SearchForm {
    /// Checks a search. What it does not say about its target is taken from `defaults`.
    ///
    /// # Errors
    /// Every field that is not as allowed.
    pub(in crate::services::products) fn validate(
        &self,
        defaults: &Target,
    ) -> Result<SearchQuery, Vec<InvalidField>> {
        let mut check = Check::default();
        let query = self.read(&mut check, defaults);
        check.finish(query)
    }

    /// Reads a search, noting every mistake in `check`.
    pub(super) fn read(&self, check: &mut Check, defaults: &Target) -> SearchQuery {
        let target = self.target.read(check, defaults);
        let keywords = check.words("keywords", self.keywords.as_ref(), MAX_KEYWORDS);
        let category_ids = self.category_ids.as_ref();
        let mut category_ids = check.ids("category_ids", category_ids, MAX_CATEGORIES);
        category_ids.sort_unstable();
        let (min_sale_price, max_sale_price) = self.price_bounds(check, target.currency);
        let (page_no, page_size) = page(check, self.page_no.as_ref(), self.page_size.as_ref());
        let sorts = codes(Sort::ALL, Sort::code);
        let sort = check.word("sort", self.sort.as_ref(), Sort::parse, &sorts);
        SearchQuery {
            keywords,
            category_ids,
            min_sale_price,
            max_sale_price,
            page_no,
            page_size,
            sort,
            target,
        }
    }

    fn price_bounds(&self, check: &mut Check, currency: Currency) -> (Option<u64>, Option<u64>) {
        let range = Decimal::ZERO..=Decimal::from(MAX_PRICE_BOUND);
        let min = check.decimal("min_sale_price", self.min_sale_price.as_ref(), range.clone());
        let max = check.decimal("max_sale_price", self.max_sale_price.as_ref(), range);
        let lower = min.and_then(|min| currency.lower_bound(min)).filter(|min| *min > 0);
        let upper = max.and_then(|max| currency.upper_bound(max));
        if upper == Some(0) {
            let smallest = Decimal::new(1, currency.decimals());
            check.refuse("max_sale_price", "is below every price", format!("{smallest} or more"));
        } else if let (Some(lower), Some(upper)) = (lower, upper)
            && lower > upper
        {
            let problem = "leaves no price below max_sale_price";
            check.refuse("min_sale_price", problem, "at most max_sale_price");
        }
        (lower, upper)
    }
}

impl From<&SearchQuery> for SearchForm {
    fn from(query: &SearchQuery) -> Self {
        let decimals = query.target.currency.decimals();
        let price = |bound: Option<u64>| {
            let bound = Decimal::from_i128_with_scale(bound?.into(), decimals);
            Some(Value::String(bound.to_string()))
        };
        Self {
            keywords: query.keywords.clone().map(Value::String),
            category_ids: Some(query.category_ids.as_slice().into()),
            min_sale_price: price(query.min_sale_price),
            max_sale_price: price(query.max_sale_price),
            page_no: Some(query.page_no.into()),
            page_size: Some(query.page_size.into()),
            sort: query.sort.map(|sort| sort.code().into()),
            target: (&query.target).into(),
        }
    }
}

/// Page number and size with their defaults.
pub(super) fn page(check: &mut Check, no: Option<&Value>, size: Option<&Value>) -> (u32, u32) {
    (
        check.whole("page_no", no, 1..=MAX_PAGE).unwrap_or(1),
        check.whole("page_size", size, 1..=MAX_PAGE_SIZE).unwrap_or(DEFAULT_PAGE_SIZE),
    )
}

/// One page of products.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(in crate::services::products) struct SearchData {
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

/// Which products are searched.
pub(super) trait Among: Copy + Debug + Send + Sync + 'static {
    const KIND: Kind;
    const IS_HOT: bool;
    fn request(query: &ProductQuery<'_>) -> Request;
}

/// All products.
#[derive(Debug, Clone, Copy)]
pub(super) struct All;

impl Among for All {
    const KIND: Kind = Kind {
        operation: "search",
        label: "search",
        fresh: |setup| setup.lifetimes.search_ttl,
        is_validated: true,
        at_once: 1,
    };
    const IS_HOT: bool = false;

    fn request(query: &ProductQuery<'_>) -> Request {
        methods::product_query(query)
    }
}

/// One page of a search.
#[derive(Debug, Clone)]
pub(super) struct Search<A> {
    pub query: Arc<SearchQuery>,
    among: PhantomData<A>,
}

impl<A: Among> Search<A> {
    pub(super) fn new(query: SearchQuery) -> Self {
        Self { query: Arc::new(query), among: PhantomData }
    }

    fn digest(&self, result: &Value, validate: bool) -> Reading<SearchData> {
        let query = &*self.query;
        let page = wire::product_page(result);
        let is_empty = page.products.is_empty();
        let (products, dropped) = product::products(page.products, &query.target, validate);
        let data = SearchData {
            total_record_count: page.total_record_count.unwrap_or_else(|| count_of(products.len())),
            current_page: page.current_page_no.unwrap_or_else(|| u64::from(query.page_no)),
            page_size: query.page_size,
            dropped: dropped.clone(),
            products,
        };
        Reading { data, dropped, is_empty }
    }
}

impl<A: Among> Question for Search<A> {
    const KIND: Kind = A::KIND;

    fn request(&self, _: &[Self]) -> Request {
        let query = &*self.query;
        A::request(&ProductQuery {
            keywords: query.keywords.as_deref(),
            category_ids: &query.category_ids,
            min_sale_price: query.min_sale_price,
            max_sale_price: query.max_sale_price,
            page_no: query.page_no,
            page_size: query.page_size,
            sort: query.sort,
            target: &query.target,
        })
    }

    fn read(&self, _: &[Self], result: &Value, validate: bool) -> Result<Read, Failure> {
        let categories = self.query.category_ids.iter().map(tags::category);
        let page = self.digest(result, validate);
        page.loaded(|page| categories.chain(tags::products(&page.products)).collect())
    }

    fn form(&self) -> Option<Value> {
        serde_json::to_value(SearchForm::from(&*self.query)).ok()
    }

    fn from_form(form: Value, defaults: &Target) -> Option<Self> {
        let form: SearchForm = serde_json::from_value(form).ok()?;
        form.validate(defaults).ok().map(Self::new)
    }
}

/// A search that was checked and has its keys: what is left to do is to look it up. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Prepared<A> {
    pub(super) keyed: Keyed<Search<A>>,
    page: Page,
}

impl<A: Among> Prepared<A> {
    pub(super) fn new(query: SearchQuery) -> Self {
        let page = pages_of(A::KIND.operation, &query);
        Self { keyed: Keyed::new(Search::new(query)), page }
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
pub(super) struct Memo<A>(RefCell<LruCache<String, Prepared<A>>>);

impl<A: Among> Default for Memo<A> {
    fn default() -> Self {
        Self(RefCell::new(LruCache::new(REMEMBERED)))
    }
}

impl<A: Among> Memo<A> {
    fn of(&self, text: &str, defaults: &Target) -> Result<Prepared<A>, ApiError> {
        if let Some(prepared) = self.0.borrow_mut().cache_get(text) {
            return Ok(prepared.clone());
        }
        let form: SearchForm = forms::from_query(text)?;
        let prepared = Prepared::new(form.validate(defaults)?);
        if text.len() <= LONGEST_REMEMBERED {
            self.0.borrow_mut().cache_set(text.to_owned(), prepared.clone());
        }
        Ok(prepared)
    }
}

pub(super) async fn handle<A: Among>(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let prepared = match call.query() {
        Some(text) => call.service::<Memo<A>>()?.of(text, products.defaults())?,
        None => {
            let form: SearchForm = call.form().await?;
            Prepared::new(form.validate(products.defaults())?)
        }
    };
    call.watch(|| prepared.seen())?;
    Ok(call.answer(products.page(&call, &prepared, false).await?))
}

async fn handle_uncached(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let form: SearchForm = call.form().await?;
    let prepared = Prepared::<All>::new(form.validate(products.defaults())?);
    call.watch(|| prepared.seen())?;
    Ok(call.answer(products.ask_live(&call, prepared.keyed.question).await?))
}

impl Products {
    /// One page of a search; `reload` reads past the cache and stores.
    pub(super) async fn page<A: Among>(
        &self,
        call: &Call,
        search: &Prepared<A>,
        reload: bool,
    ) -> Result<Served, Failure> {
        let query = &search.keyed.question.query;
        let answer = self.ask_keyed(call, &search.keyed, reload).await;
        answer.or_else(|failure| {
            self.resort::<Search<A>, _>(call, failure, |last, validate| {
                last.search(query, A::IS_HOT, validate)
            })
        })
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
