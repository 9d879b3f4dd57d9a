//! `/admin/live`: everything the admin's page shows, and of that what is new since it asked last.
//!
//! Owns: the shapes, and reading them off what the rooms know. Nothing here asks an actor or a store: it
//! answers whatever is down. See [`crate::http::live`] for what is sent again and when.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::to;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::live_rows::sections;
use crate::cache::CacheTables;
use crate::clock::{self, Timestamp};
use crate::config::{LastRead, Mistakes, Reloaded};
use crate::http::extract::{Answer, Call};
use crate::http::forms::Check;
use crate::http::live::summary::{Counted, Fact, Facts, Kind, Level, Trouble};
use crate::http::load_shedder::ShedReason;
use crate::http::route::AuthScope;
use crate::http::service::Route;
use crate::http::state::Shared;
use crate::http::stops::admin_key::Admin;
use crate::limits::Class;
use crate::limits::pressure::{Level as Pressed, PressureStatus};
use crate::metrics::{Curves, Sample, resident_bytes};
use crate::origin::state::{OriginState, OriginStatus};
use crate::resilience::breaker::State;
use crate::supervision::ActorState;

pub const ROUTE: Route = Route::at("/admin/live", Class::General).get(|| to(live)).says(|doc| {
    let details = "Made at most once a second. Curves and sections that did not change since the second \
         `since` are left out; what is there replaces what was there before, but for the points of \
         curves, which follow those before.";
    doc.says("Admin", "getLive", "Shows how the gateway is: what the admin's page is made of.", details)
        .query::<LiveForm>()
        .reports::<LiveReport>("What is new.");
});

/// What the client has seen.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
struct LiveForm {
    /// The `seq` of the answer before; everything when absent, 0 or of another process.
    #[schema(value_type = Option<u64>, minimum = 0)]
    since: Option<Value>,
}

/// How the gateway is.
#[derive(Debug, Serialize, ToSchema)]
struct LiveReport {
    /// The second of the last sample, Unix time. It only rises, over a restart as well.
    seq: u64,
    /// Milliseconds since the Unix epoch.
    #[schema(value_type = i64)]
    now: Timestamp,
    /// When the process started, milliseconds since the Unix epoch.
    #[schema(value_type = i64)]
    started: Timestamp,
    /// Whether the client may change something: `full` or `read`.
    access: &'static str,
    /// How it is, in a sentence or a few.
    summary: String,
    state: LiveState,
    /// By ring: `1s`, `10s`, `60s`. `end` is the second at which the last point ended; every column has
    /// a value for each point, `null` where nothing was measured.
    #[serde(serialize_with = "write_curves")]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    series: Vec<Curves>,
    /// `breakers`, `actors`, `credentials`, `limits` and `recent`, each whole, those that changed.
    #[serde(flatten)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    sections: BTreeMap<&'static str, Value>,
}

/// What is small and may change all the time.
#[derive(Debug, Serialize, ToSchema)]
struct LiveState {
    level: Level,
    /// What is wrong, the worst first.
    troubles: Vec<Trouble>,
    version: &'static str,
    /// `live` or `simulator`.
    integration: &'static str,
    /// Whether faults may be dealt out.
    chaos: bool,
    uptime_seconds: u64,
    in_flight: i64,
    connections: u32,
    pressure: PressureStatus,
    config: ConfigState,
    /// Memory in use; absent where the system does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
}

/// The configuration, as it was read last.
#[derive(Debug, Serialize, ToSchema)]
struct ConfigState {
    /// Whether it was taken over.
    ok: bool,
    /// Milliseconds since the Unix epoch.
    #[schema(value_type = i64)]
    at: Timestamp,
    /// All that is wrong with it; what was in force before still is.
    mistakes: Vec<String>,
    /// Settings that count from the next start.
    #[schema(value_type = Vec<String>)]
    need_restart: Vec<&'static str>,
}

