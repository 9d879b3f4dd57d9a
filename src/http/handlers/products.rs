//! Searches and details.
//!
//! Owns: from a form to the service and back. Every check of the form is the products room's.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};

use super::{Answer, data};
use crate::http::context::Context;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{JsonForm, QueryForm};
use crate::http::openapi::answers::Fetched;
use crate::http::openapi::failures::{BadInput, NotFound, UpstreamFailures};
use crate::http::state::Worker;
use crate::http::watch;
use crate::services::products::answer::{DetailsData, SearchData, SmartMatchData, SmartSearchData};
use crate::services::products::details::{self, RawDetails, RawPlace};
use crate::services::products::mark::Mark;
use crate::services::products::product::Product;
use crate::services::products::query::{self, RawSearch};
use crate::services::products::search::{Among, Prepared};
use crate::services::products::smart_match::{self, RawSmartMatch};
use crate::services::products::smart_query::{self, RawSmartSearch};

/// Searches products.
///
/// Without keywords and categories the catalogue is listed. Answers come from the cache where it
/// holds them.
#[utoipa::path(
    get,
    path = "/api/products/search",
    tag = "Products",
    operation_id = "searchProducts",
    params(RawSearch),
    responses(
        (status = 200, description = "One page of products.", body = Fetched<SearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn search(worker: Data<Worker>, context: Context, request: HttpRequest) -> Answer {
    read_and_search(&worker, &context, &request, Among::All).await
}

async fn read_and_search(
    worker: &Worker,
    context: &Context,
    request: &HttpRequest,
    among: Among,
) -> Answer {
    let defaults = worker.products.defaults();
    let search = worker.searches.of(request.query_string(), among, defaults)?;
    watch::query(worker, &context.0, search.mark)?;
    let served = worker.products.search(&context.0.scope(), &search).await?;
    Ok(data(worker, &context.0, served))
}

/// Searches products, with a body.
///
/// The same as with a query string; both share their cache entries.
#[utoipa::path(
    post,
    path = "/api/products/search",
    tag = "Products",
    operation_id = "searchProductsByBody",
    request_body = RawSearch,
    responses(
        (status = 200, description = "One page of products.", body = Fetched<SearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn search_posted(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSearch>,
) -> Answer {
    search_for(&worker, &context, &form.0, Among::All).await
}

async fn search_for(worker: &Worker, context: &Context, form: &RawSearch, among: Among) -> Answer {
    let query = query::validate(form, worker.products.defaults())?;
    let search = Prepared::new(query, among);
    watch::query(worker, &context.0, search.mark)?;
    let served = worker.products.search(&context.0.scope(), &search).await?;
    Ok(data(worker, &context.0, served))
}

/// Searches products past the cache.
///
/// Reads no tier and stores nothing. Every such request spends an upstream call.
#[utoipa::path(
    post,
    path = "/api/products/search/no-cache",
    tag = "Products",
    operation_id = "searchProductsUncached",
    request_body = RawSearch,
    responses(
        (status = 200, description = "One page of products.", body = Fetched<SearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn search_uncached(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSearch>,
) -> Answer {
    let query = query::validate(&form.0, worker.products.defaults())?;
    watch::query(&worker, &context.0, Mark::of_search(&query, Among::All))?;
    let served = worker.products.search_uncached(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, served))
}

/// Searches products, then chooses and ranks them.
///
/// Leaves out similar and poor offers, puts the best first and attaches affiliate links. Where a
/// link cannot be made, the plain address stands in its place and `degraded` names
/// `affiliate_links`.
#[utoipa::path(
    get,
    path = "/api/products/smart-search",
    tag = "Products",
    operation_id = "smartSearchProducts",
    params(RawSmartSearch),
    responses(
        (status = 200, description = "One page of products, chosen and ranked.", body = Fetched<SmartSearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn smart_search(
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<RawSmartSearch>,
) -> Answer {
    smart_search_for(&worker, &context, form.0).await
}

/// Searches products, then chooses and ranks them, with a body.
///
/// The same as with a query string; both share their cache entries.
#[utoipa::path(
    post,
    path = "/api/products/smart-search",
    tag = "Products",
    operation_id = "smartSearchProductsByBody",
    request_body = RawSmartSearch,
    responses(
        (status = 200, description = "One page of products, chosen and ranked.", body = Fetched<SmartSearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn smart_search_posted(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSmartSearch>,
) -> Answer {
    smart_search_for(&worker, &context, form.0).await
}

async fn smart_search_for(worker: &Worker, context: &Context, form: RawSmartSearch) -> Answer {
    let query = smart_query::validate(form, worker.products.defaults())?;
    watch::query(worker, &context.0, Mark::of_smart_search(&query.search))?;
    let served = worker.products.smart_search(&context.0.scope(), query).await?;
    Ok(data(worker, &context.0, served))
}

/// Lists hot products.
///
/// What sells best now, within the same bounds as a search.
#[utoipa::path(
    get,
    path = "/api/products/hot",
    tag = "Products",
    operation_id = "listHotProducts",
    params(RawSearch),
    responses(
        (status = 200, description = "One page of hot products.", body = Fetched<SearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn hot(worker: Data<Worker>, context: Context, request: HttpRequest) -> Answer {
    read_and_search(&worker, &context, &request, Among::Hot).await
}

/// Lists hot products, with a body.
///
/// The same as with a query string; both share their cache entries.
#[utoipa::path(
    post,
    path = "/api/products/hot",
    tag = "Products",
    operation_id = "listHotProductsByBody",
    request_body = RawSearch,
    responses(
        (status = 200, description = "One page of hot products.", body = Fetched<SearchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn hot_posted(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSearch>,
) -> Answer {
    search_for(&worker, &context, &form.0, Among::Hot).await
}

/// Gets the details of one product.
///
/// A product that does not exist, or earns no commission, is not found.
#[utoipa::path(
    get,
    path = "/api/products/details/{product_id}",
    tag = "Products",
    operation_id = "getProduct",
    params(
        ("product_id" = String, Path, description = "Product id, 1 to 20 digits.",
            pattern = "^[0-9]{1,20}$", example = "3256812497109248"),
        RawPlace,
    ),
    responses(
        (status = 200, description = "The product.", body = Fetched<Product>),
        BadInput,
        NotFound,
        UpstreamFailures,
    ),
)]
pub async fn product(
    worker: Data<Worker>,
    context: Context,
    id: Path<String>,
    form: QueryForm<RawPlace>,
) -> Answer {
    let query = details::validate_one(&id, &form.0, worker.products.defaults())?;
    watch::products(&worker, &context.0, &query)?;
    match worker.products.product(&context.0.scope(), query).await? {
        Some(served) => Ok(data(&worker, &context.0, served)),
        None => Err(ApiError::with_message(ErrorCode::NotFound, "There is no such product.")),
    }
}

/// Gets the details of several products.
///
/// Answers in the order asked for; ids without a product are listed as `missing`, ids that could
/// not be asked for as `unavailable`.
#[utoipa::path(
    post,
    path = "/api/products/details",
    tag = "Products",
    operation_id = "getProducts",
    request_body = RawDetails,
    responses(
        (status = 200, description = "The products that were found, and which were not.", body = Fetched<DetailsData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn products(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawDetails>,
) -> Answer {
    let query = details::validate(&form.0, worker.products.defaults())?;
    watch::products(&worker, &context.0, &query)?;
    let served = worker.products.products(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, served))
}

/// Finds products like the one at an address.
///
/// The address must hold the product id; short links are not followed.
#[utoipa::path(
    get,
    path = "/api/smart-match",
    tag = "Products",
    operation_id = "matchProducts",
    params(RawSmartMatch),
    responses(
        (status = 200, description = "Products like the given one.", body = Fetched<SmartMatchData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn smart_match(
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<RawSmartMatch>,
) -> Answer {
    let query = smart_match::validate(form.0, worker.products.defaults())?;
    watch::like(&worker, &context.0, &query)?;
    let served = worker.products.smart_match(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, served))
}
