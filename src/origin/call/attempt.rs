//! One attempt: an account's turn, its moment, what may stop it, the exchange, and what is noted.
//!
//! Owns: that an attempt is made only with time left, with a permit, and as a retry only with a
//! grant. Refuses: all others, told as what stood in the way. When the upstream hangs, the attempt
//! ends with its time.

use std::time::{Duration, Instant};

use serde_json::Value;
use slog::{debug, warn};

use super::{Course, told};
use crate::clock;
use crate::failure::Failure;
use crate::origin::accounts::choice::Prefer;
use crate::origin::accounts::{Account, Ask, Turn};
use crate::origin::actor::Call;
use crate::origin::crowd::{Entry, Place};
use crate::origin::edge::Edge;
use crate::origin::pacing::Slot;
use crate::origin::standing::Trial;
use crate::origin::transport::TransportFault;
use crate::origin::verdict::{self, Attempt};
use crate::origin::{Outcome, Priority, Request, reading};
use crate::resilience::breaker::Permit;

/// So often an account is chosen anew for an attempt; more is no coincidence.
const MOST_CHANGES: u32 = 8;
/// Least time worth starting an attempt for.
const LEAST_ATTEMPT: Duration = Duration::from_millis(5);

/// An attempt that was made.
pub(super) struct Made<'a> {
    /// Which account made it.
    pub(super) index: usize,
    /// The account.
    pub(super) account: &'a Account,
    /// To be told what became of it.
    pub(super) trial: Trial<'a>,
    /// What became of it.
    pub(super) outcome: Outcome<Value>,
}

/// Why an attempt was not made.
pub(super) enum NotMade {
    /// Something refused it.
    Refused(Failure),
    /// What it waited for was taken away when it came: its account was banned meanwhile, or its
    /// breaker opened. Another may make it, or the same one after the ban.
    Changed(Failure),
    /// It would have been a retry, and there is no budget for it.
    NoBudget,
}

impl From<Failure> for NotMade {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// An attempt that is being made.
pub(super) struct Started<'a> {
    pub(super) index: usize,
    pub(super) account: &'a Account,
    pub(super) trial: Trial<'a>,
    pub(super) permit: Permit,
    pub(super) place: Place,
    pub(super) at: Instant,
    pub(super) within: Duration,
    /// Its number among the attempts of the call.
    pub(super) number: u32,
}

/// What an attempt waited for: a turn that has come, and a place.
type Ready<'a> = (Turn<'a>, Place);

