//! The products' service from its settings: accounts, simulator inside, last resort.
//!
//! Owns: what stands behind the service. Without credentials it starts a simulator on a port of its
//! own and calls that with the demonstration account; the log and every answer say so. Refuses: a
//! catalogue of the last resort that cannot be read or has no good line; an operator who asked for
//! one must not believe that there is one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use slog::{Logger, info, warn};

use super::aliexpress::repair::Repair;
use super::aliexpress::{AliExpress, AliExpressClient, Request, Target};
use super::ask::{Inside, Products};
use super::catalogue::LoadReport;
use super::endpoints;
use super::last_resort::LastResort;
use super::product::DropReason;
use super::settings::{AliExpressSettings, ProductSettings, Setup, Ttls};
use super::simulator::{self, DEMO_APP_KEY, DEMO_APP_SECRET, DEMO_TRACKING_ID, SimulatorSettings};
use crate::clock;
use crate::config::{Current, Secret};
use crate::http::service::{Service, ServiceParts, StartFailure, Tried};
use crate::http::settings::{Chaos, CurrentFeatures, Server};
use crate::metrics::{Set, Words};
use crate::origin::{Call, Identity, Priority};

/// The names of the accounts in labels, logs and paths, in the order of their settings.
const NAMES: [&str; 4] = ["upstream", "upstream_2", "upstream_3", "upstream_4"];

/// Builds the service. Blocks while it reads the catalogue of the last resort.
///
/// # Errors
/// The simulator inside cannot be started, the catalogue cannot be read, or no thread can be started.
pub fn start(parts: &ServiceParts<'_>) -> Result<Arc<dyn Service>, StartFailure> {
    let mut account: AliExpressSettings = parts.settings.of();
    let last_resort = last_resort(&parts.settings.of(), parts.log)?;
    let simulator = account.accounts().is_empty();
    let simulator = simulator.then(|| start_simulator(&mut account, parts)).transpose()?;
    let setup = Setup {
        target: Target {
            currency: account.currency,
            language: account.language,
            ship_to: None,
            tracking_id: account.tracking_id.clone(),
        },
        last_resort,
        within: parts.request_timeout,
    };
    let upstream = upstream(&account, parts, simulator.is_some())?;
    let help = "Products of the upstream that failed validation";
    let words = Words::these(DropReason::ALL.map(DropReason::label));
    let dropped = parts.metrics.service_counter("products_dropped", ("reason", words), help);
    let help = "Faults of the upstream's texts that were repaired";
    let words = Words::these(Repair::ALL.map(Repair::label));
    let repaired = parts.metrics.service_counter("upstream_repairs", ("kind", words), help);
    parts.metrics.words(Set::Operations, endpoints::METHODS.map(|method| method.name));
    let (settings, log) = (Arc::new(setup), parts.log.clone());
    let ttls = Arc::new(Current::new(Ttls::of(parts.settings)));
    let features = Arc::new(CurrentFeatures::new(parts.settings.of()));
    let (accounts, metrics) = (Arc::new(Current::new(account)), parts.metrics.clone());
    Ok(Arc::new(Products {
        upstream,
        accounts,
        metrics,
        dropped,
        repaired,
        settings,
        ttls,
        features,
        log,
        simulator,
    }))
}

/// Tries each account with one call: a search under its tracking id, which shows whether that is known; without
/// one the list of categories.
pub fn connect<'a>(parts: &'a ServiceParts<'a>) -> LocalBoxFuture<'a, Vec<Tried>> {
    Box::pin(async move {
        let mut tried = Vec::new();
        let settings: AliExpressSettings = parts.settings.of();
        for (index, identity) in identities(&settings).into_iter().enumerate() {
            let what = format!("account {}", identity.name);
            let outcome = match parts.origin(vec![identity], false) {
                Ok(client) => answers(&client, &settings, parts.request_timeout).await,
                Err(error) => Err(error.to_string()),
            };
            tried.push(Tried {
                what,
                setting: if index == 0 { "ALIEXPRESS_APP_KEY" } else { "ALIEXPRESS_ACCOUNTS_JSON" },
                outcome,
                remedy: "look at key, secret, ALIEXPRESS_TRACKING_ID and ALIEXPRESS_GATEWAY_URL, and whether this machine may reach it",
            });
        }
        tried
    })
}

