//! One call from question to answer. The stops, in order:
//!
//! ```text
//!  credential ─▶ pace ─▶ concurrency ─▶ breaker ─▶ attempt ─▶ is it believed? ─▶ retry?
//!      ▲                                                                          │
//!      └──────────────────── wait, another credential first ◀─────────────────────┘
//! ```
//!
//! Owns: this order. The breaker is asked when the call is about to be made: what was learned while it
//! waited counts. Nothing is spent for a call that is not made: booking, slot and permit come
//! back by themselves, also when the call is dropped. A call that is past its deadline is never made;
//! when the upstream hangs, the attempt ends with its time.

use std::time::{Duration, Instant};

use slog::{Logger, info, o};

use super::attempt::Policy;
use super::call::{Call, Reply};
use super::concurrency::Slot;
use super::credentials::{Ask, Credential, Prefer, Refusal, Roster, Turn};
use super::evidence::Asked;
use super::health::Made;
use super::pacing::Booking;
use super::pacing::shared::SharedPace;
use super::state::OriginState;
use super::transport::Transport;
use super::{Blame, Origin, Outcome, Priority, attempt, refusal};
use crate::clock;
use crate::failure::Failure;
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::Permit;
use crate::steps::{Attempt, Stage, Verdict};
use crate::trace::{Ids, SpanId};

/// So often a credential is chosen anew for an attempt; more is no coincidence.
const MOST_CHANGES: u32 = 8;
const LEAST_ATTEMPT: Duration = Duration::from_millis(5);

pub async fn run<O: Origin, T: Transport>(
    state: &OriginState,
    roster: &Roster<O>,
    transport: &T,
    shared: Option<&dyn SharedPace>,
    call: &Call<O>,
) -> Result<Reply<O>, Failure> {
    let log = state.log.new(o!("method" => O::operation(&call.question)));
    Course { state, roster, transport, shared, call, log }.run().await
}

struct Course<'a, O: Origin, T> {
    state: &'a OriginState,
    roster: &'a Roster<O>,
    transport: &'a T,
    /// The way to the other instances.
    shared: Option<&'a dyn SharedPace>,
    call: &'a Call<O>,
    /// Its lines are an attempt's, with the ids of that.
    log: Logger,
}

/// An attempt that is about to be made; dropped before, all of it is given back.
struct Started<'a> {
    index: usize,
    credential: &'a Credential,
    permit: Permit,
    slot: Slot,
    at: Instant,
    within: Duration,
}

struct Attempted<P> {
    index: usize,
    span: SpanId,
    made: Made,
    outcome: Outcome<P>,
}

enum NotMade {
    Refused(Failure),
    /// What it waited for was taken away when it came: its credential was banned meanwhile, or its
    /// breaker opened. Another may make it, or the same one after the ban.
    Changed(Failure),
    NoBudget,
    /// It was made, and ended with the time of its request.
    Ended(Failure),
}

impl From<Failure> for NotMade {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl<'a, O: Origin, T: Transport> Course<'a, O, T> {
    async fn run(&self) -> Result<Reply<O>, Failure> {
        let (mut number, mut prefer, mut last) = (1, Prefer::Any, None);
        loop {
            let attempted = match self.attempt(&self.call.question, number, prefer).await {
                Ok(attempted) => attempted,
                // The outcome of the attempt before says more than why there is no other.
                Err(NotMade::Refused(failure) | NotMade::Changed(failure)) => {
                    self.call.note_refused(&failure);
                    return Err(refusal::rather(last, failure));
                }
                Err(NotMade::Ended(failure)) => return Err(refusal::rather(last, failure)),
                // Others have retried enough for now.
                Err(NotMade::NoBudget) => {
                    let all_spent = || "the retries of now are spent";
                    self.call.steps.note(Stage::Attempt, Verdict::Refused, all_spent);
                    return Err(last.unwrap_or_else(refusal::no_retry));
                }
            };
            let span = attempted.span;
            let (index, outcome) = self.believed(attempted, number).await;
            let Some(failure) = refusal::of_outcome(&outcome) else {
                self.call
                    .steps
                    .note(Stage::Attempt, Verdict::Passed, || format!("attempt {number}"));
                return Ok(reply(outcome));
            };
            let Some(wait) = self.wait_before_retry(index, number, &outcome) else {
                let failed = || format!("attempt {number}: {}", failure.reason);
                self.call.steps.note(Stage::Attempt, Verdict::Failed, failed);
                return Err(failure);
            };
            self.call.steps.note(Stage::Attempt, Verdict::Retried, || {
                let wait = attempt::millis(wait);
                format!("attempt {number}: {}; again in {wait} ms", failure.reason)
            });
            info!(self.log, "upstream call will be repeated"; "attempt" => number,
                "wait_ms" => attempt::millis(wait), "reason" => &failure.reason, self.ids(span));
            last = Some(failure);
            tokio::time::sleep(wait).await;
            (number, prefer) = (number.saturating_add(1), Prefer::Not(index));
        }
    }

