//! ApiClientActor: makes the calls to one upstream, with all credentials, on a thread of its own.
//!
//! There is one, not one a credential: an attempt that failed with one credential is repeated with
//! another, and that should not cross threads. What belongs to a credential is in [`OriginState`].
//!
//! Owns: the transport of its thread. Accepts: [`Call`], each of which is made in a watched task of its
//! own ([`course`]), so a panic there reaches only its caller. How many wait is bounded by pacing and
//! concurrency. When the actor is dead its callers get a failure and serve what they have.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext as _, Context, Handler, ResponseFuture, WrapFuture as _};

use super::call::{Call, Reply};
use super::credentials::Roster;
use super::pacing::shared::SharedPace;
use super::transport::AwcTransport;
use super::{Origin, course};
use crate::clock;
use crate::config::Current;
use crate::failure::{Failure, FailureKind};
use crate::origin::state::OriginState;
use crate::steps::{Stage, Verdict};
use crate::supervision::{AskError, Handle, run_watched};

pub const NAME: &str = "api-client";
/// When to come back if the actor is down or its inbox full.
const BUSY: Duration = Duration::from_secs(1);
/// How old it may be what an instance that makes no calls knows of the others.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Time given to the actor's answer beyond the call's own deadline.
const GRACE: Duration = Duration::from_millis(250);

pub struct ApiClientActor<O> {
    state: Arc<OriginState>,
    roster: Arc<Current<Roster<O>>>,
    transport: Rc<AwcTransport>,
    shared: Option<Rc<dyn SharedPace>>,
}

impl<O: Origin> ApiClientActor<O> {
    /// An incarnation over `state`, with those whom `roster` names now.
    pub fn new(state: Arc<OriginState>, roster: Arc<Current<Roster<O>>>) -> Self {
        let transport = Rc::new(AwcTransport::new(&state.wire, &state.log));
        let shared = state.sharing.as_ref().and_then(|sharing| (sharing.connect)());
        Self { state, roster, transport, shared }
    }
}

impl<O: Origin> Actor for ApiClientActor<O> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(shared) = self.shared.clone() else { return };
        context.run_interval(SYNC_EVERY, move |actor, context| {
            let (state, shared) = (Arc::clone(&actor.state), Rc::clone(&shared));
            context.spawn(async move { sync(&state, &*shared).await }.into_actor(actor));
        });
    }
}

/// Tells the other instances what was spent while nobody could be asked, and learns what they spent.
async fn sync(state: &OriginState, shared: &dyn SharedPace) {
    for credential in state.credentials.get().iter().filter(|one| one.pacing.is_bounded()) {
        let question = credential.pacing.report(Duration::ZERO, clock::now());
        let answer = shared.ask(&credential.id, &question).await;
        let (now, wall) = (clock::monotonic(), clock::now());
        // Without an answer it is told again the next time.
        credential.pacing.answered(&question, answer, None, (now, wall)).ok();
    }
}

impl<O: Origin> Handler<Call<O>> for ApiClientActor<O> {
    type Result = ResponseFuture<Result<Reply<O>, Failure>>;

    fn handle(&mut self, message: Call<O>, _: &mut Self::Context) -> Self::Result {
        let (state, transport) = (Arc::clone(&self.state), Rc::clone(&self.transport));
        let (roster, shared) = (self.roster.get(), self.shared.clone());
        Box::pin(async move {
            let observer = Arc::clone(&state.observer);
            let work = course::run(&state, &roster, &*transport, shared.as_deref(), &message);
            let answer = run_watched(NAME, observer, work).await;
            answer.unwrap_or_else(|died| Err(Failure::new(FailureKind::Internal, died.to_string())))
        })
    }
}

pub struct OriginClient<O: Origin> {
    actor: Handle<ApiClientActor<O>>,
    state: Arc<OriginState>,
    pub(super) roster: Arc<Current<Roster<O>>>,
}

impl<O: Origin> Clone for OriginClient<O> {
    fn clone(&self) -> Self {
        let (state, roster) = (Arc::clone(&self.state), Arc::clone(&self.roster));
        Self { actor: self.actor.clone(), state, roster }
    }
}

impl<O: Origin> std::fmt::Debug for OriginClient<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginClient").finish_non_exhaustive()
    }
}

impl<O: Origin> OriginClient<O> {
    pub const fn new(
        actor: Handle<ApiClientActor<O>>,
        state: Arc<OriginState>,
        roster: Arc<Current<Roster<O>>>,
    ) -> Self {
        Self { actor, state, roster }
    }

    pub const fn state(&self) -> &Arc<OriginState> {
        &self.state
    }

    /// Whether the actor is down: only the cache answers.
    pub fn is_down(&self) -> bool {
        self.actor.is_down()
    }

    /// Asks one question and waits for the answer until its deadline. What could not be done until
    /// then is refused here.
    pub async fn call(&self, call: Call<O>) -> Result<Reply<O>, Failure> {
        let now = clock::monotonic();
        let (operation, payer) = (O::operation(&call.question), call.payer.as_ref());
        self.state
            .check(operation, call.priority, payer, call.deadline, now, clock::now())
            .inspect_err(|failure| call.note_refused(failure))?;
        let within = call.deadline.saturating_duration_since(now).saturating_add(GRACE);
        let steps = call.steps.clone();
        let noted = |verdict, what: &'static str| steps.note(Stage::Attempt, verdict, || what);
        match self.actor.ask_queued(call, within).await {
            Ok(answer) => answer,
            Err(AskError::TooLate) => {
                let late = "the part that calls the upstream did not answer in time";
                noted(Verdict::Failed, late);
                Err(Failure::new(FailureKind::DeadlineExceeded, late))
            }
            Err(error @ (AskError::NotDelivered(_) | AskError::Died)) => {
                noted(Verdict::Refused, "the part that calls the upstream is being restarted");
                let reason = format!("api client: {error}");
                Err(Failure::new(FailureKind::UpstreamUnavailable, reason).retry_after(Some(BUSY)))
            }
        }
    }
}
