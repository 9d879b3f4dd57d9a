//! Reading the configuration again: what each room takes over of it while it runs.
//!
//! Owns: whom a reload tells, what is logged and counted of it. A setting that changes here is marked `live()`
//! where it is declared. Refuses a configuration with any mistake, as a whole. Nothing waits for a
//! neighbour: requests in flight go on with what they have begun with.

use std::sync::Arc;
use std::time::Duration;

use slog::{info, warn};

use super::service::Service;
use super::settings::Features;
use super::state::Shared;
use crate::cache::{CacheSettings, LongestLife};
use crate::config::{Environment, Mistakes, Reloaded, Settings};
use crate::limits::Limits;

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
        self.settings.features.set(settings.of::<Features>());
        self.services.iter().for_each(|service| service.take_over(settings));
        self.origins.iter().for_each(|origin| origin.take_over(settings));
        self.longest.raise(longest_life(&settings.of(), &self.services));
    }
}

/// The longest time that anything in the cache is usable under these settings, jitter included.
fn longest_life(cache: &CacheSettings, services: &[Arc<dyn Service>]) -> Duration {
    let ttls = services.iter().map(|service| service.longest_ttl());
    ttls.fold(cache.default_ttl, Duration::max).saturating_mul(2).saturating_add(cache.stale)
}

/// The same, to be raised by a reload.
pub fn longest(cache: &CacheSettings, services: &[Arc<dyn Service>]) -> LongestLife {
    let longest = LongestLife::default();
    longest.raise(longest_life(cache, services));
    longest
}