impl From<LastRead> for ConfigState {
    fn from(LastRead { at, outcome }: LastRead) -> Self {
        match outcome {
            Ok(Reloaded { need_restart, .. }) => {
                Self { ok: true, at, mistakes: Vec::new(), need_restart }
            }
            Err(Mistakes { all: mistakes, .. }) => {
                let mistakes = mistakes.iter().map(ToString::to_string).collect();
                Self { ok: false, at, mistakes, need_restart: Vec::new() }
            }
        }
    }
}

fn write_curves<S: Serializer>(curves: &[Curves], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(curves.iter().map(|ring| {
        let columns =
            ring.columns.iter().map(|(name, values)| (*name, Value::from(values.clone())));
        let end = [("end", Value::from(ring.end))];
        (ring.name, end.into_iter().chain(columns).collect::<BTreeMap<_, _>>())
    }))
}

async fn live(admin: Admin, call: Call) -> Answer {
    let since = call.form::<LiveForm>().await?.read(|form| {
        let mut check = Check::default();
        let number = |text: &str| text.parse::<u64>().ok();
        let allowed = "the `seq` of an answer before";
        let since = check.word("since", form.since.as_ref(), number, allowed);
        check.finish(since.unwrap_or_default())
    })?;
    let worker = &call.worker;
    let shared = &worker.shared;
    let news = shared.live.since(since, || sections(worker));
    call.report(&LiveReport {
        seq: news.seq,
        now: clock::now(),
        started: shared.started,
        access: admin.role().as_str(),
        summary: news.summary.sentence,
        state: LiveState {
            level: news.summary.level,
            troubles: news.summary.troubles,
            version: env!("CARGO_PKG_VERSION"),
            integration: shared.integration.name,
            chaos: shared.settings.chaos.enabled,
            uptime_seconds: clock::now().since(shared.started).as_secs(),
            in_flight: shared.metrics.http.in_flight.get(),
            connections: shared.connections.open(),
            pressure: shared.pressure.status(),
            config: shared.in_force.last_read().into(),
            memory_bytes: resident_bytes(),
        },
        series: news.curves,
        sections: news.sections.into_iter().collect(),
    })
}

/// Outcomes of upstream calls that were of no use.
const USELESS: [&str; 4] = ["throttled", "transient", "permanent", "bad_response"];

/// The counters now. What operators and probes ask for is no traffic.
#[must_use]
pub fn read_counters(shared: &Shared) -> Sample {
    let by_account = &shared.metrics.upstream.calls_by_account;
    let of_origin = |origin: &Arc<OriginState>| -> Vec<_> {
        origin.credentials.with(|all| all.iter().map(|credential| credential.name).collect())
    };
    let names = shared.origins.iter().flat_map(of_origin);
    let failed = names.flat_map(|name| USELESS.map(|outcome| by_account.at([name, outcome]).get()));
    let of_clients =
        |route: &str| AuthScope::of(route) == AuthScope::Clients && route != "/metrics";
    shared.metrics.sample(of_clients, failed.sum())
}

/// Hands the counters and what is wrong to the curves and the sentence; once a second.
pub fn sample(shared: &Shared, cache: &CacheTables) {
    let (now, wall) = (clock::monotonic(), clock::now());
    let sample = read_counters(shared);
    let origins: Vec<_> = shared.origins.iter().map(|origin| origin.status(now, wall)).collect();
    let mut wrong = upstreams(shared, &origins);
    let is_held = |tier: &str| {
        let is_away = tier == "database" && cache.database.absence().is_some();
        !is_away && shared.breakers.holds_store(tier)
    };
    let away = cache.degraded().into_iter();
    wrong.extend(away.filter_map(|tier| store(shared, tier, is_held(tier))));
    let (_, unread) = cache.database.replicas_in_words();
    if !unread.is_empty() {
        wrong.push(Fact::new(Kind::ReplicaOut, "").saying(unread.join("; ")));
    }
    wrong.extend(process(shared));
    let shed = ShedReason::ALL.map(|reason| shared.metrics.http.shed.at([reason.as_str()]).get());
    let hits = sample.memory + sample.redis + sample.database;
    let facts = Facts {
        wrong,
        counted: Counted {
            spared: hits + shared.metrics.cache.last_resort.get(),
            stale: sample.stale,
            failed: sample.server_errors,
            shed: shed.iter().sum(),
        },
        no_upstream: origins.iter().all(|origin| origin.breaker() == State::Open),
        ..Facts::default()
    };
    shared.live.sample(&sample, facts, now, wall);
}