    /// One attempt through all stops, the first being number 1.
    async fn attempt(
        &self,
        question: &O::Question,
        number: u32,
        prefer: Prefer,
    ) -> Result<Attempted<O::Payload>, NotMade> {
        let operation = O::operation(question);
        let mut changes = 0;
        loop {
            let mut turn = self.credential(operation, number, prefer)?;
            self.call.steps.note(Stage::Credential, Verdict::Passed, || turn.credential.name);
            self.pace(turn.booking.at()).await?;
            turn.booking.arrived();
            let started = match self.share(&mut turn).await {
                Ok(()) => {
                    let slot = self.concurrency(number).await?;
                    self.start(turn, slot, (operation, number, prefer)).await
                }
                Err(not_made) => Err(not_made),
            };
            match started {
                Ok(started) => return self.exchange(started, question, number).await,
                Err(NotMade::Changed(_))
                    if changes < MOST_CHANGES && self.call.priority == Priority::Client =>
                {
                    changes += 1;
                }
                Err(NotMade::Changed(failure)) => return Err(NotMade::Refused(failure)),
                Err(other) => return Err(other),
            }
        }
    }

    /// First stop: whose turn it is, and when.
    fn credential(
        &self,
        operation: &'static str,
        number: u32,
        prefer: Prefer,
    ) -> Result<Turn<'a>, NotMade> {
        let now = clock::monotonic();
        self.time_left(now)?;
        let ask = self.ask(operation, prefer, now);
        self.roster.credentials.choose(&ask, now, self.transport.wall()).map_err(|refused| {
            NotMade::Refused(self.state.refused(refused, ask.priority, number, now))
        })
    }

    /// Second stop: waits for the moment.
    async fn pace(&self, at: Instant) -> Result<(), NotMade> {
        // Nothing is held for a moment that comes too late.
        self.time_left(at)?;
        if at > clock::monotonic() {
            tokio::time::sleep_until(at.into()).await;
            self.call.steps.note(Stage::Pace, Verdict::Passed, || "its turn came");
        }
        Ok(())
    }

    /// Third stop: a slot among the calls under way, as soon as there is one.
    async fn concurrency(&self, number: u32) -> Result<Slot, NotMade> {
        let (priority, now) = (self.call.priority, clock::monotonic());
        let latest = self.state.latest_start(now, self.call.deadline);
        let slot = self.state.slots.enter(priority, now, latest).await;
        slot.map_err(|full| self.state.full(full, priority, number).into())
    }

    /// Fourth stop: everything is ready, and the breaker has the last word.
    async fn start(
        &self,
        turn: Turn<'a>,
        slot: Slot,
        (operation, number, prefer): (&'static str, u32, Prefer),
    ) -> Result<Started<'a>, NotMade> {
        let Turn { index, credential, booking } = turn;
        loop {
            let now = clock::monotonic();
            match booking.ready_at(now) {
                ready if ready > now => self.pace(ready).await?,
                _ => break,
            }
        }
        let at = clock::monotonic();
        let within = self.time_left(at)?;
        let permit = self.permit(credential, operation, prefer, at)?;
        if !prefer.is_check() {
            let fault = |fault| NotMade::Changed(Refusal::Health(fault).into_failure(at));
            credential.health.start(operation, at).map_err(fault)?;
        }
        self.spend(booking, number, at)?;
        Ok(Started { index, credential, permit, slot, at, within })
    }

    /// The same for all instances together, where they keep that together.
    async fn share(&self, turn: &mut Turn<'_>) -> Result<(), NotMade> {
        let pacing = &turn.credential.pacing;
        let Some(shared) = self.shared.filter(|_| pacing.is_bounded()) else { return Ok(()) };
        let now = clock::monotonic();
        let latest = self.state.latest_start(now, self.call.deadline);
        let question = pacing.question(self.call.priority, now, latest);
        let answer = shared.ask(&turn.credential.id, &question).await;
        let now = clock::monotonic();
        let moment = (now, self.transport.wall());
        let answered = pacing.answered(&question, answer, Some(&mut turn.booking), moment);
        // The table knows now what the others know: another credential may be free.
        let wait = answered.map_err(|refused| NotMade::Changed(refusal::by_pace(refused)))?;
        if wait.is_zero() { Ok(()) } else { self.pace(now + wait).await }
    }

