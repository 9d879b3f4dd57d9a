//! The products service: search, details, categories, affiliate links and orders of AliExpress.
//!
//! Owns: what clients may ask, what the upstream is asked for it, and what is made of its answers.
//! Refuses: invalid input, naming every field and what is allowed. When the upstream is down the
//! cache answers; when neither can, the last resort does, or a typed failure goes to the client.
//!
//! | what | where |
//! |---|---|
//! | one endpoint | its file in `endpoints` |
//! | from a question through the cache to the upstream | `ask` |
//! | products: validation, score, choice | [`product`], `quality`, `ranking` |
//! | the upstream's protocol | [`aliexpress`] |
//! | a stand-in for the upstream | [`simulator`], over a [`catalogue`] |

pub mod aliexpress;
mod ask;
pub mod catalogue;
pub mod dropped;
mod endpoints;
#[cfg(test)]
mod fixtures;
pub mod last_resort;
pub mod product;
mod quality;
mod ranking;
pub mod settings;
pub mod simulator;
pub mod start;
mod tags;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::ServiceConfig;
use serde_json::{Map, Value};
use slog::Logger;

use crate::cache::CacheSettings;
use crate::cache::{CacheKey, Plan};
use crate::config::Group;
use crate::http::forms::{Check, digits_of, shown};
use crate::http::service::{Component, Health, Service, Surface, component};
use crate::http::settings::Features;
use crate::metrics::Counters;
use aliexpress::AliExpressClient;
use aliexpress::methods::Target;
use last_resort::LastResort;
use settings::{AliExpressSettings, ProductSettings};

const NAME: &str = "products";

/// What is known of the service before it is built.
pub const SURFACE: Surface = Surface {
    name: NAME,
    routes: endpoints::ROUTES,
    settings: &[Group::of::<AliExpressSettings>(), Group::of::<ProductSettings>()],
    tags: &[
        ("Products", "Search and details"),
        ("Categories", "What products are sorted under"),
        ("Affiliate links", "Addresses that earn a commission"),
        ("Orders", "What was earned"),
    ],
};

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What a query that does not say gets.
    pub target: Target,
    pub cache: CacheSettings,
    /// Lifetimes by kind.
    pub lifetimes: ProductSettings,
    pub features: Features,
    /// What to answer from when everything else has failed.
    pub last_resort: Option<Arc<LastResort>>,
    /// Longest time of a load that no client waits for.
    pub within: Duration,
}

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Products {
    upstream: AliExpressClient,
    /// Products of the upstream that failed validation, by reason.
    dropped: Counters<1>,
    settings: Arc<Setup>,
    log: Logger,
    /// The simulator inside, where there is one.
    simulator: Option<ServerHandle>,
}

impl Products {
    fn defaults(&self) -> &Target {
        &self.settings.target
    }
}

impl Service for Products {
    fn surface(&self) -> &'static Surface {
        const { &SURFACE }
    }

    fn install(&self, config: &mut ServiceConfig) {
        config.app_data(self.clone());
        endpoints::install(config);
    }

    fn operations(&self) -> Vec<&'static str> {
        endpoints::RESTORABLE.iter().map(ask::Restorable::operation).collect()
    }

    fn plan_for(&self, key: &CacheKey, question: &str) -> Option<Plan> {
        self.restore(endpoints::RESTORABLE, key, question)
    }

    fn longest_ttl(&self) -> Duration {
        self.settings.lifetimes.longest_ttl()
    }

    fn is_cut_off(&self) -> bool {
        self.upstream.is_down()
    }

    fn health(&self) -> Vec<Component> {
        let detail = self.settings.last_resort.as_ref().map_or_else(
            || "not configured".to_owned(),
            |last| format!("{} products of {}", last.products(), last.source()),
        );
        vec![component("last_resort", Health::Healthy, detail)]
    }

    fn status(&self) -> Map<String, Value> {
        let products = self.settings.last_resort.as_ref().map(|last| last.products().into());
        products.map(|products| ("last_resort_products".to_owned(), products)).into_iter().collect()
    }

    fn stop(&self) {
        if let Some(simulator) = &self.simulator {
            // The server hears of it by this call; nobody has to wait for its end.
            drop(simulator.stop(false));
        }
    }
}

/// Reads one id, noting a mistake in `check`.
fn id_in(check: &mut Check, field: &str, text: &str) -> Option<u64> {
    let id = digits_of(text).filter(|id| *id > 0);
    if id.is_none() {
        let problem = format!("`{}` is not an id", shown(text));
        check.refuse(field, problem, "1 to 20 digits, at most 18446744073709551615, not 0");
    }
    id
}

/// A length as a count.
fn count_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
