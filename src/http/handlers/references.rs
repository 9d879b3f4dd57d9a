//! Categories, affiliate links and orders.
//!
//! Owns: from a form to the service and back. Orders are money: they need a key.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};

use super::{Answer, data};
use crate::http::context::Context;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{JsonForm, QueryForm};
use crate::http::middleware::limit::holds_key;
use crate::http::state::Worker;
use crate::products::categories;
use crate::products::links::{self, RawLink, RawLinks};
use crate::products::orders::{self, RawOrders};

/// All categories.
pub async fn categories(worker: Data<Worker>, context: Context) -> Answer {
    let served = worker.products.categories(&context.0.scope()).await?;
    Ok(data(&worker, &context.0, &served))
}

/// The children of one category.
pub async fn children(worker: Data<Worker>, context: Context, id: Path<String>) -> Answer {
    let parent = categories::validate_parent(&id)?;
    match worker.products.children(&context.0.scope(), parent).await? {
        Some(served) => Ok(data(&worker, &context.0, &served)),
        None => Err(ApiError::with_message(ErrorCode::NotFound, "There is no such category.")),
    }
}

/// The affiliate link of one address.
pub async fn link(worker: Data<Worker>, context: Context, form: QueryForm<RawLink>) -> Answer {
    let targets = links::validate_one(&form.0)?;
    let served = worker.products.links(&context.0.scope(), &targets).await?;
    Ok(data(&worker, &context.0, &served))
}

/// The affiliate links of several addresses.
pub async fn links(worker: Data<Worker>, context: Context, form: JsonForm<RawLinks>) -> Answer {
    let targets = links::validate(&form.0)?;
    let served = worker.products.links(&context.0.scope(), &targets).await?;
    Ok(data(&worker, &context.0, &served))
}

/// One page of orders.
pub async fn orders(
    worker: Data<Worker>,
    context: Context,
    request: HttpRequest,
    form: QueryForm<RawOrders>,
) -> Answer {
    if !holds_key(&worker, &request) {
        return Err(ApiError::new(ErrorCode::KeyRequired));
    }
    let query = orders::validate(&form.0)?;
    let served = worker.products.orders(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, &served))
}