    fn permit(
        &self,
        credential: &Credential,
        operation: &'static str,
        prefer: Prefer,
        at: Instant,
    ) -> Result<Permit, NotMade> {
        let admitted =
            credential.may_probe(operation, prefer, at).and_then(|()| match self.call.priority {
                Priority::Client => credential.breaker.admit(at),
                Priority::Refresh | Priority::Warming => credential.breaker.admit_background(at),
            });
        let admitted = admitted.map_err(|rejected| NotMade::Changed(refusal::by_breaker(rejected)));
        admitted.inspect(|_| self.call.steps.note(Stage::Breaker, Verdict::Passed, || ""))
    }

    /// The call is made now: uses its booking and, for a retry, the budget.
    fn spend(&self, booking: Booking, number: u32, at: Instant) -> Result<(), NotMade> {
        let banned = |refused| NotMade::Changed(refusal::by_pace(refused));
        if number == 1 {
            booking.start(at).map_err(banned)?;
            self.state.budget.record_call(at);
            return Ok(());
        }
        if !self.state.budget.try_retry(at) {
            return Err(NotMade::NoBudget);
        }
        booking.start(at).map_err(banned)?;
        self.state.metrics.retries.inc();
        Ok(())
    }

    /// Fifth stop: the attempt. Its outcome is noted wherever that is of use.
    async fn exchange(
        &self,
        started: Started<'a>,
        question: &O::Question,
        number: u32,
    ) -> Result<Attempted<O::Payload>, NotMade> {
        let Started { index, credential, permit, slot, at, within } = started;
        let span = self.begin(credential, O::operation(question), number, at);
        let (asked, place) = ((index, question), (&self.call.trace, span));
        let outcome =
            attempt::ask(&self.roster.origins, self.transport, asked, place, within).await;
        let ended = clock::monotonic();
        self.call.steps.end(span, (ended, outcome.label(), is_failure(&outcome)));
        let took = ended.saturating_duration_since(at);
        // With nearly an attempt's time it is the upstream that was late, not the caller in haste.
        let cut_by_caller = within < self.state.attempt_timeout * 3 / 4 && took >= within;
        let (operation, result) =
            (O::operation(question), refusal::health(&outcome, cut_by_caller));
        let (asked, is_probe) = (Asked::new(operation, question), credential.breaker.is_open());
        permit.record(credential.health.weigh(asked, result, is_probe, ended), ended);
        slot.ended(refusal::load(&outcome, result), ended);
        if let Outcome::Throttled { wait, .. } = &outcome {
            let wait = wait.unwrap_or(refusal::ASSUMED_BAN);
            credential.pacing.ban(ended, wait);
            if let Some(shared) = self.shared {
                // Best effort: an instance that is not told is told by the upstream.
                let wall = self.transport.wall();
                let told = credential.pacing.report(wait, wall);
                let answer = shared.ask(&credential.id, &told).await;
                credential.pacing.answered(&told, answer, None, (ended, wall)).ok();
            }
        }
        let log = (&self.log, self.ids(span));
        attempt::report(self.state, log, credential, (operation, number), &outcome, took);
        if ended >= self.call.deadline
            && let Outcome::Transient { reason } = &outcome
        {
            // The request's time was over, not the attempt's own.
            let late = || format!("attempt {number}: {reason}; the request's time is over");
            self.call.steps.note(Stage::Attempt, Verdict::Failed, late);
            return Err(NotMade::Ended(refusal::too_late(reason.clone())));
        }
        Ok(Attempted { index, span, made: Made { asked, started: at }, outcome })
    }

    /// The span of an attempt that is made now.
    fn begin(
        &self,
        credential: &Credential,
        operation: &'static str,
        number: u32,
        started: Instant,
    ) -> SpanId {
        let (span, account) = (SpanId::new(self.transport.random()), credential.name);
        self.call.steps.begin(|| Attempt {
            span,
            operation,
            account,
            number,
            started,
            ended: None,
        });
        span
    }

