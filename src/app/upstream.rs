//! The upstream's tables and its actor.
//!
//! Owns: turning settings into pacing, retry, breaker and protocol.

use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, warn};

use crate::cli::Failure;
use crate::config::{self, Settings};
use crate::http::gauges::label;
use crate::metrics::Metrics;
use crate::origin::accounts::{Account, Accounts, NAMES};
use crate::origin::actor::{ApiClientActor, NAME, UpstreamClient};
use crate::origin::budget::{self, RetryBudget};
use crate::origin::crowd::{self, Crowd};
use crate::origin::names::Names;
use crate::origin::pacing::{self, Pacing};
use crate::origin::retry::Policy;
use crate::origin::standing::Standing;
use crate::origin::tables::UpstreamTables;
use crate::origin::transport::Wire;
use crate::resilience::breaker::{self, Breaker};
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::aliexpress::terms::{Currency, Language};
use crate::services::products::aliexpress::{AliExpress, QUOTA_DAY_OFFSET};
use crate::supervision::Supervisor;

/// Connections beyond the calls at once: those of calls that were cut are still closing.
const CONNECTIONS_MORE: usize = 8;
/// Messages that may wait for the actor.
const INBOX: usize = 1_024;
/// Longest wait told by the upstream that a caller is held for.
const TOLD_WAIT: Duration = Duration::from_secs(3);
/// Longest time the upstream is left alone before it is probed again: stale answers bridge the time,
/// but should not do so long after it is well.
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// A probe of which nothing is heard for so long beyond its time is lost.
const PROBE_GRACE: Duration = Duration::from_secs(1);
/// Least time worth starting another attempt for.
const LEAST_ATTEMPT: Duration = Duration::from_millis(50);

/// The tables of all accounts.
pub(super) fn tables(
    settings: &Settings,
    metrics: &Metrics,
    log: &Logger,
    supervisor: &Supervisor,
) -> Result<UpstreamTables, Failure> {
    let upstream = &settings.upstream;
    let accounts = NAMES.iter().zip(&upstream.accounts).enumerate();
    let accounts = accounts.map(|(place, (name, account))| Account {
        name,
        protocol: Arc::new(aliexpress(place, account, upstream)),
        breaker: guard(name, settings, metrics, log),
        pacing: Pacing::new(pace(settings)),
        standing: Standing::default(),
    });
    Ok(UpstreamTables {
        accounts: Accounts::new(accounts.collect())?,
        crowd: Crowd::new(crowd(settings)),
        budget: RetryBudget::new(budget::Settings::default()),
        retry: Policy {
            max_attempts: upstream.retry_max_attempts,
            base_delay: upstream.retry_base_delay,
            max_delay: upstream.retry_max_delay,
            max_told_wait: TOLD_WAIT,
            least_attempt: LEAST_ATTEMPT,
        },
        wire: wire(settings),
        attempt_timeout: upstream.attempt_timeout,
        metrics: metrics.upstream().clone(),
        log: log.clone(),
        observer: supervisor.observer(),
    })
}

fn aliexpress(place: usize, account: &config::Account, upstream: &config::Upstream) -> AliExpress {
    let url = upstream.gateway_url.clone();
    let own = account.tracking_id.clone();
    AliExpress::new(account.credentials.clone(), url).with_tracking_id(own).at(place)
}

fn wire(settings: &Settings) -> Wire {
    let upstream = &settings.upstream;
    Wire {
        connect_timeout: upstream.connect_timeout,
        max_body: upstream.max_body_bytes,
        connections: usize::try_from(upstream.concurrency)
            .unwrap_or(usize::MAX)
            .saturating_add(CONNECTIONS_MORE),
        names: Names::of_the_system(upstream.dns_timeout),
        ..Wire::default()
    }
}

fn crowd(settings: &Settings) -> crowd::Settings {
    let upstream = &settings.upstream;
    crowd::Settings {
        most: upstream.concurrency,
        queue: upstream.queue,
        longest: upstream.attempt_timeout.saturating_add(settings.server.request_timeout),
        ..crowd::Settings::default()
    }
}

fn pace(settings: &Settings) -> pacing::Settings {
    let set = settings.upstream.pacing;
    pacing::Settings {
        rate: set.map(|pacing| pacing::Rate { per_second: pacing.per_second, burst: pacing.burst }),
        daily_budget: set.map(|pacing| pacing.daily_budget).filter(|budget| *budget > 0),
        max_queue: settings.upstream.queue,
        day_offset: QUOTA_DAY_OFFSET,
        ..pacing::Settings::default()
    }
}

fn guard(name: &'static str, settings: &Settings, metrics: &Metrics, log: &Logger) -> Breaker {
    let upstream = &settings.upstream;
    let (metrics, log) = (metrics.clone(), log.clone());
    let listener = Arc::new(move |change: &breaker::Transition| {
        metrics.upstream().breaker_moved(name, label(change.to));
        warn!(log, "breaker moved"; "breaker" => name, "from" => change.from.as_str(),
            "to" => change.to.as_str(), "reason" => change.reason.as_str());
    });
    Breaker::new(name, limits(upstream), listener)
}

fn limits(upstream: &config::Upstream) -> breaker::Settings {
    breaker::Settings {
        failure_rate: f64::from(upstream.breaker_failure_percent) / 100.0,
        open_max: upstream.breaker_open.max(LONGEST_OPEN),
        probe_timeout: upstream.attempt_timeout.saturating_add(PROBE_GRACE),
        slow_start: true,
        ..breaker::Settings::new(upstream.breaker_failures, upstream.breaker_open)
    }
}

/// Starts the actor on its own thread.
pub(super) fn start(
    tables: &Arc<UpstreamTables>,
    supervisor: &Supervisor,
) -> std::io::Result<UpstreamClient> {
    let (tables, of_client) = (Arc::clone(tables), Arc::clone(tables));
    let actor = supervisor.start_on_own_thread(super::spec(NAME, 0, INBOX), move || {
        ApiClientActor::new(Arc::clone(&tables))
    })?;
    Ok(UpstreamClient::new(actor, of_client))
}

/// What a query that does not say gets.
pub(super) fn target(settings: &Settings) -> Target {
    let upstream = &settings.upstream;
    Target {
        currency: Currency::requestable(&upstream.currency).unwrap_or(Currency::USD),
        language: Language::parse(&upstream.language).unwrap_or(Language::EN),
        ship_to: None,
        tracking_id: upstream.tracking_id.clone(),
    }
}
