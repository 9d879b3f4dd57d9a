//! How the gateway is, in one sentence for a person: what is broken behind it, since when, and what
//! that costs clients.
//!
//! Owns: the troubles there can be, in their order; since when each lasts and what was counted when it
//! began; their words. Plain functions of facts and time. Knows no neighbour; whoever reads these gives the facts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Timestamp;

/// What may be wrong, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The upstream refuses our configuration.
    Misconfigured,
    /// Requests are refused because there are too many.
    Overloaded,
    /// No calls are made to an upstream: its breaker is open.
    UpstreamDown,
    /// A few calls are made to find out whether it is well again.
    UpstreamRecovering,
    RedisAway,
    DatabaseAway,
    /// An admin holds the breaker of Redis or of the database open.
    StoreHeld,
    /// Stored answers are read from others.
    ReplicaOut,
    ActorDown,
    /// Limits are halved.
    Pressure,
    /// Nobody knows yet who is on the lists.
    AccessLists,
    /// The configuration that was read last has mistakes.
    ConfigRefused,
    /// Lines of the log are lost, or go where they should not.
    Log,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    pub kind: Kind,
    /// Whom it is about; empty when there is one only.
    pub name: String,
    /// What a person should know of it, or an empty text.
    pub detail: String,
}

impl Fact {
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), detail: String::new() }
    }

    #[must_use]
    pub fn saying(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Answers that needed no upstream: from a tier, or made without cache and upstream.
    pub spared: u64,
    /// Of these, past their fresh time.
    pub stale: u64,
    /// Requests answered with 5xx.
    pub failed: u64,
    /// Requests refused because there were too many.
    pub shed: u64,
}

impl Counted {
    const fn since(self, then: Self) -> Self {
        Self {
            spared: self.spared.saturating_sub(then.spared),
            stale: self.stale.saturating_sub(then.stale),
            failed: self.failed.saturating_sub(then.failed),
            shed: self.shed.saturating_sub(then.shed),
        }
    }
}

/// What is wrong at a moment, and what was counted by then.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub wrong: Vec<Fact>,
    pub counted: Counted,
    /// Requests of the last seconds, and those of them that were answered with 5xx.
    pub lately: (u64, u64),
    /// Every upstream is down: what the cache answers would be an error without it.
    pub no_upstream: bool,
}

/// Whether clients are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LiveLevel)]
pub enum Level {
    #[default]
    Healthy,
    /// Something is broken, and clients are served.
    Degraded,
    /// Most clients get errors.
    Failing,
}

/// Something that is wrong, since when, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Trouble {
    pub kind: Kind,
    /// Whom it is about; empty when there is one only.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    #[schema(value_type = i64)]
    pub since: Timestamp,
    /// The same for a person.
    pub text: String,
}

/// How the gateway is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub level: Level,
    pub sentence: String,
    /// The worst first.
    pub troubles: Vec<Trouble>,
}

/// Since when what is wrong. A trouble that ends is forgotten.
#[derive(Debug, Default)]
pub struct Watch {
    began: BTreeMap<(Kind, String), (Timestamp, Counted)>,
}

