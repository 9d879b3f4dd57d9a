//! `RateLimiterActor`: admits or refuses requests, one actor on each HTTP worker.
//!
//! Owns nothing that matters: accounts live in the shared [`Table`]. Accepts [`Admit`]. Sends
//! nothing. Overloaded: a decision takes well under a microsecond, so the queue is that of the
//! worker's own thread; the handle bounds it. Dead or hung: callers go around it with
//! [`super::bypass()`], on the same table and so within the same limits.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult};

use super::admission::Admission;
use super::policy::Class;
use super::principal::Principal;
use super::table::Table;
use crate::clock;

/// What an incarnation is built from.
#[derive(Debug, Clone)]
pub struct RateLimiterParts {
    /// The accounts, shared by all workers.
    pub table: Arc<Table>,
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
    type Result = MessageResult<Admit>;

    fn handle(&mut self, request: Admit, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.parts.table.decide(request, clock::monotonic()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::policy::Policies;
    use super::super::policy::tests::default_limits;
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
        RateLimiterParts { table: Arc::new(table) }
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
