//! Watching for abuse, and turning away who is throttled for it.
//!
//! Owns: when a client is judged: before anything is read of his request, and when it is known what
//! he asks for; what is logged and counted of it. Refuses: throttled clients (429), everywhere but at
//! addresses that are never limited or that an operator needs. Nothing is sent to anybody: what is
//! known lies in a table of the process. The time is that at which the request began: seconds are
//! exact enough here.
//!
//! | address | repeated | ids in a row | pages |
//! |---|---|---|---|
//! | searches, also hot and smart | yes | | yes |
//! | details, smart match, affiliate links | yes | of products | |
//! | children of a category | no: a menu is loaded with every page | of categories | |
//! | all categories, orders | no: there is one list; money needs a key | | |

use slog::warn;

use super::context::RequestContext;
use super::error::{ApiError, ErrorCode};
use super::state::Worker;
use crate::limits::Principal;
use crate::limits::abuse::{Asking, Flagged, Gate, Named, Page, Seen};
use crate::services::products::details::DetailsQuery;
use crate::services::products::links::LinkTarget;
use crate::services::products::mark::Mark;
use crate::services::products::smart_match::{SmartMatchQuery, product_id_of};

const REFUSED: &str = "on";
const SHADOWED: &str = "shadow";

/// Lets a client in, or not while he is throttled. Where it is in doubt where he is, neither may he
/// be throttled anywhere he may be.
pub(super) fn gate(
    worker: &Worker,
    context: &RequestContext,
    asking: Asking,
    suspects: impl Iterator<Item = Principal>,
) -> Result<(), ApiError> {
    let (shared, now) = (&worker.shared, context.started);
    let metrics = shared.metrics.limits();
    let wait = match shared.abuse.gate(asking, now) {
        Gate::Unwatched => return Ok(()),
        Gate::Watched(watched) => {
            context.watched.set(Some(watched));
            let wait = suspects.filter_map(|suspect| shared.abuse.wait_of(suspect, now)).max();
            if wait.is_some() {
                shared.abuse.count_refused();
            }
            wait
        }
        Gate::Shadowed => {
            metrics.abuse_refused(SHADOWED);
            None
        }
        Gate::Throttled(wait) => Some(wait),
    };
    let Some(wait) = wait else { return Ok(()) };
    metrics.abuse_refused(REFUSED);
    Err(ApiError::new(ErrorCode::AbuseThrottled).retry_after(wait))
}

/// A request asks for this.
pub(super) fn query(worker: &Worker, context: &RequestContext, mark: Mark) -> Result<(), ApiError> {
    let page = mark.pages.map(|of| Page { of, number: mark.page_no });
    observe(worker, context, &Seen { query: Some(mark.query), page, ..Seen::default() })
}

/// A request asks for these products.
pub(super) fn products(
    worker: &Worker,
    context: &RequestContext,
    query: &DetailsQuery,
) -> Result<(), ApiError> {
    products_of(worker, context, &query.product_ids, || Mark::of_details(query))
}

/// A request asks for products like this one.
pub(super) fn like(
    worker: &Worker,
    context: &RequestContext,
    query: &SmartMatchQuery,
) -> Result<(), ApiError> {
    products_of(worker, context, &[query.product_id], || Mark::of_match(query))
}

/// A request asks for these links; of products, most of them.
pub(super) fn links(
    worker: &Worker,
    context: &RequestContext,
    targets: &[LinkTarget],
) -> Result<(), ApiError> {
    if context.watched.get().is_none() {
        return Ok(());
    }
    let ids: Vec<_> = targets.iter().filter_map(|target| product_id_of(&target.url)).collect();
    products_of(worker, context, &ids, || Mark::of_links(targets))
}

/// A request asks for what is below this category.
pub(super) fn category(worker: &Worker, context: &RequestContext, id: u64) -> Result<(), ApiError> {
    let seen = Seen { ids: &[id], named: Named::Categories, ..Seen::default() };
    observe(worker, context, &seen)
}

fn products_of(
    worker: &Worker,
    context: &RequestContext,
    ids: &[u64],
    mark: impl FnOnce() -> Mark,
) -> Result<(), ApiError> {
    // Not hashed for nothing.
    if context.watched.get().is_none() {
        return Ok(());
    }
    observe(worker, context, &Seen { query: Some(mark().query), ids, ..Seen::default() })
}

fn observe(worker: &Worker, context: &RequestContext, seen: &Seen<'_>) -> Result<(), ApiError> {
    let Some(watched) = context.watched.get() else { return Ok(()) };
    let Some(flagged) = worker.shared.abuse.observe(watched, seen, context.started) else {
        return Ok(());
    };
    let metrics = worker.shared.metrics.limits();
    metrics.abuse_refused(if flagged.refused { REFUSED } else { SHADOWED });
    if flagged.fresh {
        metrics.abuse_detected(flagged.pattern.as_str());
        tell(worker, context, &flagged);
    }
    if !flagged.refused {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::AbuseThrottled).retry_after(flagged.throttled_for))
}

fn tell(worker: &Worker, context: &RequestContext, flagged: &Flagged) {
    warn!(worker.shared.log, "client found abusive"; "principal" => %flagged.principal,
        "pattern" => flagged.pattern.as_str(), "seen" => flagged.seen, "flags" => flagged.flags,
        "throttled_for_s" => flagged.throttled_for.as_secs(), "refused" => flagged.refused,
        "request_id" => &*context.id);
}