async fn answers(
    client: &AliExpressClient,
    settings: &AliExpressSettings,
    within: Duration,
) -> Result<String, String> {
    let request = match &settings.tracking_id {
        Some(id) => Request::of(&endpoints::search::METHOD)
            .set("keywords", "phone")
            .set("page_no", 1)
            .set("page_size", 1)
            .set("tracking_id", id),
        None => Request::of(&endpoints::categories::METHOD),
    };
    let answer =
        client.call(Call::new(request, Priority::Client, clock::monotonic() + within)).await;
    answer.map(|_| "answered".to_owned()).map_err(|failure| failure.to_string())
}

fn upstream(
    of: &AliExpressSettings,
    parts: &ServiceParts<'_>,
    is_simulated: bool,
) -> std::io::Result<AliExpressClient> {
    parts.origin(identities(of), is_simulated)
}

pub(super) fn identities(of: &AliExpressSettings) -> Vec<Identity<AliExpress>> {
    let accounts = of.accounts();
    let identity = |(index, name): (usize, &'static str)| {
        let account = accounts.get(index)?;
        let origin = AliExpress::new(account.credentials.clone(), of.gateway_url.clone())
            .with_tracking_id(account.tracking_id.clone())
            .traced(of.propagate_trace)
            .at(index);
        Some(Identity { name, id: origin.id().to_owned(), origin })
    };
    NAMES.into_iter().enumerate().filter_map(identity).collect()
}

/// Starts the simulator inside and points the settings at it.
fn start_simulator(
    settings: &mut AliExpressSettings,
    parts: &ServiceParts<'_>,
) -> Result<Inside, StartFailure> {
    let tracking_id = settings.tracking_id.clone().unwrap_or_else(|| DEMO_TRACKING_ID.to_owned());
    let account = simulator::Credentials {
        tracking_id: tracking_id.clone(),
        ..simulator::Credentials::demonstration()
    };
    let running = simulator::start(SimulatorSettings {
        credentials: vec![account],
        // Its address is on this host, and nobody is asked for a key there.
        control: parts.settings.of::<Chaos>().enabled,
        pictures: pictures(&parts.settings.of()),
        ..SimulatorSettings::default()
    })?;
    warn!(parts.log, "no credentials are set: answers come from the simulator inside";
        "address" => %running.address, "catalogue" => %running.report);
    let server = running.server;
    parts.spawn("simulator", async move {
        // A server that ends by itself was told to stop.
        drop(server.await);
    });
    settings.gateway_url = format!("http://{}/sync", running.address);
    settings.tracking_id = Some(tracking_id);
    settings.app_key = Some(DEMO_APP_KEY.to_owned());
    settings.app_secret = Some(Secret::new(DEMO_APP_SECRET));
    Ok(Inside { server: running.handle, control: running.control })
}

/// Where clients reach this gateway, which shows the simulator's pictures; `None` where that is not known
/// before it listens: the simulator's own address has to do then, until the process ends.
fn pictures(server: &Server) -> Option<String> {
    let is_known = server.port != 0 || server.public_url.is_some();
    is_known.then(|| server.reached_at(server.port))
}

fn last_resort(
    settings: &ProductSettings,
    log: &Logger,
) -> Result<Option<Arc<LastResort>>, StartFailure> {
    let Some(path) = &settings.last_resort_catalog else { return Ok(None) };
    let (last_resort, report) =
        LastResort::load(path).map_err(|error| format!("LAST_RESORT_CATALOG: {error}"))?;
    info!(log, "last resort is loaded"; "catalogue" => %report);
    log_skipped(&report, log);
    Ok(Some(Arc::new(last_resort)))
}

/// Names the first bad lines of a catalogue in the log.
pub(crate) fn log_skipped(report: &LoadReport, log: &Logger) {
    for skipped in &report.first_skipped {
        warn!(log, "catalogue line skipped"; "line" => skipped.number,
            "reason" => skipped.reason, "detail" => &skipped.detail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_where_clients_reach_the_gateway_again_after_a_restart() {
        let shown = |host: &str, port, public_url: Option<&str>| {
            let host = host.parse().unwrap();
            let public_url = public_url.map(str::to_owned);
            pictures(&Server { host, port, public_url, ..Server::default() })
        };
        for (host, port, public_url, expected) in [
            ("127.0.0.1", 8080, None, Some("http://127.0.0.1:8080")),
            ("0.0.0.0", 80, None, Some("http://127.0.0.1:80")),
            ("::1", 8080, None, Some("http://[::1]:8080")),
            ("0.0.0.0", 80, Some("https://api.example.com/"), Some("https://api.example.com")),
            ("127.0.0.1", 0, None, None),
            ("127.0.0.1", 0, Some("https://api.example.com"), Some("https://api.example.com")),
        ] {
            assert_eq!(shown(host, port, public_url).as_deref(), expected, "{host} {port}");
        }
    }
}