impl Watch {
    /// Takes in what is wrong at `now`, and tells how it is.
    pub fn observe(&mut self, facts: &Facts, now: Timestamp) -> Summary {
        let key = |fact: &Fact| (same(fact.kind), fact.name.clone());
        let wrong: Vec<_> = facts.wrong.iter().map(key).collect();
        self.began.retain(|known, _| wrong.contains(known));
        let mut troubles = Vec::new();
        for (fact, key) in facts.wrong.iter().zip(wrong) {
            let (since, then) = *self.began.entry(key).or_insert((now, facts.counted));
            let cost = facts.counted.since(then);
            let text = text(fact, now.since(since), cost, facts);
            troubles.push(Trouble { kind: fact.kind, name: fact.name.clone(), since, text });
        }
        troubles.sort_by(|one, other| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
        let level = level(facts);
        Summary { level, sentence: sentence(level, facts, &troubles), troubles }
    }
}

/// An upstream that is probed is still in the outage that it was in.
const fn same(kind: Kind) -> Kind {
    match kind {
        Kind::UpstreamRecovering => Kind::UpstreamDown,
        Kind::Misconfigured
        | Kind::Overloaded
        | Kind::UpstreamDown
        | Kind::RedisAway
        | Kind::DatabaseAway
        | Kind::StoreHeld
        | Kind::ReplicaOut
        | Kind::ActorDown
        | Kind::Pressure
        | Kind::AccessLists
        | Kind::ConfigRefused
        | Kind::Log => kind,
    }
}

fn level(facts: &Facts) -> Level {
    let (requests, errors) = facts.lately;
    match errors {
        0 if facts.wrong.is_empty() => Level::Healthy,
        _ if errors.saturating_mul(2) > requests => Level::Failing,
        _ => Level::Degraded,
    }
}

/// How it is, and the worst two troubles; the page lists all.
fn sentence(level: Level, facts: &Facts, troubles: &[Trouble]) -> String {
    let (requests, errors) = facts.lately;
    let (errors, requests) = (number(errors), number(requests));
    let got = format!("{errors} of {requests} requests just now got an error.");
    let first = match level {
        _ if errors == "0" => "Serving.".to_owned(),
        Level::Failing => format!("Failing: {got}"),
        Level::Healthy | Level::Degraded => format!("Serving, but {got}"),
    };
    let well = level == Level::Healthy;
    let well = well.then(|| "Everything behind it answers.".to_owned());
    let more = troubles.len().saturating_sub(TOLD);
    let more = (more > 0).then(|| format!("And {more} more."));
    let told = troubles.iter().take(TOLD).map(|trouble| trouble.text.clone());
    let parts: Vec<_> = [first].into_iter().chain(well).chain(told).chain(more).collect();
    parts.join(" ")
}

/// Troubles that the sentence names.
const TOLD: usize = 2;

fn text(fact: &Fact, lasted: Duration, cost: Counted, facts: &Facts) -> String {
    let Fact { kind, name, detail } = fact;
    let time = duration(lasted);
    let whose =
        |what: &str| if name.is_empty() { what.to_owned() } else { format!("{what} {name}") };
    let because = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    match kind {
        Kind::Misconfigured => {
            format!("{} refuses our configuration for {time}{because}.", whose("Upstream"))
        }
        Kind::Overloaded => {
            format!("Overloaded for {time}: {} requests refused.", number(cost.shed))
        }
        Kind::UpstreamDown => {
            let down = whose("Upstream");
            format!("{down} down for {time}{because}: {}.", without(cost, facts.no_upstream))
        }
        Kind::UpstreamRecovering => {
            let down = whose("Upstream");
            format!("{down} is tried again after {time}: {}.", without(cost, false))
        }
        Kind::RedisAway => format!("Redis away for {time}: {detail}."),
        Kind::DatabaseAway => format!("Database away for {time}: {detail}."),
        Kind::StoreHeld => {
            format!("{name} not asked for {time}, as an admin holds its breaker open: {detail}.")
        }
        Kind::ReplicaOut => format!("Replicas of the database not read for {time}: {detail}."),
        Kind::ActorDown => {
            format!("{} down for {time}: requests go on without it.", whose("Actor"))
        }
        Kind::Pressure => format!("Under pressure for {time}{because}: limits are halved."),
        Kind::AccessLists => {
            format!("Keys and lists could not be read for {time}: nobody is known to be on them.")
        }
        Kind::ConfigRefused => {
            format!(
                "The configuration was not taken over {time} ago{because}: the one before is in force."
            )
        }
        Kind::Log => format!("The log has trouble for {time}: {detail}."),
    }
}

/// What clients get and got without an upstream.
fn without(cost: Counted, no_upstream: bool) -> String {
    let stale = Some(format!("answers come from the cache, {} stale", number(cost.stale)));
    let spared = (no_upstream && cost.spared > 0)
        .then(|| format!("clients were spared {} errors", number(cost.spared)));
    let failed = (cost.failed > 0).then(|| format!("{} requests failed", number(cost.failed)));
    let parts: Vec<_> = [stale, spared, failed].into_iter().flatten().collect();
    parts.join("; ")
}

/// `1,204`.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `40 s`, `2 min`, `3 h`, `5 d`: whole, and never more than it was.
fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (unit, word) = match seconds {
        0..60 => (1, "s"),
        60..3_600 => (60, "min"),
        3_600..86_400 => (3_600, "h"),
        _ => (86_400, "d"),
    };
    format!("{} {word}", number(seconds / unit))
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