    fn ids(&self, span: SpanId) -> Ids {
        self.call.trace.ids(&self.call.request_id, span)
    }

    /// An outcome that may mean something else is checked by another question, if there is a retry
    /// for it; the result is noted in the credential's health.
    async fn believed(
        &self,
        attempted: Attempted<O::Payload>,
        number: u32,
    ) -> (usize, Outcome<O::Payload>) {
        let Attempted { index, made, outcome, .. } = attempted;
        let Some((origin, credential)) =
            self.roster.origins.get(index).zip(self.roster.credentials.iter().nth(index))
        else {
            return (index, outcome);
        };
        let outcome = match origin.doubt(&self.call.question, &outcome) {
            None => outcome,
            Some(check) => {
                // As a retry: it is one more call for the same question.
                match self.attempt(&check, number.saturating_add(1), Prefer::Only(index)).await {
                    Ok(found) => origin.resolve(&check, outcome, &found.outcome),
                    // Nothing in it, and no way to know why: that is not kept as an answer.
                    Err(
                        NotMade::Refused(_)
                        | NotMade::Changed(_)
                        | NotMade::NoBudget
                        | NotMade::Ended(_),
                    ) => {
                        let reason = "an empty list that could not be checked".to_owned();
                        Outcome::Transient { reason }
                    }
                }
            }
        };
        let now = (clock::monotonic(), self.transport.wall());
        let advice = |fault| origin.advice(fault);
        self.state.note_health(credential, made, &outcome, advice, now);
        (index, outcome)
    }

    /// Last stop: whether and when to try again. The budget is only looked at: it is spent when the
    /// retry is made.
    fn wait_before_retry(
        &self,
        index: usize,
        number: u32,
        outcome: &Outcome<O::Payload>,
    ) -> Option<Duration> {
        if !self.call.retry || self.call.priority != Priority::Client {
            return None;
        }
        let now = clock::monotonic();
        if self.state.budget.remaining(now) == 0 {
            return None;
        }
        let (own, chance) = (self.state.retry.get(), self.transport.chance());
        let deadline = self.call.deadline;
        if is_of_credential(outcome) && self.is_elsewhere(index, now) {
            // What this credential is refused for, another is not: it is asked at once.
            let none = Backoff { first: Duration::ZERO, longest: Duration::ZERO };
            let at_once = Policy { backoff: none, ..own };
            let other = Outcome::<()>::Transient { reason: String::new() };
            attempt::decide(&at_once, number, &other, chance, now, deadline)
        } else {
            attempt::decide(&own, number, outcome, chance, now, deadline)
        }
    }

    fn is_elsewhere(&self, index: usize, now: Instant) -> bool {
        let ask = self.ask(O::operation(&self.call.question), Prefer::Any, now);
        self.roster.credentials.is_elsewhere(index, &ask, now, self.transport.wall())
    }

    fn ask(&self, operation: &'static str, prefer: Prefer, now: Instant) -> Ask<'_> {
        let latest = self.state.latest_start(now, self.call.deadline);
        let (priority, payer) = (self.call.priority, self.call.payer.as_ref());
        Ask { operation, priority, payer, latest, prefer }
    }

    fn time_left(&self, at: Instant) -> Result<Duration, NotMade> {
        let left = self.call.deadline.saturating_duration_since(at);
        let within = self.state.attempt_timeout.min(left);
        if within < LEAST_ATTEMPT {
            return Err(
                refusal::too_late("too little of the request's time was left for a call").into()
            );
        }
        Ok(within)
    }
}

/// Whether an outcome is about the credential that asked, and another might fare better.
const fn is_of_credential<T>(outcome: &Outcome<T>) -> bool {
    match outcome {
        Outcome::Throttled { .. } => true,
        Outcome::Permanent { blame, .. } => matches!(blame, Blame::Configuration(_)),
        Outcome::Ok(_)
        | Outcome::Empty
        | Outcome::Transient { .. }
        | Outcome::BadResponse { .. } => false,
    }
}

const fn is_failure<T>(outcome: &Outcome<T>) -> bool {
    !matches!(outcome, Outcome::Ok(_) | Outcome::Empty)
}

fn reply<T>(outcome: Outcome<T>) -> Option<T> {
    match outcome {
        Outcome::Ok(payload) => Some(payload),
        Outcome::Empty
        | Outcome::Throttled { .. }
        | Outcome::Transient { .. }
        | Outcome::Permanent { .. }
        | Outcome::BadResponse { .. } => None,
    }
}
