//! Tests of the file beside it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::metrics::observations::tests::seen;
use crate::supervision::{Chaos, Handle, RestartPolicy, Silent, Spec, Supervisor};

/// Stops the actor from within.
fn started() -> (Actor, Metrics) {
    let metrics = Metrics::new();
    let actor = MetricsActor::new(metrics.clone());
    let supervisor = Supervisor::new(Arc::new(Silent)).unwrap();
    let spec = Spec { name: NAME, instance: 0, capacity: 100, policy: RestartPolicy::default() };
    let handle = supervisor.start_here(spec, move || actor.clone());
    (Actor { handle, supervisor }, metrics)
}

/// The actor under its guard.
struct Actor {
    handle: Handle<MetricsActor>,
    supervisor: Supervisor,
}

impl Actor {
    async fn ask<M>(&self, message: M) -> M::Result
    where
        MetricsActor: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.handle.ask_queued(message, Duration::from_secs(5)).await.unwrap()
    }
}

fn slow_failure() -> RequestSeen {
    RequestSeen {
        status: 503,
        duration: Duration::from_secs(2),
        ..seen("slow", clock::monotonic())
    }
}

#[actix::test]
async fn a_report_holds_exact_counts_and_windows() {
    let (actor, metrics) = started();
    let route = metrics.http.route("/a");
    route.finished("GET", 200, Duration::from_millis(1));
    route.finished("GET", 503, Duration::from_secs(2));
    metrics.http.route("/b").finished("POST", 400, Duration::from_millis(1));
    metrics.cache.hit("search", "memory");
    metrics.actors.events_dropped.at([NAME]).inc_by(3);
    let batch = vec![seen("quick", clock::monotonic()), slow_failure()];
    actor.ask(Observed(batch)).await;

    let report = actor.ask(Report).await;
    assert_eq!((report.totals.counts.requests, report.totals.counts.client_errors), (3, 1));
    assert_eq!((report.totals.counts.server_errors, report.events_dropped), (1, 3));
    assert_eq!(report.cache.hits, 1);
    let spans: Vec<_> =
        report.windows.iter().map(|w| (w.window_seconds, w.counts.requests)).collect();
    assert_eq!(spans, [(60, 2), (300, 2)]);
    assert!((report.windows[0].error_rate_percent - 50.0).abs() < 1e-9);
    let [a, b] = report.endpoints.as_slice() else { panic!("two endpoints: {report:?}") };
    assert_eq!((a.route, a.counts.requests, a.counts.server_errors), ("/a", 2, 1));
    assert_eq!(a.window.as_ref().map(|window| window.counts.requests), Some(2));
    assert_eq!((b.route, b.counts.client_errors, &b.window), ("/b", 1, &None));
}

#[actix::test]
async fn the_lists_hold_recent_and_slow_requests_until_a_reset() {
    let (actor, _) = started();
    let batch = vec![seen("quick", clock::monotonic()), slow_failure()];
    actor.ask(Observed(batch)).await;
    let recent = actor.ask(RecentRequests { which: Which::All, limit: 10 }).await;
    let ids: Vec<_> = recent.iter().map(|request| &*request.request_id).collect();
    assert_eq!(ids, ["slow", "quick"]);
    let slow = actor.ask(RecentRequests { which: Which::Slow, limit: 10 }).await;
    assert_eq!(slow.len(), 1);

    actor.ask(Reset).await;
    assert!(actor.ask(RecentRequests { which: Which::All, limit: 10 }).await.is_empty());
    assert!(actor.ask(RecentRequests { which: Which::Slow, limit: 10 }).await.is_empty());
    assert_eq!(actor.ask(Report).await.windows[1].counts.requests, 0);
}

#[actix::test]
async fn a_restarted_actor_remembers_everything() {
    let (actor, _) = started();
    actor.ask(Observed(vec![seen("before", clock::monotonic())])).await;
    assert_eq!(actor.supervisor.strike(NAME, Chaos::Stop), 1);
    actor.ask(Observed(vec![seen("after", clock::monotonic())])).await;
    assert_eq!(actor.ask(RecentRequests { which: Which::All, limit: 10 }).await.len(), 2);
    assert_eq!(actor.ask(Report).await.windows[0].counts.requests, 2);
}

#[actix::test]
async fn a_report_serialises_with_the_fields_it_promises() {
    let (actor, metrics) = started();
    metrics.http.route("/a").finished("GET", 200, Duration::from_millis(1));
    actor.ask(Observed(vec![seen("x", clock::monotonic())])).await;
    let json = serde_json::to_value(actor.ask(Report).await).unwrap();
    for pointer in [
        "/generated_ms",
        "/totals/requests",
        "/windows/0/latency_ms/p99",
        "/windows/0/requests_per_second",
        "/endpoints/0/window/latency_ms/p50",
        "/cache/by_tier",
        "/events_dropped",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} in {json}");
    }
    assert_eq!(json.pointer("/endpoints/0/method").unwrap(), "GET");
}

#[test]
fn the_schemas_say_what_the_json_is() {
    use utoipa::PartialSchema;
    // The counts that several of them share are a schema of their own beside their properties.
    let kind = |schema, name: &str| {
        let schema = serde_json::to_value::<utoipa::openapi::RefOr<_>>(schema).unwrap();
        let parts = schema["allOf"].as_array().cloned().unwrap_or_else(|| vec![schema.clone()]);
        parts.iter().find_map(|part| part["properties"][name]["type"].as_str().map(str::to_owned))
    };
    assert_eq!(kind(crate::metrics::EndpointReport::schema(), "route").unwrap(), "string");
    assert_eq!(kind(crate::metrics::TierTotals::schema(), "tier").unwrap(), "string");
    assert_eq!(kind(crate::metrics::RequestCounts::schema(), "requests").unwrap(), "integer");
}
