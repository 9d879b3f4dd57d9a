//! `RateLimiterActor`: admits or refuses requests, one actor on each HTTP worker.
//!
//! Owns nothing that matters: accounts live in the shared [`Table`]. Accepts [`Admit`]. Where limits
//! are kept with other instances it asks their [`Counter`] and answers later; while that is away it
//! answers at once, by this instance's share. Overloaded: a decision takes well under a microsecond, so the queue is that of the
//! worker's own thread; the handle bounds it. Dead or hung: callers go around it with
//! [`super::bypass()`], on the same table and so within the same limits.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, Response};

use super::admission::Admission;
use super::policy::Class;
use super::principal::Principal;
use super::shared::{Counter, Question};
use super::table::{Consultation, Table};
use crate::clock;

/// What an incarnation is built from.
#[derive(Debug, Clone)]
pub struct RateLimiterParts {
    /// The accounts, shared by all workers.
    pub table: Arc<Table>,
    /// The way to the counts that all instances share; `None` when limits are this instance's own.
    pub counter: Option<Arc<dyn Counter>>,
}

/// The limiter of one worker.
#[derive(Debug)]
pub struct RateLimiterActor {
    parts: RateLimiterParts,
}

impl RateLimiterActor {
    /// A new incarnation over the shared table.
    #[must_use]
    pub fn new(parts: RateLimiterParts) -> Self {
        Self { parts }
    }
}

impl Actor for RateLimiterActor {
    type Context = Context<Self>;
}

/// May this request go on?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "Admission")]
pub struct Admit {
    /// What it asks for.
    pub class: Class,
    /// Who asks.
    pub principal: Principal,
    /// How many requests it weighs; at most a whole limit is charged.
    pub cost: u32,
    /// Requests a minute that the key was given for itself, in place of what keys have.
    pub own: Option<NonZeroU32>,
}

impl Admit {
    /// A request that weighs one.
    #[must_use]
    pub const fn one(class: Class, principal: Principal) -> Self {
        Self { class, principal, cost: 1, own: None }
    }
}

impl Handler<Admit> for RateLimiterActor {
    type Result = Response<Admission>;

    fn handle(&mut self, request: Admit, _ctx: &mut Self::Context) -> Self::Result {
        let (table, now) = (&self.parts.table, clock::monotonic());
        let Some(counter) = &self.parts.counter else {
            return Response::reply(table.decide(request, now));
        };
        if counter.is_away() {
            return Response::reply(table.alone(request, now));
        }
        match table.consult(request, now) {
            Consultation::Decided(admission) => Response::reply(admission),
            Consultation::Ask(question) => {
                Response::fut(ask(Arc::clone(table), Arc::clone(counter), question))
            }
        }
    }
}

