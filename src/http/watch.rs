//! Watching for abuse, and turning away who is throttled for it.
//!
//! Owns: when a client is judged: before anything is read of his request, and when it is known what
//! he asks for; what is logged and counted of it. Refuses: throttled clients (429), everywhere but at
//! addresses that are never limited or that an operator needs. Nothing is sent to anybody: what is
//! known lies in a table of the process.

use slog::warn;

use super::context::RequestContext;
use super::error::{ApiError, ErrorCode};
use super::state::Worker;
use crate::clock;
use crate::limits::Principal;
use crate::limits::abuse::{Flagged, Gate, Page, Seen};
use crate::products::details::DetailsQuery;
use crate::products::mark::Mark;

const REFUSED: &str = "on";
const SHADOWED: &str = "shadow";

/// Lets a client in, or not while he is throttled; who is `exempt` always, and unwatched.
pub(super) fn gate(
    worker: &Worker,
    context: &RequestContext,
    principal: Principal,
    exempt: bool,
) -> Result<(), ApiError> {
    let metrics = worker.shared.metrics.limits();
    match worker.shared.abuse.gate(principal, exempt, clock::monotonic()) {
        Gate::Unwatched => {}
        Gate::Watched(watched) => context.watched.set(Some(watched)),
        Gate::Shadowed => metrics.abuse_refused(SHADOWED),
        Gate::Throttled(wait) => {
            metrics.abuse_refused(REFUSED);
            return Err(ApiError::new(ErrorCode::AbuseThrottled).retry_after(wait));
        }
    }
    Ok(())
}

/// A request asks for this.
pub(super) fn query(worker: &Worker, context: &RequestContext, mark: Mark) -> Result<(), ApiError> {
    let page = mark.pages.map(|of| Page { of, number: mark.page_no });
    observe(worker, context, &Seen { query: mark.query, page, products: &[] })
}

/// A request asks for these products.
pub(super) fn products(
    worker: &Worker,
    context: &RequestContext,
    query: &DetailsQuery,
) -> Result<(), ApiError> {
    // Not hashed for nothing.
    if context.watched.get().is_none() {
        return Ok(());
    }
    let mark = Mark::of_details(query);
    let seen = Seen { query: mark.query, page: None, products: &query.product_ids };
    observe(worker, context, &seen)
}

fn observe(worker: &Worker, context: &RequestContext, seen: &Seen<'_>) -> Result<(), ApiError> {
    let Some(watched) = context.watched.get() else { return Ok(()) };
    let Some(flagged) = worker.shared.abuse.observe(watched, seen, clock::monotonic()) else {
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