impl<'a, E: Edge> Course<'a, E> {
    /// Makes one attempt, the first being number 1.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        number: u32,
        prefer: Prefer,
    ) -> Result<Made<'a>, NotMade> {
        let (mut turn, mut place) = self.ready(request, number, prefer, None).await?;
        let mut changes = 0;
        let started = loop {
            let failure = match self.start(turn, place, number) {
                Ok(started) => break started,
                Err((NotMade::Changed(failure), held)) => {
                    place = held;
                    failure
                }
                Err((other, _)) => return Err(other),
            };
            changes += 1;
            if changes > MOST_CHANGES || self.call.priority != Priority::Client {
                return Err(NotMade::Refused(failure));
            }
            (turn, place) = self.ready(request, number, prefer, Some(place)).await?;
        };
        let outcome = self.exchange(started.account, request, started.within).await;
        self.end(started, request, outcome)
    }

    /// Waits for an account's turn and a place. Who holds a place already keeps it if it need not
    /// wait for its turn.
    async fn ready(
        &self,
        request: &Request,
        number: u32,
        prefer: Prefer,
        held: Option<Place>,
    ) -> Result<Ready<'a>, NotMade> {
        let now = clock::monotonic();
        self.check_time(now)?;
        let ask = self.ask(request, prefer, now);
        let mut turn = self.turn(&ask, number, now)?;
        let place = match held {
            Some(place) if turn.slot.at() <= now => place,
            held => {
                drop(held);
                wait_until(turn.slot.at()).await;
                self.place(number).await?
            }
        };
        let at = turn.slot.claim(clock::monotonic());
        // Nobody holds a place for a moment that comes too late.
        self.check_time(at)?;
        wait_until(at).await;
        Ok((turn, place))
    }

    fn turn(&self, ask: &Ask, number: u32, now: Instant) -> Result<Turn<'a>, NotMade> {
        self.tables.accounts.choose(ask, now, self.edge.wall()).map_err(|turned| {
            NotMade::Refused(self.tables.turned_away(turned, ask.priority, number, now))
        })
    }

    /// A place among the calls under way, as soon as there is one.
    async fn place(&self, number: u32) -> Result<Place, NotMade> {
        let Call { priority, deadline, .. } = *self.call;
        let now = clock::monotonic();
        let latest = self.tables.latest_start(now, deadline);
        match self.tables.crowd.enter(priority, now, latest) {
            Ok(Entry::In(place)) => Ok(place),
            Ok(Entry::Wait(ticket)) => ticket.wait().await.map_err(|full| {
                drop(self.tables.crowded(full, priority, number));
                told::too_late("no place until it was too late for an answer").into()
            }),
            Err(full) => Err(self.tables.crowded(full, priority, number).into()),
        }
    }

    /// Whether an attempt that starts at `at` has any time.
    fn check_time(&self, at: Instant) -> Result<Duration, NotMade> {
        let left = self.call.deadline.saturating_duration_since(at);
        let within = self.tables.attempt_timeout.min(left);
        if within < LEAST_ATTEMPT {
            return Err(told::too_late("no time left for an attempt").into());
        }
        Ok(within)
    }

    /// The moment has come: takes what it needs, or nothing.
    pub(super) fn start(
        &self,
        turn: Turn<'a>,
        place: Place,
        number: u32,
    ) -> Result<Started<'a>, (NotMade, Place)> {
        let at = clock::monotonic();
        let Turn { index, account, trial, slot } = turn;
        match self.take(account, slot, number, at) {
            Ok((permit, within)) => {
                Ok(Started { index, account, trial, permit, place, at, within, number })
            }
            Err(refused) => Err((refused, place)),
        }
    }

    fn take(
        &self,
        account: &Account,
        slot: Slot,
        number: u32,
        at: Instant,
    ) -> Result<(Permit, Duration), NotMade> {
        let within = self.check_time(at)?;
        let changed = |refused| NotMade::Changed(verdict::paced(refused));
        let permit =
            verdict::admit(&account.breaker, self.call.priority, at).map_err(NotMade::Changed)?;
        if number == 1 {
            slot.start(at, self.edge.wall()).map_err(changed)?;
            self.tables.budget.record_call(at);
        } else {
            let grant = self.tables.budget.try_retry(at).ok_or(NotMade::NoBudget)?;
            slot.start(at, self.edge.wall()).map_err(changed)?;
            grant.made();
            self.tables.metrics.retried();
        }
        Ok((permit, within))
    }

    pub(super) async fn exchange(
        &self,
        account: &Account,
        request: &Request,
        within: Duration,
    ) -> Outcome<Value> {
        let (protocol, sent_at) = (&account.protocol, self.edge.wall());
        match self.edge.post(protocol.sign(request, sent_at), within).await {
            Ok(mut answer) => {
                answer.sent_at = sent_at;
                answer.received_at = self.edge.wall();
                reading::interpret(protocol, request, answer).await
            }
            Err(fault @ TransportFault::TooLarge(_)) => {
                Outcome::BadResponse { reason: fault.to_string() }
            }
            Err(fault) => Outcome::Transient { reason: fault.to_string() },
        }
    }

    /// Notes what became of it wherever that is of use.
    pub(super) fn end(
        &self,
        started: Started<'a>,
        request: &Request,
        outcome: Outcome<Value>,
    ) -> Result<Made<'a>, NotMade> {
        let Started { index, account, trial, permit, place, at, within, number } = started;
        let ended = clock::monotonic();
        let took = ended.saturating_duration_since(at);
        let times = Attempt { took, within, longest: self.tables.attempt_timeout };
        let verdict = verdict::verdict(&outcome, times);
        permit.record(verdict, ended);
        place.ended(verdict::load(&outcome, verdict, took), ended);
        if let Outcome::Throttled { wait, .. } = &outcome {
            account.pacing.ban(ended, wait.unwrap_or(told::UNTOLD_BAN));
        }
        self.report(account, request, number, &outcome, took);
        if ended >= self.call.deadline
            && let Outcome::Transient { reason } = &outcome
        {
            // The request's time was over, not the attempt's own.
            return Err(told::too_late(reason.clone()).into());
        }
        Ok(Made { index, account, trial, outcome })
    }

    fn report(
        &self,
        account: &Account,
        request: &Request,
        number: u32,
        outcome: &Outcome<Value>,
        took: Duration,
    ) {
        self.tables.metrics.called(request.method, outcome.label(), took);
        self.tables.metrics.called_by(account.name, outcome.label());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Outcome::Ok(_) | Outcome::Empty => debug!(self.log, "upstream answered";
                "account" => account.name, "outcome" => outcome.label(), "attempt" => number,
                "duration_ms" => took_ms),
            Outcome::Throttled { reason, .. }
            | Outcome::Transient { reason }
            | Outcome::Permanent { reason, .. }
            | Outcome::BadResponse { reason } => warn!(self.log, "upstream call failed";
                "account" => account.name, "outcome" => outcome.label(), "attempt" => number,
                "duration_ms" => took_ms, "reason" => reason),
        }
    }
}

async fn wait_until(at: Instant) {
    if at > clock::monotonic() {
        tokio::time::sleep_until(at.into()).await;
    }
}
