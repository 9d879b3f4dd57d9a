//! ApiClientActor: the one that makes calls, with all accounts, on a thread of its own.
//!
//! There is one, not one per account: an attempt that failed with one account is repeated with
//! another, and that should not cross threads. What belongs to an account is in the tables.
//!
//! Owns: the HTTP client of its thread and the number of calls under way. Accepts: [`Call`]. It
//! refuses at once when too many are under way; everything else happens in the call's own watched
//! task ([`call`]), so a panic there reaches only its caller. When the actor is dead its
//! callers are told and serve what they have.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use serde_json::Value;

use super::call;
use super::tables::UpstreamTables;
use super::transport::Transport;
use super::{Priority, Request};
use crate::clock;
use crate::failure::{Failure, FailureKind};
use crate::supervision::{AskError, Handle, run_watched};

/// The actor's name in status, logs and metrics.
pub const NAME: &str = "api-client";
/// Calls in hand at once, whatever they wait for; a bound on memory. How many are under way to the
/// upstream, and how many wait, is bounded by the tables.
const CALLS_AT_ONCE: usize = 4_096;
/// Calls under way above which no call is begun that nobody waits for.
const BACKGROUND_AT_ONCE: usize = CALLS_AT_ONCE / 2;
/// When to come back if too many are under way.
const BUSY: Duration = Duration::from_secs(1);
/// Time given to the actor's answer beyond the call's own deadline.
const GRACE: Duration = Duration::from_millis(250);

/// The actor.
pub struct ApiClientActor {
    tables: Arc<UpstreamTables>,
    transport: Rc<Transport>,
    under_way: Rc<AtomicUsize>,
}

impl ApiClientActor {
    /// An incarnation over `tables`, with a client of its own thread.
    #[must_use]
    pub fn new(tables: Arc<UpstreamTables>) -> Self {
        let transport = Rc::new(Transport::new(&tables.wire, &tables.log));
        Self { tables, transport, under_way: Rc::default() }
    }
}

impl Actor for ApiClientActor {
    type Context = Context<Self>;
}

/// What the upstream said, as far as callers care.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The result part of its answer.
    Found(Value),
    /// It has nothing.
    Empty,
}

/// Asks the upstream one question.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Reply, Failure>")]
pub struct Call {
    /// The question.
    pub request: Request,
    /// When the answer is of no use any more.
    pub deadline: Instant,
    /// Whether a failed attempt may be repeated.
    pub retry: bool,
    /// For whom it is made; only calls for a client are repeated and wait for their turn.
    pub priority: Priority,
    /// The id of the request that caused it, for the log.
    pub request_id: Arc<str>,
}

impl Handler<Call> for ApiClientActor {
    type Result = ResponseFuture<Result<Reply, Failure>>;

    fn handle(&mut self, message: Call, _: &mut Self::Context) -> Self::Result {
        let Some(place) = Place::take(&self.under_way, message.priority) else {
            self.tables.metrics.shed("in_hand");
            let busy = Failure::new(FailureKind::Overloaded, "too many upstream calls under way");
            return Box::pin(std::future::ready(Err(busy.retry_after(Some(BUSY)))));
        };
        let (tables, transport) = (Arc::clone(&self.tables), Rc::clone(&self.transport));
        Box::pin(async move {
            let observer = Arc::clone(&tables.observer);
            let work = call::run(&tables, &*transport, &message);
            let answer = run_watched(NAME, observer, work).await;
            drop(place);
            answer.unwrap_or_else(|died| Err(Failure::new(FailureKind::Internal, died.to_string())))
        })
    }
}

/// A place among the calls under way, given back when dropped.
struct Place(Rc<AtomicUsize>);

impl Place {
    fn take(under_way: &Rc<AtomicUsize>, priority: Priority) -> Option<Self> {
        let most = match priority {
            Priority::Client => CALLS_AT_ONCE,
            Priority::Refresh | Priority::Warming => BACKGROUND_AT_ONCE,
        };
        if under_way.load(Ordering::Relaxed) >= most {
            return None;
        }
        under_way.fetch_add(1, Ordering::Relaxed);
        Some(Self(Rc::clone(under_way)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way to the upstream for everyone else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UpstreamClient {
    actor: Handle<ApiClientActor>,
    tables: Arc<UpstreamTables>,
}

impl UpstreamClient {
    /// A client of `actor`, which works with these tables.
    #[must_use]
    pub const fn new(actor: Handle<ApiClientActor>, tables: Arc<UpstreamTables>) -> Self {
        Self { actor, tables }
    }

    /// Whether the actor is down: only the cache answers.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.actor.is_down()
    }

    /// Asks one question and waits for the answer until its deadline. What could not be done until
    /// then is refused here.
    ///
    /// # Errors
    /// The call failed, could not be made in time, or the actor is down.
    pub async fn call(&self, call: Call) -> Result<Reply, Failure> {
        let now = clock::monotonic();
        self.tables.door(&call, now, clock::now())?;
        let within = call.deadline.saturating_duration_since(now).saturating_add(GRACE);
        match self.actor.ask(call, within).await {
            Ok(answer) => answer,
            Err(AskError::TooLate) => {
                Err(Failure::new(FailureKind::DeadlineExceeded, "no answer of the api client"))
            }
            Err(error @ (AskError::NotDelivered(_) | AskError::Died)) => {
                let reason = format!("api client: {error}");
                Err(Failure::new(FailureKind::UpstreamUnavailable, reason).retry_after(Some(BUSY)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_places_are_for_clients_alone() {
        let under_way = Rc::default();
        let take = |priority| Place::take(&under_way, priority);
        let background = [Priority::Refresh, Priority::Warming].into_iter().cycle();
        let mut places: Vec<_> = background.take(CALLS_AT_ONCE).filter_map(take).collect();
        assert_eq!(places.len(), BACKGROUND_AT_ONCE);
        places.extend((0..CALLS_AT_ONCE).filter_map(|_| take(Priority::Client)));
        assert_eq!(places.len(), CALLS_AT_ONCE);
        drop(places);
        assert!(take(Priority::Warming).is_some());
    }
}
