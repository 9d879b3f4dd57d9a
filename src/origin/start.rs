//! An upstream from its settings: credentials, bounds, and the actor that calls it.
//!
//! Owns: turning settings into pacing, retry, breaker and concurrency. Fails only when the actor's
//! thread cannot be started; whether the upstream answers is found out by its breakers.

use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, warn};

use super::actor::{ApiClientActor, NAME};
use super::attempt::Policy;
use super::concurrency::{self, Slots};
use super::credentials::{Credential, Credentials};
use super::dns_cache::DnsCache;
use super::health::CredentialHealth;
use super::pacing::{self, Pacing};
use super::settings::{BreakerSettings, RetrySettings, UpstreamSettings};
use super::state::OriginState;
use super::transport::Wire;
use super::{Origin, OriginClient};
use crate::clock;
use crate::config::{Current, Settings};
use crate::metrics::{Metrics, Set};
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::{self, Breaker};
use crate::resilience::retry_budget::RetryBudget;
use crate::supervision::{Spec, Supervisor};

/// Longest look-up of the gateway's name; then its last address is used, if there is one.
const DNS_TIMEOUT: Duration = Duration::from_secs(1);
/// The 64 calls that may be under way, and some more: connections of calls that were cut are still closing.
const CONNECTIONS: usize = 72;
const INBOX: usize = 1_024;
/// Longest time the upstream is left alone before it is probed again: stale answers bridge the time,
/// but should not do so long after it is well.
const LONGEST_OPEN: Duration = Duration::from_secs(60);
/// A probe without an outcome for so long beyond its time is lost.
const PROBE_GRACE: Duration = Duration::from_secs(1);

/// One credential that an upstream knows us by, and the upstream's language as spoken with it.
#[derive(Debug)]
pub struct Identity<O> {
    /// Its name in labels, logs and paths; also its breaker's. The first one names the upstream.
    pub name: &'static str,
    pub id: String,
    pub origin: O,
}

impl<O> Identity<O> {
    pub fn only(name: &'static str, origin: O) -> Self {
        Self { name, id: name.to_owned(), origin }
    }
}

/// What the settings and the process give to every upstream.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    pub settings: &'a Settings,
    pub request_timeout: Duration,
    pub metrics: &'a Metrics,
    pub log: &'a Logger,
    pub supervisor: &'a Supervisor,
}

impl Environment<'_> {
    /// Starts the actor of the `instance`-th upstream on a thread of its own. A simulated upstream is
    /// paced only where a setting asks for it.
    pub fn start<O: Origin>(
        &self,
        instance: usize,
        identities: Vec<Identity<O>>,
        is_simulated: bool,
    ) -> std::io::Result<OriginClient<O>> {
        let (credentials, origins): (Vec<_>, Vec<_>) = identities
            .into_iter()
            .map(|Identity { name, id, origin }| {
                let pacing = pacing::Settings {
                    day_offset: O::QUOTA_DAY_OFFSET,
                    ..self.settings.of::<UpstreamSettings>().pace(is_simulated)
                };
                self.metrics.words(Set::Accounts, [name]);
                self.metrics.words(Set::Breakers, [name]);
                let (breaker, pacing) = (self.breaker(name), Pacing::new(pacing));
                let health = CredentialHealth::default();
                (Credential { name, id, breaker, pacing, health }, origin)
            })
            .unzip();
        let state = Arc::new(self.state(credentials, is_simulated));
        let (of_actor, origins): (_, Arc<[O]>) = (Arc::clone(&state), origins.into());
        let spec = Spec::new(NAME, instance, INBOX);
        let actor = self.supervisor.start_on_own_thread(spec, move || {
            ApiClientActor::new(Arc::clone(&of_actor), Arc::clone(&origins))
        })?;
        Ok(OriginClient::new(actor, state))
    }

    fn state(&self, credentials: Vec<Credential>, is_simulated: bool) -> OriginState {
        let (upstream, retry): (UpstreamSettings, RetrySettings) =
            (self.settings.of(), self.settings.of());
        OriginState {
            is_simulated,
            credentials: Credentials::new(credentials),
            slots: Slots::new(concurrency(&upstream, self.request_timeout)),
            budget: RetryBudget::default(),
            retry: Current::new(policy(&retry)),
            wire: wire(),
            attempt_timeout: upstream.attempt_timeout,
            metrics: self.metrics.upstream.clone(),
            log: self.log.clone(),
            observer: self.supervisor.observer(),
        }
    }

    fn breaker(&self, name: &'static str) -> Breaker {
        let limits = limits(&self.settings.of(), &self.settings.of());
        let (metrics, log) = (self.metrics.clone(), self.log.clone());
        let listener = Arc::new(move |change: &breaker::Transition| {
            metrics.upstream.breakers.moved(name, change.to);
            warn!(log, "breaker moved"; "breaker" => name, "from" => change.from.as_str(),
                "to" => change.to.as_str(), "reason" => change.reason.as_str());
        });
        Breaker::new(name, limits, listener)
    }
}

impl OriginState {
    /// Pace, budget, retries and breakers as they are set from now on.
    pub fn take_over(&self, settings: &Settings) {
        let upstream: UpstreamSettings = settings.of();
        let (pacing, breaker) =
            (upstream.pace(self.is_simulated), limits(&settings.of(), &upstream));
        self.retry.set(policy(&settings.of()));
        for credential in self.credentials.iter() {
            credential.pacing.take_over(pacing, clock::monotonic());
            credential.breaker.take_over(breaker);
        }
    }
}

const fn policy(retry: &RetrySettings) -> Policy {
    let backoff = Backoff { first: retry.base_delay, longest: retry.max_delay };
    Policy { max_attempts: retry.max_attempts, backoff }
}

fn wire() -> Wire {
    Wire { connections: CONNECTIONS, dns: DnsCache::of_the_system(DNS_TIMEOUT), ..Wire::default() }
}

fn concurrency(upstream: &UpstreamSettings, request_timeout: Duration) -> concurrency::Settings {
    concurrency::Settings {
        longest: upstream.attempt_timeout.saturating_add(request_timeout),
        ..concurrency::Settings::default()
    }
}

fn limits(set: &BreakerSettings, upstream: &UpstreamSettings) -> breaker::Settings {
    breaker::Settings {
        open_max: set.open.max(LONGEST_OPEN),
        probe_timeout: upstream.attempt_timeout.saturating_add(PROBE_GRACE),
        slow_start: true,
        ..breaker::Settings::new(set.failures, set.open)
    }
}
