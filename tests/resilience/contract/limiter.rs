//! RateLimiterActor under the contract. It has no I/O that could panic: every handler is one
//! decision over the shared accounts, so there is nothing beyond the clauses.

use std::num::NonZeroU32;
use std::sync::Arc;

use breakwater::clock;
use breakwater::limits::{
    Admit, Class, KeyId, Limits, Policies, Principal, RateLimiterActor, Table,
};
use breakwater::supervision::{AskError, Handle, Spec, Supervisor, Undelivered};

use super::contract;
use super::subject::{SOON, Subject};

struct Limiter(Arc<Table>);

/// A client of whom nothing is counted before.
fn stranger() -> Admit {
    Admit::new(Class::General, Principal::of_address([203, 0, 113, 7].into(), 64))
}

/// A client that may send one request a minute.
fn greedy() -> Admit {
    let key = Principal::Key(KeyId::INTERNAL);
    Admit { own: Some(NonZeroU32::MIN), ..Admit::new(Class::Search, key) }
}

impl Subject for Limiter {
    type Actor = RateLimiterActor;
    const NAME: &'static str = "rate-limiter";
    const OWN_THREAD: bool = false;

    fn new(_: &Supervisor) -> Self {
        let policies = Policies::new(&Limits::default());
        Self(Arc::new(Table::new(1_000, policies, clock::monotonic())))
    }

    fn start(&self, supervisor: &Supervisor, spec: Spec) -> Handle<RateLimiterActor> {
        let limiter = RateLimiterActor { table: Arc::clone(&self.0), counter: None };
        supervisor.start_here(spec, move || limiter.clone())
    }

    async fn ask(handle: &Handle<RateLimiterActor>) -> Result<(), AskError> {
        handle.ask(stranger(), SOON).await.map(drop)
    }

    fn tell(handle: &Handle<RateLimiterActor>) -> Result<(), Undelivered> {
        handle.tell(stranger())
    }

    async fn leave_a_mark(&self, handle: &Handle<RateLimiterActor>) {
        assert!(handle.ask(greedy(), SOON).await.unwrap().unwrap().verdict.is_admitted());
    }

    async fn finds_the_mark(&self, handle: &Handle<RateLimiterActor>) -> bool {
        !handle.ask(greedy(), SOON).await.unwrap().unwrap().verdict.is_admitted()
    }

    async fn go_around(&self, _: Handle<RateLimiterActor>) {
        let admits = |request| self.0.decide(request, clock::monotonic()).verdict.is_admitted();
        assert!(!admits(greedy()), "no limit is lifted");
        assert!(admits(stranger()), "nobody else is refused");
    }
}

contract!(Limiter);
