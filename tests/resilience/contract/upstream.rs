//! ApiClientActor under the contract, and a protocol whose reading of an answer panics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use breakwater::clock;
use breakwater::config::Current;
use breakwater::failure::FailureKind;
use breakwater::origin::actor::{ApiClientActor, NAME};
use breakwater::origin::credentials::Roster;
use breakwater::origin::state::OriginState;
use breakwater::origin::{self, Answer, Call, Origin, OriginClient, Outcome, Priority};
use breakwater::services::products::aliexpress::{AliExpress, Found, Request};
use breakwater::supervision::{AskError, Handle, Spec, Supervisor, Undelivered};
use serde_json::Value;

use super::contract;
use super::fixture::until;
use super::subject::{SOON, Subject};
use crate::upstream_rig;

/// Longer than any call may wait.
const BAN: Duration = Duration::from_secs(600);

struct ApiClient(Arc<OriginState>);

/// Nothing of this is ever sent.
struct Mute;

impl Origin for Mute {
    type Question = Request;
    type Payload = Value;

    fn operation(question: &Request) -> &'static str {
        question.method.name
    }

    fn request(&self, _: &Request, _: clock::Timestamp) -> origin::Request {
        let (url, body) = ("http://127.0.0.1:9/".into(), bytes::Bytes::new());
        origin::Request { method: Method::GET, url, headers: Vec::new(), body }
    }

    fn interpret(&self, _: &Request, _: &Answer) -> Outcome<Value> {
        Outcome::Empty
    }
}

/// A call that is refused for want of time before anything is sent.
fn too_late() -> Call<Mute> {
    call("test.too.late", Duration::ZERO)
}

fn call(method: &'static str, within: Duration) -> Call<Mute> {
    let question = Request { method: upstream_rig::named(method), params: BTreeMap::new() };
    let deadline = clock::monotonic() + within;
    let request_id = "a-request".into();
    Call { retry: false, request_id, ..Call::new(question, Priority::Client, deadline) }
}

impl ApiClient {
    fn roster(&self) -> Arc<Current<Roster<Mute>>> {
        let (credentials, origins) = (self.0.credentials.get(), Arc::new([Mute]));
        Arc::new(Current::new(Roster { credentials, origins }))
    }
}

impl Subject for ApiClient {
    type Actor = ApiClientActor<Mute>;
    const NAME: &'static str = NAME;
    const OWN_THREAD: bool = true;

    fn new(supervisor: &Supervisor) -> Self {
        let observer = supervisor.observer();
        Self(Arc::new(upstream_rig::state(1, observer)))
    }

    fn start(&self, supervisor: &Supervisor, spec: Spec) -> Handle<ApiClientActor<Mute>> {
        let (tables, roster) = (Arc::clone(&self.0), self.roster());
        supervisor
            .start_on_own_thread(spec, move || {
                ApiClientActor::new(Arc::clone(&tables), Arc::clone(&roster))
            })
            .unwrap()
    }

    async fn ask(handle: &Handle<ApiClientActor<Mute>>) -> Result<(), AskError> {
        let answer = handle.ask_queued(too_late(), SOON).await?;
        assert!(answer.is_err(), "{answer:?}");
        Ok(())
    }

    fn tell(handle: &Handle<ApiClientActor<Mute>>) -> Result<(), Undelivered> {
        handle.tell(too_late())
    }

    /// The mark is a ban by the upstream, which every later call must know of.
    async fn leave_a_mark(&self, _: &Handle<ApiClientActor<Mute>>) {
        self.0.credentials.get().iter().next().unwrap().pacing.ban(clock::monotonic(), BAN);
    }

    async fn finds_the_mark(&self, handle: &Handle<ApiClientActor<Mute>>) -> bool {
        let answer =
            handle.ask_queued(call("test.banned", Duration::from_secs(1)), SOON).await.unwrap();
        answer.is_err_and(|failure| failure.reason.contains("asked for no calls"))
    }

    async fn go_around(&self, handle: Handle<ApiClientActor<Mute>>) {
        let before = clock::monotonic();
        let answer = OriginClient::new(handle.clone(), Arc::clone(&self.0), self.roster())
            .call(call("test.down", SOON))
            .await;
        let took = clock::monotonic() - before;
        let failure = answer.expect_err("nothing answers");
        assert_eq!(failure.kind, FailureKind::UpstreamUnavailable, "{failure}");
        assert!(failure.retry_after.is_some(), "callers are told when to come back");
        assert!(took < Duration::from_millis(500), "told only after {took:?}");
    }
}

contract!(ApiClient);

/// AliExpress's own, but one method's answers are poison.
struct Poisonous(AliExpress);

impl Origin for Poisonous {
    type Question = Request;
    type Payload = Found;

    fn operation(question: &Request) -> &'static str {
        question.method.name
    }

    fn request(&self, question: &Request, now: clock::Timestamp) -> origin::Request {
        self.0.request(question, now)
    }

    fn interpret(&self, question: &Request, answer: &Answer) -> Outcome<Found> {
        assert!(question.method.name != upstream_rig::HOT, "provoked: reading the answer panics");
        self.0.interpret(question, answer)
    }
}

#[actix::test]
async fn a_panic_while_reading_an_answer_reaches_only_its_caller() {
    crate::quiet::panics_on_request();
    let poisonous = |address| vec![Poisonous(upstream_rig::aliexpress(address))];
    let rig = upstream_rig::Rig::start_of(poisonous, |_| {});
    let poisoned: Vec<_> = (0..10).map(|_| rig.call(upstream_rig::HOT)).collect();
    let sound: Vec<_> = (0..10).map(|_| rig.call(upstream_rig::SEARCH)).collect();
    let (poisoned, sound) = futures_util::future::join(
        futures_util::future::join_all(poisoned),
        futures_util::future::join_all(sound),
    )
    .await;
    for answer in poisoned {
        assert_eq!(answer.unwrap_err().kind, FailureKind::Internal);
    }
    assert!(sound.iter().all(|answer| matches!(answer, Ok(Some(_)))), "{sound:?}");
    assert_eq!(rig.restarts(), 0, "the actor knows nothing of it");
    let now = clock::monotonic();
    let permits = rig.account().breaker.snapshot(now);
    assert_eq!(permits.under_way, 0, "no permit is lost");
    assert_eq!(rig.account().pacing.status(now, clock::now()).queue, 0, "no booking is lost");
    rig.stop().await;
}

#[actix::test]
async fn calls_under_way_survive_a_panic_of_the_actor() {
    crate::quiet::panics_on_request();
    let rig = upstream_rig::Rig::start_with(|_| {});
    rig.faults(&serde_json::json!([{"method": "*", "fault": "delay", "ms": 300}])).await;
    let slow = rig.call(upstream_rig::SEARCH);
    let struck = async {
        // The call is under way once its permit is out.
        until("the call starts", || rig.account().breaker.snapshot(clock::monotonic()).issued > 0)
            .await;
        rig.strike(breakwater::supervision::Chaos::Panic);
    };
    let (answer, ()) = futures_util::future::join(slow, struck).await;
    assert!(matches!(answer, Ok(Some(_))), "{answer:?}");
    until("it restarted", || rig.restarts() == 1).await;
    rig.stop().await;
}
