//! An upstream from its settings: credentials, bounds, and the actor that calls it.
//!
//! Owns: turning settings into pacing, retry, breaker and concurrency. Fails only when the actor's
//! thread cannot be started; whether the upstream answers is found out by its breakers.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use slog::{Logger, info, warn};

use super::actor::{ApiClientActor, NAME};
use super::attempt::Policy;
use super::concurrency::{self, ConcurrencyLimiter};
use super::credentials::{Credential, Credentials, Roster};
use super::dns_cache::DnsCache;
use super::pacing::shared::Sharing;
use super::pacing::{self, Pacing};
use super::settings::{BreakerSettings, RetrySettings, UpstreamSettings};
use super::state::OriginState;
use super::transport::Wire;
use super::{Origin, OriginClient};
use crate::clock;
use crate::config::{Current, Settings};
use crate::metrics::{Metrics, Set};
use crate::resilience::backoff::Backoff;
use crate::resilience::breaker::{self, Breaker, State};
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
#[derive(Clone)]
pub struct Environment<'a> {
    pub settings: &'a Settings,
    pub request_timeout: Duration,
    pub metrics: &'a Metrics,
    pub log: &'a Logger,
    pub supervisor: &'a Supervisor,
    /// The other instances, if there may be any.
    pub sharing: Option<Sharing>,
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
        let made = |Identity { name, id, origin }: Identity<O>| {
            (self.credential::<O>(name, id, is_simulated), origin)
        };
        let (credentials, origins): (Vec<_>, Vec<_>) = identities.into_iter().map(made).unzip();
        let credentials = Arc::new(Credentials::new(credentials));
        let roster = Roster { credentials: Arc::clone(&credentials), origins: origins.into() };
        let (state, roster) =
            (Arc::new(self.state(credentials, is_simulated)), Arc::new(Current::new(roster)));
        let (of_actor, all) = (Arc::clone(&state), Arc::clone(&roster));
        let spec = Spec::new(NAME, instance, INBOX);
        let actor = self.supervisor.start_on_own_thread(spec, move || {
            ApiClientActor::new(Arc::clone(&of_actor), Arc::clone(&all))
        })?;
        Ok(OriginClient::new(actor, state, roster))
    }

    fn state(&self, credentials: Arc<Credentials>, is_simulated: bool) -> OriginState {
        let (upstream, retry): (UpstreamSettings, RetrySettings) =
            (self.settings.of(), self.settings.of());
        OriginState {
            name: credentials.iter().next().map_or("upstream", |first| first.name),
            is_simulated,
            credentials: Current::new(credentials),
            slots: ConcurrencyLimiter::new(concurrency(&upstream, self.request_timeout)),
            budget: RetryBudget::default(),
            retry: Current::new(policy(&retry)),
            sharing: self.sharing.clone(),
            wire: wire(),
            attempt_timeout: upstream.attempt_timeout,
            metrics: self.metrics.upstream.clone(),
            log: self.log.clone(),
            observer: self.supervisor.observer(),
        }
    }

    fn credential<O: Origin>(&self, name: &'static str, id: String, simulated: bool) -> Credential {
        credential::<O>(
            (self.settings, self.metrics, self.log),
            (name, id),
            simulated,
            self.sharing.as_ref(),
        )
    }
}

/// A credential that has used nothing yet.
fn credential<O: Origin>(
    (settings, metrics, log): (&Settings, &Metrics, &Logger),
    (name, id): (&'static str, String),
    is_simulated: bool,
    sharing: Option<&Sharing>,
) -> Credential {
    let upstream: UpstreamSettings = settings.of();
    let paced = pacing::Settings {
        day_offset: O::QUOTA_DAY_OFFSET,
        instances: sharing.map_or(NonZeroU32::MIN, |sharing| sharing.instances),
        ..upstream.pace(is_simulated)
    };
    metrics.words(Set::Accounts, [name]);
    metrics.words(Set::Breakers, [name]);
    let (breakers, log) = (metrics.upstream.breakers.clone(), log.clone());
    let listener = Arc::new(move |change: &breaker::Transition| {
        breakers.moved(name, change.to);
        warn!(log, "breaker moved"; "breaker" => name, "from" => change.from.as_str(),
            "to" => change.to.as_str(), "reason" => change.reason.as_str());
    });
    let breaker = Breaker::new(name, limits(&settings.of(), &upstream), listener);
    Credential { name, id, breaker, pacing: Pacing::new(paced), health: Arc::default() }
}

impl<O: Origin> OriginClient<O> {
    /// Other accounts from now on. One that was there before, by its id, keeps its name and what it has used,
    /// and gets another chance where its configuration was refused. A call under way ends with those that
    /// it began with.
    pub fn take_over(&self, identities: Vec<Identity<O>>, settings: &Settings, metrics: &Metrics) {
        let (state, before) = (self.state(), self.state().credentials.get());
        let is_kept = |one: &Credential| identities.iter().any(|other| other.id == one.id);
        let kept: Vec<_> = before.iter().filter(|one| is_kept(one)).cloned().collect();
        let names: Vec<_> = identities.iter().map(|one| one.name).collect();
        let mut free = names.into_iter().filter(|name| kept.iter().all(|one| one.name != *name));
        let (mut credentials, mut origins) = (Vec::new(), Vec::new());
        for Identity { id, origin, .. } in identities {
            let known = kept.iter().find(|one| one.id == id).cloned();
            let known = known.inspect(|one| state.try_again(one));
            // There are as many free names as there are new ones.
            let made = || {
                let means = (settings, metrics, &state.log);
                let (who, sharing) = ((free.next()?, id), state.sharing.as_ref());
                Some(credential::<O>(means, who, state.is_simulated, sharing))
            };
            let Some(one) = known.or_else(made) else { continue };
            credentials.push(one);
            origins.push(origin);
        }
        let names: Vec<_> = credentials.iter().map(|one| one.name).collect();
        for gone in before.iter().filter(|one| !names.contains(&one.name)) {
            // Nobody is to wait for a breaker that is no more.
            state.metrics.breakers.state.at([gone.name]).set(State::Closed.gauge());
        }
        info!(state.log, "the accounts of the upstream are others"; "accounts" => names.join(", "));
        let credentials = Arc::new(Credentials::new(credentials));
        self.roster.set(Roster { credentials: Arc::clone(&credentials), origins: origins.into() });
        state.credentials.set(credentials);
    }
}

impl OriginState {
    /// Pace, budget, retries and breakers as they are set from now on.
    pub fn take_over(&self, settings: &Settings) {
        let upstream: UpstreamSettings = settings.of();
        let (pacing, breaker) =
            (upstream.pace(self.is_simulated), limits(&settings.of(), &upstream));
        self.retry.set(policy(&settings.of()));
        for credential in self.credentials.get().iter() {
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
