//! The sections of `/admin/live`: breakers, actors, credentials, limits, recent requests.
//!
//! Owns: their shapes. What changes with every request is left out of them, or they would be sent every
//! second. Nothing here asks an actor or a store.

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::{self, Timestamp};
use crate::http::handlers::status::UpstreamProblem;
use crate::http::state::{Shared, Worker};
use crate::limits::abuse::AbuseStatus;
use crate::metrics::Which;
use crate::origin::state::CredentialStatus;
use crate::resilience::breaker::{Snapshot, State};
use crate::supervision::{ActorState, ActorStatus};

/// Failed and slow requests that are shown.
const RECENT: usize = 10;
/// Clients found abusive that are shown.
const OFFENDERS: usize = 5;

#[derive(Serialize)]
struct BreakerRow {
    name: String,
    state: State,
    since: Timestamp,
    forced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start_per_second: Option<f64>,
    consecutive_failures: u64,
    transitions: u64,
}

#[derive(Serialize)]
struct ActorRow {
    name: &'static str,
    instances: usize,
    running: usize,
    state: ActorState,
    restarts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_panic: Option<String>,
    up_since: Timestamp,
    queue: usize,
}

#[derive(Serialize)]
struct CredentialRow {
    name: &'static str,
    accepted: bool,
    breaker: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pace_per_second: Option<f64>,
    waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_remaining: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    banned_until: Option<Timestamp>,
    problems: Vec<UpstreamProblem>,
}

#[derive(Serialize)]
struct LimitRows {
    enabled: bool,
    refused: u64,
    accounts: usize,
    api_keys: usize,
    allowed: usize,
    denied: usize,
    shared: Option<bool>,
    abuse: AbuseStatus,
}

pub(super) fn sections(worker: &Worker) -> Vec<(&'static str, Value)> {
    let shared = &worker.shared;
    let recent = |which| shared.observed.recent(which, RECENT);
    vec![
        ("breakers", json!(breakers(shared))),
        ("actors", json!(actors(&shared.supervisor.status()))),
        ("credentials", json!(credentials(shared))),
        ("limits", json!(limits(worker))),
        ("recent", json!({"errors": recent(Which::Failed), "slow": recent(Which::Slow)})),
    ]
}

fn breakers(shared: &Shared) -> Vec<BreakerRow> {
    let now = clock::monotonic();
    let row = |breaker: Snapshot| BreakerRow {
        name: breaker.name.to_string(),
        state: breaker.state,
        since: breaker.since.map_or(shared.started, |since| shared.live.time_of(since)),
        forced: breaker.forced,
        retry_at: breaker.until.map(|until| shared.live.time_of(until)),
        slow_start_per_second: breaker.slow_start_per_second,
        consecutive_failures: breaker.consecutive_failures,
        transitions: breaker.transitions,
    };
    shared.breakers.all().iter().map(|breaker| row(breaker.snapshot(now))).collect()
}

/// One row for all instances of a name.
fn actors(all: &[ActorStatus]) -> Vec<ActorRow> {
    let mut rows: Vec<ActorRow> = Vec::new();
    for actor in all {
        let running = usize::from(actor.state == ActorState::Running);
        let Some(row) = rows.iter_mut().find(|row| row.name == actor.name) else {
            rows.push(ActorRow {
                name: actor.name,
                instances: 1,
                running,
                state: actor.state,
                restarts: actor.restarts,
                last_panic: actor.last_panic.clone(),
                up_since: actor.up_since,
                queue: actor.queue,
            });
            continue;
        };
        row.instances += 1;
        row.running += running;
        row.restarts = row.restarts.saturating_add(actor.restarts);
        row.queue = row.queue.saturating_add(actor.queue);
        if badness(actor.state) > badness(row.state) {
            row.state = actor.state;
        }
        if actor.last_panic.is_some() && (row.last_panic.is_none() || actor.up_since > row.up_since)
        {
            row.last_panic.clone_from(&actor.last_panic);
        }
        row.up_since = row.up_since.max(actor.up_since);
    }
    rows
}

const fn badness(state: ActorState) -> u8 {
    match state {
        ActorState::Running => 0,
        ActorState::Finished => 1,
        ActorState::BackingOff => 2,
        ActorState::Hung => 3,
    }
}

fn credentials(shared: &Shared) -> Vec<CredentialRow> {
    let (now, wall) = (clock::monotonic(), clock::now());
    let mut rows = Vec::new();
    for origin in &shared.origins {
        let problems = origin.problems();
        let all = origin.credentials.get();
        let paces = all.iter().map(|credential| credential.pacing.per_second());
        for (status, pace_per_second) in origin.status(now, wall).credentials.into_iter().zip(paces)
        {
            let CredentialStatus { name, is_accepted, breaker, pacing } = status;
            let budget =
                pacing.budget_remaining.map(|left| left.saturating_add(pacing.spent_today));
            let of_it = problems.iter().filter(|problem| problem.credential == name);
            rows.push(CredentialRow {
                name,
                accepted: is_accepted,
                breaker: breaker.state,
                pace_per_second,
                waiting: pacing.queue,
                budget,
                budget_remaining: pacing.budget_remaining,
                banned_until: pacing.banned_until,
                problems: of_it.cloned().map(Into::into).collect(),
            });
        }
    }
    rows
}

fn limits(worker: &Worker) -> LimitRows {
    let shared = &worker.shared;
    let sizes = shared.access.sizes();
    let mut abuse = shared.abuse.status(clock::monotonic());
    abuse.offenders.truncate(OFFENDERS);
    LimitRows {
        enabled: shared.accounts.is_enabled(),
        refused: super::live::read_counters(shared).limited,
        accounts: shared.accounts.status().entries,
        api_keys: sizes.keys,
        allowed: sizes.allow,
        denied: sizes.deny,
        shared: shared.accounts.is_shared().then(|| worker.shares_limits()),
        abuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(
        instance: usize,
        state: ActorState,
        restarts: u64,
        panic: Option<&str>,
    ) -> ActorStatus {
        ActorStatus {
            name: "cache",
            instance,
            state,
            restarts,
            last_panic: panic.map(str::to_owned),
            queue: 1,
            handled: 9,
            up_since: Timestamp::from_millis(i64::try_from(instance).unwrap()),
        }
    }

    #[test]
    fn instances_of_an_actor_are_one_row() {
        let all = [
            actor(0, ActorState::Running, 2, Some("old")),
            actor(1, ActorState::BackingOff, 3, Some("new")),
            actor(2, ActorState::Running, 0, None),
        ];
        let rows = actors(&all);
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!((row.instances, row.running, row.restarts, row.queue), (3, 2, 5, 3));
        assert_eq!((row.state, row.last_panic.as_deref()), (ActorState::BackingOff, Some("new")));
        assert_eq!(row.up_since, Timestamp::from_millis(2));
    }
}
