//! MetricsActor under the contract. It has no I/O that could panic: what it is told goes into a
//! table in memory, so there is nothing beyond the clauses.

use std::time::Duration;

use breakwater::clock;
use breakwater::metrics::{
    ACTOR_NAME, Metrics, MetricsActor, Observed, RecentRequests, RequestSeen, Which,
};
use breakwater::supervision::{AskError, Handle, Spec, Supervisor, Undelivered};

use super::contract;
use super::subject::{SOON, Subject};

struct Monitor(MetricsActor);

fn seen(route: &'static str) -> Observed {
    Observed(vec![RequestSeen {
        request_id: "a-request".into(),
        method: "GET",
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
        Self(MetricsActor::new(Metrics::new()))
    }

    fn start(&self, supervisor: &Supervisor, spec: Spec) -> Handle<MetricsActor> {
        let actor = self.0.clone();
        supervisor.start_on_own_thread(spec, move || actor.clone()).unwrap()
    }

    async fn ask(handle: &Handle<MetricsActor>) -> Result<(), AskError> {
        handle.ask(RecentRequests { which: Which::All, limit: 1 }, SOON).await.map(drop)
    }

    fn tell(handle: &Handle<MetricsActor>) -> Result<(), Undelivered> {
        handle.tell(seen("/told"))
    }

    async fn leave_a_mark(&self, handle: &Handle<MetricsActor>) {
        handle.ask_queued(seen("/mark"), SOON).await.unwrap();
    }

    async fn finds_the_mark(&self, handle: &Handle<MetricsActor>) -> bool {
        let recent =
            handle.ask(RecentRequests { which: Which::All, limit: 100 }, SOON).await.unwrap();
        recent.iter().any(|request| request.route == "/mark")
    }

    /// Whoever tells it drops the batch and counts: a tell comes back at once, nothing waits.
    async fn go_around(&self, handle: Handle<MetricsActor>) {
        let dropped = self.0.metrics.actors.events_dropped.at([ACTOR_NAME]);
        let before = dropped.get();
        if handle.tell(seen("/dropped")) == Err(Undelivered::Down) {
            dropped.inc();
            assert_eq!(dropped.get(), before + 1);
        }
    }
}

contract!(Monitor);
