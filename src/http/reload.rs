//! Reading the configuration again: what each room takes over of it while it runs.
//!
//! Owns: whom a reload tells, what is logged and counted of it. A setting that changes here is marked `live()`
//! where it is declared. Refuses a configuration with any mistake, as a whole. Nothing waits for a
//! neighbour: requests in flight go on with what they have begun with.

use slog::{info, warn};

use super::settings::Features;
use super::state::Shared;
use crate::cache::{CacheSettings, LongestLife};
use crate::config::{Environment, Mistakes, Reloaded, Settings};
use crate::limits::Limits;

use super::service::Service;
use std::sync::Arc;

impl Shared {
    /// Reads the configuration again and takes over what can change while running.
    ///
    /// # Errors
    /// Every mistake in it; nothing has changed then.
    pub fn reload(&self) -> Result<Reloaded, Mistakes> {
        let outcome =
            self.in_force.reload(&Environment::of_process(), |settings| self.take_over(settings));
        match &outcome {
            Ok(reloaded) => info!(self.log, "configuration read again"; "outcome" => %reloaded),
            Err(mistakes) => {
                warn!(self.log, "configuration not taken over"; "mistakes" => %mistakes);
            }
        }
        self.metrics.config.read(outcome.is_ok(), self.in_force.last_read().at);
        outcome
    }

    fn take_over(&self, settings: &Settings) {
        let limits: Limits = settings.of();
        self.accounts.take_over(&limits);
        self.abuse.take_over(&limits);
        self.connections.limit_clients(limits.enabled);
        self.features.set(settings.of::<Features>());
        self.services.iter().for_each(|service| service.take_over(settings));
        self.origins.iter().for_each(|origin| origin.take_over(settings));
        raise(&self.longest, &settings.of(), &self.services);
    }
}

/// The longest time that anything in the cache is usable under these settings, jitter included.
pub fn raise(longest: &LongestLife, cache: &CacheSettings, services: &[Arc<dyn Service>]) {
    let ttls = services.iter().map(|service| service.longest_ttl());
    let ttl = ttls.fold(cache.default_ttl, std::time::Duration::max);
    longest.raise(ttl.saturating_mul(2).saturating_add(cache.stale));
}
