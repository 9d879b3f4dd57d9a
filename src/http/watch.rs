//! Watching for abuse, and turning away who is throttled for it.
//!
//! Owns: when a client is judged: before anything is read of his request, and when it is known what
//! he asks for; what is logged and counted of it. Refuses: throttled clients (429), everywhere but at
//! addresses that are never limited or that an operator needs. Nothing is sent to anybody: what is
//! known lies in a table of the process. The time is that at which the request began: seconds are
//! exact enough here.

use slog::warn;

use super::context::RequestContext;
use super::error::{ApiError, ErrorCode};
use super::state::Worker;
use crate::limits::Principal;
use crate::limits::abuse::{Asking, Flagged, Gate, Seen};

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
    let metrics = &shared.metrics.limits;
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
            metrics.abuse_refused.at([SHADOWED]).inc();
            None
        }
        Gate::Throttled(wait) => Some(wait),
    };
    let Some(wait) = wait else { return Ok(()) };
    metrics.abuse_refused.at([REFUSED]).inc();
    Err(ApiError::new(ErrorCode::AbuseThrottled).retry_after(wait))
}

/// Looks at what a request asks for; `what` is called only where its client is watched.
pub(super) fn observe<'a>(
    worker: &Worker,
    context: &RequestContext,
    what: impl FnOnce() -> Seen<'a>,
) -> Result<(), ApiError> {
    let Some(watched) = context.watched.get() else { return Ok(()) };
    let Some(flagged) = worker.shared.abuse.observe(watched, &what(), context.started) else {
        return Ok(());
    };
    let metrics = &worker.shared.metrics.limits;
    metrics.abuse_refused.at([if flagged.refused { REFUSED } else { SHADOWED }]).inc();
    if flagged.fresh {
        metrics.abuse_detected.at([flagged.pattern.as_str()]).inc();
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
