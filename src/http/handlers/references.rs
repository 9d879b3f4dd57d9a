//! Categories, affiliate links and orders.
//!
//! Owns: from a form to the service and back. Orders are money: they need a key.

use actix_web::web::{Data, Path};

use super::{Answer, data};
use crate::http::context::Context;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{JsonForm, QueryForm};
use crate::http::openapi::answers::Fetched;
use crate::http::openapi::failures::{BadInput, NotFound, UpstreamFailures};
use crate::http::state::Worker;
use crate::http::watch;
use crate::services::products::answer::{CategoriesData, ChildrenData, LinksData, OrdersData};
use crate::services::products::categories;
use crate::services::products::links::{self, RawLink, RawLinks};
use crate::services::products::orders::{self, RawOrders};

/// Lists all categories.
///
/// Categories of all levels in one list; each names the one above it.
#[utoipa::path(
    get,
    path = "/api/categories",
    tag = "Categories",
    operation_id = "listCategories",
    responses(
        (status = 200, description = "The categories.", body = Fetched<CategoriesData>),
        UpstreamFailures,
    ),
)]
pub async fn categories(worker: Data<Worker>, context: Context) -> Answer {
    let served = worker.products.categories(&context.0.scope()).await?;
    Ok(data(&worker, &context.0, served))
}

/// Lists the categories directly below one.
///
/// A lowest category has none, which is an empty list; a category that does not exist is not found.
#[utoipa::path(
    get,
    path = "/api/categories/{id}/children",
    tag = "Categories",
    operation_id = "listChildCategories",
    params(
        ("id" = String, Path, description = "Category id, 1 to 20 digits.",
            pattern = "^[0-9]{1,20}$", example = "26"),
    ),
    responses(
        (status = 200, description = "The categories below.", body = Fetched<ChildrenData>),
        BadInput,
        NotFound,
        UpstreamFailures,
    ),
)]
pub async fn children(worker: Data<Worker>, context: Context, id: Path<String>) -> Answer {
    let parent = categories::validate_parent(&id)?;
    watch::category(&worker, &context.0, parent)?;
    match worker.products.children(&context.0.scope(), parent).await? {
        Some(served) => Ok(data(&worker, &context.0, served)),
        None => Err(ApiError::with_message(ErrorCode::NotFound, "There is no such category.")),
    }
}

/// Makes the affiliate link of one address.
///
/// Where none can be made, `status` is `failed` and the plain address stands in its place.
#[utoipa::path(
    get,
    path = "/api/affiliate/link",
    tag = "Affiliate links",
    operation_id = "getAffiliateLink",
    params(RawLink),
    responses(
        (status = 200, description = "A list with one link.", body = Fetched<LinksData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn link(worker: Data<Worker>, context: Context, form: QueryForm<RawLink>) -> Answer {
    let targets = links::validate_one(&form.0)?;
    watch::links(&worker, &context.0, &targets)?;
    let served = worker.products.links(&context.0.scope(), &targets).await?;
    Ok(data(&worker, &context.0, served))
}

/// Makes the affiliate links of several addresses.
///
/// Answers in the order asked for, each with its own status.
#[utoipa::path(
    post,
    path = "/api/affiliate/links",
    tag = "Affiliate links",
    operation_id = "getAffiliateLinks",
    request_body = RawLinks,
    responses(
        (status = 200, description = "One link for each address.", body = Fetched<LinksData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn links(worker: Data<Worker>, context: Context, form: JsonForm<RawLinks>) -> Answer {
    let targets = links::validate(&form.0)?;
    watch::links(&worker, &context.0, &targets)?;
    let served = worker.products.links(&context.0.scope(), &targets).await?;
    Ok(data(&worker, &context.0, served))
}

/// Lists orders of a span of time.
///
/// Needs a key, whether or not keys are required elsewhere.
#[utoipa::path(
    get,
    path = "/api/orders",
    tag = "Orders",
    operation_id = "listOrders",
    params(RawOrders),
    security(("x-internal-key" = []), ("authorization" = [])),
    responses(
        (status = 200, description = "One page of orders.", body = Fetched<OrdersData>),
        BadInput,
        UpstreamFailures,
    ),
)]
pub async fn orders(worker: Data<Worker>, context: Context, form: QueryForm<RawOrders>) -> Answer {
    if !context.0.keyed.get() {
        return Err(ApiError::new(ErrorCode::KeyRequired));
    }
    let query = orders::validate(&form.0)?;
    let served = worker.products.orders(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, served))
}
