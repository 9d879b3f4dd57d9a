//! Searches and details.
//!
//! Owns: from a form to the service and back. Every check of the form is the products room's.

use actix_web::web::{Data, Path};

use super::{Answer, data};
use crate::http::context::Context;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{JsonForm, QueryForm};
use crate::http::state::Worker;
use crate::products::details::{self, RawDetails, RawPlace};
use crate::products::query::{self, RawSearch};
use crate::products::smart_match::{self, RawSmartMatch};
use crate::products::smart_query::{self, RawSmartSearch};

/// Search, with a query string.
pub async fn search(worker: Data<Worker>, context: Context, form: QueryForm<RawSearch>) -> Answer {
    search_for(&worker, &context, &form.0).await
}

/// Search, with a body.
pub async fn search_posted(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSearch>,
) -> Answer {
    search_for(&worker, &context, &form.0).await
}

async fn search_for(worker: &Worker, context: &Context, form: &RawSearch) -> Answer {
    let query = query::validate(form, worker.products.defaults())?;
    let served = worker.products.search(&context.0.scope(), query).await?;
    Ok(data(worker, &context.0, &served))
}

/// Search past every tier.
pub async fn search_uncached(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSearch>,
) -> Answer {
    let query = query::validate(&form.0, worker.products.defaults())?;
    let served = worker.products.search_uncached(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, &served))
}

/// Smart search, with a query string.
pub async fn smart_search(
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<RawSmartSearch>,
) -> Answer {
    smart_search_for(&worker, &context, form.0).await
}

/// Smart search, with a body.
pub async fn smart_search_posted(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSmartSearch>,
) -> Answer {
    smart_search_for(&worker, &context, form.0).await
}

async fn smart_search_for(worker: &Worker, context: &Context, form: RawSmartSearch) -> Answer {
    let query = smart_query::validate(form, worker.products.defaults())?;
    let served = worker.products.smart_search(&context.0.scope(), query).await?;
    Ok(data(worker, &context.0, &served))
}

/// Hot products, with a query string.
pub async fn hot(worker: Data<Worker>, context: Context, form: QueryForm<RawSearch>) -> Answer {
    hot_for(&worker, &context, &form.0).await
}

/// Hot products, with a body.
pub async fn hot_posted(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawSearch>,
) -> Answer {
    hot_for(&worker, &context, &form.0).await
}

async fn hot_for(worker: &Worker, context: &Context, form: &RawSearch) -> Answer {
    let query = query::validate(form, worker.products.defaults())?;
    let served = worker.products.hot(&context.0.scope(), query).await?;
    Ok(data(worker, &context.0, &served))
}

/// Details of one product.
pub async fn product(
    worker: Data<Worker>,
    context: Context,
    id: Path<String>,
    form: QueryForm<RawPlace>,
) -> Answer {
    let query = details::validate_one(&id, &form.0, worker.products.defaults())?;
    match worker.products.product(&context.0.scope(), query).await? {
        Some(served) => Ok(data(&worker, &context.0, &served)),
        None => Err(ApiError::with_message(ErrorCode::NotFound, "There is no such product.")),
    }
}

/// Details of several products.
pub async fn products(
    worker: Data<Worker>,
    context: Context,
    form: JsonForm<RawDetails>,
) -> Answer {
    let query = details::validate(&form.0, worker.products.defaults())?;
    let served = worker.products.products(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, &served))
}

/// Products like one.
pub async fn smart_match(
    worker: Data<Worker>,
    context: Context,
    form: QueryForm<RawSmartMatch>,
) -> Answer {
    let query = smart_match::validate(form.0, worker.products.defaults())?;
    let served = worker.products.smart_match(&context.0.scope(), query).await?;
    Ok(data(&worker, &context.0, &served))
}