fn upstreams(shared: &Shared, origins: &[OriginStatus]) -> Vec<Fact> {
    let mut wrong = Vec::new();
    for (origin, status) in shared.origins.iter().zip(origins) {
        // One needs no name.
        let name = if origins.len() > 1 { origin.name } else { "" };
        let problem = origin.problems().into_iter().next();
        wrong.extend(problem.map(|problem| {
            let told = format!("{}: {}", problem.what.name, problem.advice);
            Fact::new(Kind::Misconfigured, name).saying(told)
        }));
        let forced = status.credentials.iter().all(|one| one.breaker.forced);
        let fact = match status.breaker() {
            State::Closed => None,
            State::Open if forced => {
                Some(Fact::new(Kind::UpstreamDown, name).saying("held open by an admin"))
            }
            State::Open => Some(Fact::new(Kind::UpstreamDown, name)),
            State::HalfOpen => Some(Fact::new(Kind::UpstreamRecovering, name)),
        };
        wrong.extend(fact);
    }
    wrong
}

fn store(shared: &Shared, tier: &str, is_held: bool) -> Option<Fact> {
    let (away, name, told) = match tier {
        "redis" => {
            let alone = shared.accounts.is_shared();
            let limits = if alone { ", limits are kept by shares" } else { "" };
            (Kind::RedisAway, "Redis", format!("memory and the database answer instead{limits}"))
        }
        "database" if is_held => {
            let told = "nothing is read from it, and what is stored is written to it all the same";
            (Kind::DatabaseAway, "Database", told.to_owned())
        }
        "database" => {
            let told = "nothing is stored behind memory and Redis, and changes of keys and lists are refused";
            (Kind::DatabaseAway, "Database", told.to_owned())
        }
        _ => return None,
    };
    let fact = if is_held { Fact::new(Kind::StoreHeld, name) } else { Fact::new(away, "") };
    Some(fact.saying(told))
}

fn process(shared: &Shared) -> Vec<Fact> {
    let mut wrong = Vec::new();
    if shared.lags.any_refuses() {
        wrong.push(Fact::new(Kind::Overloaded, ""));
    }
    let pressure = shared.pressure.status();
    if pressure.level == Pressed::High {
        let causes = pressure.because.iter().map(|cause| serde_json::json!(cause));
        let causes: Vec<_> =
            causes.filter_map(|cause| cause.as_str().map(|text| text.replace('_', " "))).collect();
        wrong.push(Fact::new(Kind::Pressure, "").saying(causes.join(", ")));
    }
    if !shared.access.is_informed() {
        wrong.push(Fact::new(Kind::AccessLists, ""));
    }
    if let Err(mistakes) = shared.in_force.last_read().outcome {
        let count = mistakes.all.len();
        let told = format!("{count} mistake{}", if count == 1 { "" } else { "s" });
        wrong.push(Fact::new(Kind::ConfigRefused, "").saying(told));
    }
    let log = shared.losses.trouble();
    wrong.extend(log.map(|trouble| Fact::new(Kind::Log, "").saying(trouble)));
    let actors = shared.supervisor.status().into_iter();
    let down = actors.filter(|one| matches!(one.state, ActorState::BackingOff | ActorState::Hung));
    let mut names: Vec<_> = down.map(|actor| actor.name).collect();
    names.dedup();
    wrong.extend(names.into_iter().map(|name| Fact::new(Kind::ActorDown, name)));
    wrong
}
