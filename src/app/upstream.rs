//! The upstream's state and its actor.
//!
//! Owns: turning settings into pacing, retry, breaker and credentials.

use std::sync::Arc;
use std::time::Duration;

use slog::warn;

use super::ServiceParts;
use crate::config::{self, Settings};
use crate::http::gauges::label;
use crate::origin::actor::{ApiClientActor, NAME};
use crate::origin::concurrency::{self, Slots};
use crate::origin::credentials::{Credential, Credentials};
use crate::origin::dns_cache::DnsCache;
use crate::origin::health::CredentialHealth;
use crate::origin::pacing::{self, Pacing};
use crate::origin::retry::Policy;
use crate::origin::state::OriginState;
use crate::origin::transport::Wire;
use crate::origin::{Origin, OriginClient};
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::{self, Breaker};
use crate::resilience::retry_budget::RetryBudget;
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

/// The names of credentials in labels, logs and paths, in the order of their settings.
const NAMES: [&str; 4] = ["upstream", "upstream_2", "upstream_3", "upstream_4"];

/// The state of the products' upstream, and AliExpress as each of the accounts speaks it.
pub(super) fn state(parts: &ServiceParts<'_>) -> (OriginState, Arc<[AliExpress]>) {
    let upstream = &parts.settings.upstream;
    let accounts = upstream.accounts.iter().enumerate();
    let origins: Arc<[_]> =
        accounts.map(|(place, account)| aliexpress(place, account, upstream)).collect();
    let credentials = NAMES.iter().zip(origins.iter());
    let credentials = credentials.map(|(name, origin)| credential(name, origin.id(), parts));
    (origin(credentials.collect(), parts), origins)
}

/// Who we are to an upstream, with the pace and the breaker of the settings.
pub(super) fn credential(name: &'static str, id: &str, parts: &ServiceParts<'_>) -> Credential {
    Credential {
        name,
        id: id.to_owned(),
        breaker: guard(name, parts),
        pacing: Pacing::new(pace(parts.settings)),
        health: CredentialHealth::default(),
    }
}

/// The state of an upstream with the bounds of the settings.
pub(super) fn origin(credentials: Vec<Credential>, parts: &ServiceParts<'_>) -> OriginState {
    let upstream = &parts.settings.upstream;
    OriginState {
        credentials: Credentials::new(credentials),
        slots: Slots::new(concurrency(parts.settings)),
        budget: RetryBudget::default(),
        retry: Policy {
            max_attempts: upstream.retry_max_attempts,
            backoff: Backoff {
                first: upstream.retry_base_delay,
                longest: upstream.retry_max_delay,
            },
            max_told_wait: TOLD_WAIT,
            least_attempt: LEAST_ATTEMPT,
        },
        wire: wire(parts.settings),
        attempt_timeout: upstream.attempt_timeout,
        metrics: parts.metrics.upstream().clone(),
        log: parts.log.clone(),
        observer: parts.supervisor.observer(),
    }
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
        dns: DnsCache::of_the_system(upstream.dns_timeout),
        ..Wire::default()
    }
}

fn concurrency(settings: &Settings) -> concurrency::Settings {
    let upstream = &settings.upstream;
    concurrency::Settings {
        most: upstream.concurrency,
        queue: upstream.queue,
        longest: upstream.attempt_timeout.saturating_add(settings.server.request_timeout),
    }
}

fn pace(settings: &Settings) -> pacing::Settings {
    let set = settings.upstream.pacing;
    pacing::Settings {
        rate: set.map(|pacing| pacing::Rate { per_second: pacing.per_second, burst: pacing.burst }),
        daily_budget: set.map(|pacing| pacing.daily_budget).filter(|budget| *budget > 0),
        max_queue: settings.upstream.queue,
        day_offset: QUOTA_DAY_OFFSET,
    }
}

fn guard(name: &'static str, parts: &ServiceParts<'_>) -> Breaker {
    let upstream = &parts.settings.upstream;
    let (metrics, log) = (parts.metrics.clone(), parts.log.clone());
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

/// Starts the actor on its own thread. There is one for each upstream.
pub(super) fn start<O: Origin>(
    instance: usize,
    state: &Arc<OriginState>,
    origins: &Arc<[O]>,
    supervisor: &Supervisor,
) -> std::io::Result<OriginClient<O>> {
    let (of_actor, origins) = (Arc::clone(state), Arc::clone(origins));
    let actor = supervisor.start_on_own_thread(super::spec(NAME, instance, INBOX), move || {
        ApiClientActor::new(Arc::clone(&of_actor), Arc::clone(&origins))
    })?;
    Ok(OriginClient::new(actor, Arc::clone(state)))
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
