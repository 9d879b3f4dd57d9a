//! The products service: search, details, categories, affiliate links and orders of AliExpress.
//!
//! Owns: what clients may ask, what the upstream is asked for it, and what is made of its answers.
//! Refuses: invalid input, naming every field and what is allowed. When the upstream is down the
//! cache answers; when neither can, the last resort does, or a typed failure goes to the client.
//!
//! | what | where |
//! |---|---|
//! | one endpoint | its file in `endpoints` |
//! | from a question through the cache to the upstream | `question`, `ask`, `load` |
//! | products: validation, score, choice | `reading`, [`product`], `ranking` |
//! | the upstream's protocol | [`aliexpress`] |
//! | a stand-in for the upstream | [`simulator`], over a [`catalogue`] |

mod address;
pub mod aliexpress;
mod ask;
pub mod catalogue;
pub mod endpoints;
#[cfg(test)]
mod fixtures;
mod forms;
pub mod last_resort;
mod load;
pub mod product;
mod question;
mod ranking;
pub mod reading;
mod search_query;
pub mod settings;
pub mod simulator;
pub mod start;
#[cfg(test)]
mod tests;

use std::time::Duration;

use actix_web::web::ServiceConfig;
use serde_json::{Map, Value};

use crate::cache::{CacheKey, Plan};
use crate::config::{Group, Settings};
use crate::http::service::{Component, Health, Service, Simulated, Surface, component};

use ask::Products;
use settings::{AliExpressSettings, ProductSettings, Ttls};
use simulator::Control;
use start::identities;

pub const SURFACE: Surface = Surface {
    name: question::SERVICE,
    routes: endpoints::ROUTES,
    operations: question::OPERATIONS,
    about: question::ABOUT,
    example: "/api/products/search?keywords=desk+lamp",
    settings: &[Group::of::<AliExpressSettings>(), Group::of::<ProductSettings>()],
    tags: &[
        ("Products", "Search and details"),
        ("Categories", "What products are sorted under"),
        ("Affiliate links", "Addresses that earn a commission"),
        ("Orders", "What was earned"),
    ],
};

impl Simulated for Control {
    fn faults(&self) -> Value {
        Self::faults(self)
    }

    fn replace_faults(&self, rules: &Value) -> Result<(), Vec<String>> {
        Self::replace_faults(self, rules)
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

    fn plan_for(&self, key: &CacheKey, question: &str) -> Option<Plan> {
        self.restore(endpoints::RESTORABLE, key, question)
    }

    fn take_over(&self, settings: &Settings) {
        self.ttls.set(Ttls::of(settings));
        self.features.set(settings.of());
        let accounts: AliExpressSettings = settings.of();
        // The simulator inside has an account of its own.
        if self.simulator.is_none() && accounts != self.accounts.get() {
            self.upstream.take_over(identities(&accounts), settings, &self.metrics);
            self.accounts.set(accounts);
        }
    }

    fn longest_ttl(&self) -> Duration {
        self.ttls.with(|ttls| ttls.kinds.longest_ttl())
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

    fn simulator(&self) -> Option<&dyn Simulated> {
        self.simulator.as_ref().map(|simulator| -> &dyn Simulated { &simulator.control })
    }

    fn stop(&self) {
        if let Some(simulator) = &self.simulator {
            // The server hears of it by this call; nobody has to wait for its end.
            drop(simulator.server.stop(false));
        }
    }
}
