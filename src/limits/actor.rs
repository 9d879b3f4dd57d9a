//! `RateLimiterActor`: admits or refuses requests, one actor on each HTTP worker.
//!
//! Owns nothing that matters: accounts live in the shared [`Table`]. Where limits are kept with other
//! instances it answers with the [`SharedAdmit`] for their [`Counter`], which it asks when it gets that
//! back; while the counter is away it answers at once, by this instance's share. Dead or hung: callers decide on the same table ([`Table::decide`]), so no
//! limit is lifted or reset.

use std::sync::Arc;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};

use super::admission::{Admission, Admit};
use super::shared::{Counter, SharedAdmit};
use super::table::Table;
use crate::clock;

/// The limiter of one worker. Every incarnation is a clone of the first.
#[derive(Debug, Clone)]
pub struct RateLimiterActor {
    pub table: Arc<Table>,
    /// The way to the counts that all instances share; `None` when limits are this instance's own.
    pub counter: Option<Arc<dyn Counter>>,
}

impl Actor for RateLimiterActor {
    type Context = Context<Self>;
}

impl Handler<Admit> for RateLimiterActor {
    type Result = MessageResult<Admit>;

    fn handle(&mut self, request: Admit, _: &mut Self::Context) -> Self::Result {
        let (table, now) = (&self.table, clock::monotonic());
        MessageResult(match &self.counter {
            Some(counter) if !counter.is_away() => table.consult(request, now),
            Some(_) | None => Ok(table.decide(request, now)),
        })
    }
}

impl Handler<SharedAdmit> for RateLimiterActor {
    type Result = ResponseFuture<Admission>;

    fn handle(&mut self, question: SharedAdmit, _: &mut Self::Context) -> Self::Result {
        let (table, counter) = (Arc::clone(&self.table), self.counter.clone());
        Box::pin(async move {
            let told = match &counter {
                Some(counter) => counter.ask(&question).await,
                None => None,
            };
            // A Redis that only refuses to write, or to run a script, has said so.
            let silent = told.is_none() && counter.is_some_and(|counter| counter.is_exact());
            Admission { silent, ..table.settle(question, told, clock::monotonic()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::super::admission::Class;
    use super::super::admission::{LimitResult, QuotaState};
    use super::super::client::Principal;
    use super::super::policy::Policies;
    use super::super::policy::tests::default_limits;
    use super::super::shared::Sharing;
    use super::*;
    use crate::supervision::{Chaos, Handle, RestartPolicy, Silent, Spec, Supervisor};

    const SOON: Duration = Duration::from_secs(5);

    fn start(supervisor: &Supervisor, parts: RateLimiterActor) -> Handle<RateLimiterActor> {
        let policy = RestartPolicy::default();
        let spec = Spec { name: "rate-limiter", instance: 0, capacity: 100, policy };
        supervisor.start_here(spec, move || parts.clone())
    }

    fn supervisor() -> Supervisor {
        Supervisor::new(Arc::new(Silent)).unwrap()
    }

    async fn admit(actor: &Handle<RateLimiterActor>) -> Admission {
        match actor.ask(request(), SOON).await.unwrap() {
            Ok(admission) => admission,
            Err(question) => actor.ask_queued(question, SOON).await.unwrap(),
        }
    }

    fn parts() -> RateLimiterActor {
        let policies = Policies::new(&default_limits());
        let table = Table::new(1_000, policies, clock::monotonic());
        RateLimiterActor { table: Arc::new(table), counter: None }
    }

    fn request() -> Admit {
        Admit::new(Class::General, Principal::of_address([203, 0, 113, 7].into(), 64))
    }

    #[actix::test]
    async fn limits_survive_a_restart() {
        let supervisor = supervisor();
        let actor = start(&supervisor, parts());
        tokio::time::pause();
        for _ in 0..10 {
            assert!(admit(&actor).await.verdict.is_admitted());
        }
        assert_eq!(supervisor.strike("rate-limiter", Chaos::Stop), 1);
        let refused = admit(&actor).await;
        assert_eq!(refused.verdict.retry_after(), Some(Duration::from_millis(200)));
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
        assert!(!admit(&actor).await.verdict.is_admitted());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(admit(&actor).await.verdict.is_admitted());
    }

    /// What all instances count, if it answers.
    #[derive(Debug, Default)]
    struct FakeCounter {
        away: AtomicBool,
        silent: AtomicBool,
        asked: AtomicU64,
    }

    impl Counter for FakeCounter {
        fn is_away(&self) -> bool {
            self.away.load(Ordering::Relaxed)
        }

        fn ask<'a>(
            &'a self,
            question: &'a SharedAdmit,
        ) -> Pin<Box<dyn Future<Output = Option<LimitResult>> + 'a>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
                let silent = self.silent.load(Ordering::Relaxed);
                // Admitted, with 41 of the minute and 7 of the bucket left.
                let numbers = [1, 0, 0, 41, 60_000_000, 7, 600_000];
                question.verdict(&numbers).filter(|_| !silent)
            })
        }
    }

    fn sharing() -> (Arc<FakeCounter>, RateLimiterActor) {
        let two = NonZeroU32::new(2).unwrap();
        let policies = Policies::new(&default_limits());
        let table = Table::new(1_000, policies, clock::monotonic());
        let fake = Arc::new(FakeCounter::default());
        let counter: Arc<dyn Counter> = fake.clone();
        (
            fake,
            RateLimiterActor {
                table: Arc::new(table.shared(Sharing::among(two))),
                counter: Some(counter),
            },
        )
    }

    #[actix::test]
    async fn what_all_instances_count_is_asked_and_told() {
        let (supervisor, (_, parts)) = (supervisor(), sharing());
        let actor = start(&supervisor, parts);
        tokio::time::pause();
        let admission = admit(&actor).await;
        let left = |state: Option<QuotaState>| state.map(|one| (one.limit, one.remaining));
        assert!(admission.verdict.is_admitted() && !admission.alone && !admission.silent);
        assert_eq!(left(admission.verdict.minute), Some((60, 41)));
        assert_eq!(left(admission.verdict.burst), Some((10, 7)));
    }

    #[actix::test]
    async fn without_an_answer_the_share_decides() {
        let (supervisor, (counter, parts)) = (supervisor(), sharing());
        let actor = start(&supervisor, parts);
        tokio::time::pause();
        for silent in [true, false] {
            counter.silent.store(silent, Ordering::Relaxed);
            counter.away.store(!silent, Ordering::Relaxed);
            let admission = admit(&actor).await;
            assert!(admission.verdict.is_admitted() && admission.alone);
            assert_eq!(admission.silent, silent, "who is not asked keeps no silence");
            assert_eq!(admission.verdict.minute.map(|one| one.limit), Some(30), "half of sixty");
            assert_eq!(admission.verdict.burst.map(|one| one.limit), Some(5), "half of ten");
        }
        assert_eq!(counter.asked.load(Ordering::Relaxed), 1, "who is away is not asked");
        let more = [(); 9].map(async |()| admit(&actor).await.verdict.is_admitted());
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
            assert!(admit(&first).await.verdict.is_admitted());
            assert!(admit(&second).await.verdict.is_admitted());
        }
        assert!(!admit(&first).await.verdict.is_admitted());
        assert!(!admit(&second).await.verdict.is_admitted());
    }
}
