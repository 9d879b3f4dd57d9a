//! MetricsActor under the contract. It has no I/O that could panic: what it is told goes into a
//! table in memory, so there is nothing beyond the clauses.

use std::time::Duration;

use breakwater::clock;
use breakwater::metrics::{
    ACTOR_NAME, Method, Metrics, MetricsActor, Observed, Parts, RecentRequests, RequestSeen,
    SLOW_THRESHOLD,
};
use breakwater::supervision::{AskError, Handle, Spec, Supervisor, Undelivered};

use super::contract;
use super::subject::{SOON, Subject};

struct Monitor(Parts);

fn seen(route: &'static str) -> Observed {
    Observed(vec![RequestSeen {
        request_id: "a-request".into(),
        method: Method::Get,
        route,
        status: 200,
        duration: Duration::from_millis(1),
        tier: "memory",
        prompt: true,
        finished: clock::monotonic(),
    }])
}

impl Subject for Monitor {
    type Actor = MetricsActor;
    const NAME: &'static str = ACTOR_NAME;
    const OWN_THREAD: bool = true;

    fn new(_: &Supervisor) -> Self {
        Self(Parts::new(Metrics::new(), SLOW_THRESHOLD))
    }

    fn start(&self, supervisor: &Supervisor, spec: Spec) -> Handle<MetricsActor> {
        let parts = self.0.clone();
        supervisor.start_on_own_thread(spec, move || MetricsActor::new(parts.clone())).unwrap()
    }

    async fn ask(handle: &Handle<MetricsActor>) -> Result<(), AskError> {
        handle.ask(RecentRequests { limit: 1 }, SOON).await.map(drop)
    }

    fn tell(handle: &Handle<MetricsActor>) -> Result<(), Undelivered> {
        handle.tell(seen("/told"))
    }

    async fn leave_a_mark(&self, handle: &Handle<MetricsActor>) {
        handle.ask(seen("/mark"), SOON).await.unwrap();
    }

    async fn finds_the_mark(&self, handle: &Handle<MetricsActor>) -> bool {
        let recent = handle.ask(RecentRequests { limit: 100 }, SOON).await.unwrap();
        recent.iter().any(|request| request.route == "/mark")
    }

    /// Whoever tells it drops the batch and counts: a tell comes back at once, nothing waits.
    async fn go_around(&self, handle: Handle<MetricsActor>) {
        let of_actor = self.0.metrics.actors().of(ACTOR_NAME);
        let before = of_actor.dropped_so_far();
        if handle.tell(seen("/dropped")) == Err(Undelivered::Down) {
            of_actor.events_dropped(1);
            assert_eq!(of_actor.dropped_so_far(), before + 1);
        }
    }
}

contract!(Monitor);