async fn ask(table: Arc<Table>, counter: Arc<dyn Counter>, question: Question) -> Admission {
    let answer = counter.ask(&question).await;
    table.settle(question, answer.as_ref(), counter.losses(), clock::monotonic())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::admission::Standing;
    use super::super::policy::Policies;
    use super::super::policy::tests::default_limits;
    use super::super::shared::Answer;
    use super::super::table::TableSettings;
    use super::*;
    use crate::supervision::{Chaos, Handle, RestartPolicy, Silent, Spec, Supervisor};

    const SOON: Duration = Duration::from_secs(5);

    fn start(supervisor: &Supervisor, parts: RateLimiterParts) -> Handle<RateLimiterActor> {
        let policy = RestartPolicy::default();
        let spec = Spec { name: "rate-limiter", instance: 0, capacity: 100, policy };
        supervisor.start_here(spec, move || RateLimiterActor::new(parts.clone()))
    }

    fn supervisor() -> Supervisor {
        Supervisor::new(Arc::new(Silent)).unwrap()
    }

    async fn admit(actor: &Handle<RateLimiterActor>) -> Admission {
        actor.ask(request(), SOON).await.unwrap()
    }

    fn parts() -> RateLimiterParts {
        let policies = Policies::new(&default_limits());
        let table = Table::new(TableSettings::default(), policies, clock::monotonic());
        RateLimiterParts { table: Arc::new(table), counter: None }
    }

    fn request() -> Admit {
        Admit::one(Class::General, Principal::of_address([203, 0, 113, 7].into(), 64))
    }

    #[actix::test]
    async fn limits_survive_a_restart() {
        let supervisor = supervisor();
        let actor = start(&supervisor, parts());
        tokio::time::pause();
        for _ in 0..10 {
            assert!(admit(&actor).await.is_admitted());
        }
        assert_eq!(supervisor.strike("rate-limiter", Chaos::Stop), 1);
        let refused = admit(&actor).await;
        assert_eq!(refused.retry_after(), Some(Duration::from_millis(200)));
    }

    #[actix::test]
    async fn time_is_read_when_the_message_is_handled() {
        let supervisor = supervisor();
        let actor = start(&supervisor, parts());
        tokio::time::pause();
        for _ in 0..10 {
            admit(&actor).await;
        }
        tokio::time::advance(Duration::from_millis(199)).await;
        assert!(!admit(&actor).await.is_admitted());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(admit(&actor).await.is_admitted());
    }

    /// What all instances count, if it answers.
    #[derive(Debug, Default)]
    struct Told {
        away: AtomicBool,
        silent: AtomicBool,
        asked: AtomicU64,
    }

    impl Counter for Told {
        fn is_away(&self) -> bool {
            self.away.load(Ordering::Relaxed)
        }

        fn ask<'a>(
            &'a self,
            _: &'a Question,
        ) -> Pin<Box<dyn Future<Output = Option<Answer>> + 'a>> {
            Box::pin(async {
                self.asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                let silent = self.silent.load(Ordering::Relaxed);
                // Admitted, with 41 of the minute and 7 of the bucket left.
                let numbers = [1, 0, 0, 41, 60_000_000, 7, 600_000, 0, 1, 1];
                Answer::read(&numbers).filter(|_| !silent)
            })
        }

        fn losses(&self) -> u64 {
            0
        }
    }

    fn sharing() -> (Arc<Told>, RateLimiterParts) {
        let two = NonZeroU32::new(2).unwrap();
        let policies = Policies::new(&default_limits());
        let table = Table::new(TableSettings::default(), policies, clock::monotonic());
        let told = Arc::new(Told::default());
        let counter: Arc<dyn Counter> = told.clone();
        (
            told,
            RateLimiterParts { table: Arc::new(table.shared_among(two)), counter: Some(counter) },
        )
    }

    #[actix::test]
    async fn what_all_instances_count_is_asked_and_told() {
        let (supervisor, (_, parts)) = (supervisor(), sharing());
        let actor = start(&supervisor, parts);
        tokio::time::pause();
        let admission = admit(&actor).await;
        let left = |standing: Option<Standing>| standing.map(|one| (one.limit, one.remaining));
        assert!(admission.is_admitted() && !admission.alone);
        assert_eq!(left(admission.minute), Some((60, 41)));
        assert_eq!(left(admission.burst), Some((10, 7)));
    }

    #[actix::test]
    async fn without_an_answer_the_share_decides() {
        let (supervisor, (told, parts)) = (supervisor(), sharing());
        let actor = start(&supervisor, parts);
        tokio::time::pause();
        for silent in [true, false] {
            told.silent.store(silent, Ordering::Relaxed);
            told.away.store(!silent, Ordering::Relaxed);
            let admission = admit(&actor).await;
            assert!(admission.is_admitted() && admission.alone);
            assert_eq!(admission.minute.map(|one| one.limit), Some(30), "half of sixty");
            assert_eq!(admission.burst.map(|one| one.limit), Some(5), "half of ten");
        }
        assert_eq!(told.asked.load(Ordering::Relaxed), 1, "who is away is not asked");
        let more = [(); 9].map(async |()| admit(&actor).await.is_admitted());
        let more = futures_util::future::join_all(more).await;
        assert_eq!(more.iter().filter(|admitted| **admitted).count(), 3, "of five");
    }

    #[actix::test]
    async fn two_workers_share_one_table() {
        let parts = parts();
        let supervisor = supervisor();
        let [first, second] = [parts.clone(), parts].map(|parts| start(&supervisor, parts));
        tokio::time::pause();
        for _ in 0..5 {
            assert!(admit(&first).await.is_admitted());
            assert!(admit(&second).await.is_admitted());
        }
        assert!(!admit(&first).await.is_admitted());
        assert!(!admit(&second).await.is_admitted());
    }
}
