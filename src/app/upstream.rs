//! The upstream's state and its actor.
//!
//! Owns: turning settings into pacing, retry, breaker and credentials.

use std::sync::Arc;
use std::time::Duration;

use slog::warn;

use super::ServiceParts;
use crate::http::gauges::label;
use crate::http::settings::Server;
use crate::origin::actor::{ApiClientActor, NAME};
use crate::origin::concurrency::{self, Slots};
use crate::origin::credentials::{Credential, Credentials};
use crate::origin::dns_cache::DnsCache;
use crate::origin::health::CredentialHealth;
use crate::origin::pacing::{self, Pacing};
use crate::origin::retry::Policy;
use crate::origin::settings::{BreakerSettings, RetrySettings, UpstreamSettings};
use crate::origin::state::OriginState;
use crate::origin::transport::Wire;
use crate::origin::{Origin, OriginClient};
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::{self, Breaker};
use crate::resilience::retry_budget::RetryBudget;
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::aliexpress::terms::{Currency, Language};
use crate::services::products::aliexpress::{AliExpress, QUOTA_DAY_OFFSET};
use crate::services::products::settings::{self, AliExpressSettings};
use crate::supervision::Supervisor;

/// Longest look-up of the gateway's name; then its last address is used, if there is one.
const DNS_TIMEOUT: Duration = Duration::from_secs(1);
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
pub(super) fn state(
    set: &AliExpressSettings,
    parts: &ServiceParts<'_>,
) -> (OriginState, Arc<[AliExpress]>) {
    let accounts = set.accounts();
    let accounts = accounts.iter().enumerate();
    let origins: Arc<[_]> =
        accounts.map(|(place, account)| aliexpress(place, account, set)).collect();
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
        pacing: Pacing::new(pace(&parts.settings.of(), parts.is_paced)),
        health: CredentialHealth::default(),
    }
}

/// The state of an upstream with the bounds of the settings.
pub(super) fn origin(credentials: Vec<Credential>, parts: &ServiceParts<'_>) -> OriginState {
    let upstream: UpstreamSettings = parts.settings.of();
    let retry: RetrySettings = parts.settings.of();
    let request_timeout = parts.settings.of::<Server>().request_timeout;
    OriginState {
        credentials: Credentials::new(credentials),
        slots: Slots::new(concurrency(&upstream, request_timeout)),
        budget: RetryBudget::default(),
        retry: Policy {
            max_attempts: retry.max_attempts,
            backoff: Backoff { first: retry.base_delay, longest: retry.max_delay },
            max_told_wait: TOLD_WAIT,
            least_attempt: LEAST_ATTEMPT,
        },
        wire: wire(&upstream),
        attempt_timeout: upstream.attempt_timeout,
        metrics: parts.metrics.upstream().clone(),
        log: parts.log.clone(),
        observer: parts.supervisor.observer(),
    }
}

fn aliexpress(place: usize, account: &settings::Account, of: &AliExpressSettings) -> AliExpress {
    let url = of.gateway_url.clone();
    let own = account.tracking_id.clone();
    AliExpress::new(account.credentials.clone(), url).with_tracking_id(own).at(place)
}

fn wire(upstream: &UpstreamSettings) -> Wire {
    Wire {
        connections: usize::try_from(upstream.concurrency)
            .unwrap_or(usize::MAX)
            .saturating_add(CONNECTIONS_MORE),
        dns: DnsCache::of_the_system(DNS_TIMEOUT),
        ..Wire::default()
    }
}

fn concurrency(upstream: &UpstreamSettings, request_timeout: Duration) -> concurrency::Settings {
    concurrency::Settings {
        most: upstream.concurrency,
        longest: upstream.attempt_timeout.saturating_add(request_timeout),
        ..concurrency::Settings::default()
    }
}

fn pace(upstream: &UpstreamSettings, is_paced: bool) -> pacing::Settings {
    let set = upstream.pace(!is_paced);
    pacing::Settings {
        rate: set.map(|pacing| pacing::Rate { per_second: pacing.per_second, burst: pacing.burst }),
        daily_budget: set.map(|pacing| pacing.daily_budget).filter(|budget| *budget > 0),
        day_offset: QUOTA_DAY_OFFSET,
        ..pacing::Settings::default()
    }
}

fn guard(name: &'static str, parts: &ServiceParts<'_>) -> Breaker {
    let limits = limits(&parts.settings.of(), &parts.settings.of());
    let (metrics, log) = (parts.metrics.clone(), parts.log.clone());
    let listener = Arc::new(move |change: &breaker::Transition| {
        metrics.upstream().breaker_moved(name, label(change.to));
        warn!(log, "breaker moved"; "breaker" => name, "from" => change.from.as_str(),
            "to" => change.to.as_str(), "reason" => change.reason.as_str());
    });
    Breaker::new(name, limits, listener)
}

fn limits(set: &BreakerSettings, upstream: &UpstreamSettings) -> breaker::Settings {
    breaker::Settings {
        failure_rate: f64::from(set.failure_percent) / 100.0,
        open_max: set.open.max(LONGEST_OPEN),
        probe_timeout: upstream.attempt_timeout.saturating_add(PROBE_GRACE),
        slow_start: true,
        ..breaker::Settings::new(set.failures, set.open)
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
pub(super) fn target(upstream: &AliExpressSettings) -> Target {
    Target {
        currency: Currency::requestable(&upstream.currency).unwrap_or(Currency::USD),
        language: Language::parse(&upstream.language).unwrap_or(Language::EN),
        ship_to: None,
        tracking_id: upstream.tracking_id.clone(),
    }
}
