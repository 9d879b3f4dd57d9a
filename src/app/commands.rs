//! The commands of the binary.
//!
//! Owns: what each command does, the signals that an operator sends, and which accounts may call the
//! simulator that runs alone. A command that cannot be done says why.

use std::net::SocketAddr;
use std::path::PathBuf;

use slog::{Logger, error, info, warn};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::connect::connect;
use super::demo::shoppers::{Counted, Shoppers};
use super::demo::{Demo, refused};
use super::{Gateway, SCHEMA, SERVICES};
use crate::cli::{Commands, Failure, Simulation};
use crate::clock;
use crate::config::{InForce, Mistakes, Schema, Settings, Tried};
use crate::console;
use crate::database::{DatabaseSettings, Event, Store, revert};
use crate::http::connection::WANTED;
use crate::http::connection::descriptor_limit::ask_for_descriptors;
use crate::http::openapi::{self, Stated};
use crate::http::settings::{Features, Server};
use crate::services::products::settings::{Account, AliExpressSettings};
use crate::services::products::simulator::{self, DEMO_TRACKING_ID, SimulatorSettings};
use crate::services::products::start::log_skipped;
use crate::telemetry::{self, LogSettings, Telemetry};

/// The commands of the binary.
#[derive(Debug, Clone, Copy)]
pub struct Breakwater;

impl Commands for Breakwater {
    fn schema(&self) -> Schema {
        SCHEMA
    }

    fn address(&self, settings: &Settings) -> SocketAddr {
        let server: Server = settings.of();
        (server.host, server.port).into()
    }

    fn serve(&self, settings: Settings, file: Option<PathBuf>) -> Result<(), Failure> {
        let server: Server = settings.of();
        run(
            &settings.clone(),
            |take_over| InForce::new(file, settings, take_over),
            async |gateway, log| {
                let inside = gateway.inside.map(|inside| {
                    info!(log, "metrics, health and admin have an address of their own"; "address" => %inside);
                    format!("metrics, health and the admin page on http://{inside}/admin")
                });
                let address = gateway.address;
                let reached = server.reached_at(address.port());
                let inside = inside.unwrap_or_else(|| format!("the admin page at {reached}/admin"));
                let line =
                    format!("listening on http://{address} - start at {reached}/docs; {inside}");
                // A full disk under standard output is no reason to serve nobody.
                if let Err(error) = console::say(&line) {
                    warn!(log, "the start cannot be told on standard output"; "error" => %error, "address" => %address);
                }
                std::future::pending().await
            },
        )
    }

    fn demo(&self, settings: Result<Settings, Mistakes>) -> Result<(), Failure> {
        let demo = Demo::new(&settings.map_err(refused)?)?;
        let counted = Counted::default();
        run(
            &demo.settings,
            |_| InForce::fixed(demo.settings.clone()),
            async |gateway, log| {
                let address = gateway.address;
                console::say(&format!("listening on http://{address}"))?;
                let greet = || {
                    let token = gateway.login_token()?;
                    Ok(console::say(&demo.greeting(&format!("http://{address}"), &token))?)
                };
                Shoppers::of(address, &counted, log).run(greet).await
            },
        )?;
        Ok(console::say(&counted.to_string())?)
    }

    fn connect(&self, settings: Settings) -> Vec<Tried> {
        actix_rt::System::new().block_on(connect(&settings, SERVICES))
    }

    fn simulate(&self, settings: Settings, simulation: Simulation) -> Result<(), Failure> {
        let telemetry = start_log(&settings)?;
        let log = telemetry.logger().clone();
        actix_rt::System::new().block_on(alone(&settings, simulation, &log))
    }

    fn migrate(&self, settings: Settings, down: bool) -> Result<String, Failure> {
        let settings: DatabaseSettings = settings.of();
        let address = settings.address.clone();
        if down {
            let step = revert(&address)?;
            let step = step.unwrap_or_else(|| "no step: there is none to take back".to_owned());
            return Ok(format!("{address}: took back {step}"));
        }
        let (store, events) = Store::open(settings, clock::monotonic(), clock::now());
        drop(store.lend()?);
        let kept = events.iter().find_map(|event| match event {
            Event::Quarantined(kept) => {
                Some(format!("; the old file was no database and is now {}", kept.display()))
            }
            Event::Opened | Event::Lost(_) => None,
        });
        let kept = kept.unwrap_or_default();
        Ok(format!("{address} is up to date{kept}"))
    }

    fn openapi(&self, settings: &Settings, gpt: bool) -> Result<String, Failure> {
        let surfaces: Vec<_> = SERVICES.iter().map(|(surface, ..)| *surface).collect();
        let server: Server = settings.of();
        let stated = Stated::of(&server, &settings.of());
        let write = if gpt { openapi::for_gpt } else { openapi::complete };
        let document = write(&surfaces, stated);
        Ok(match &server.public_url {
            Some(address) => openapi::at(document, address),
            None => document,
        })
    }
}

/// Serves until a signal ends it, with `beside` beside it, which ends only when it fails.
fn run(
    settings: &Settings,
    in_force: impl FnOnce(TakeOver) -> InForce,
    beside: impl AsyncFnOnce(&Gateway, &Logger) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let telemetry = start_log(settings)?;
    let log = telemetry.logger().clone();
    let (losses, level) = (telemetry.losses(), telemetry.level());
    let workers = settings.of::<Server>().workers;
    let enough = ask_for_descriptors(WANTED, workers, &log).map_err(Failure::from);
    let serve = async {
        // Before the address is told: who knows it may already ask us to stop.
        let mut signals = Signals::listen()?;
        let take_over: TakeOver =
            Box::new(move |settings: &Settings| level.set(settings.of::<LogSettings>().level));
        let gateway = Gateway::start(in_force(take_over), log.clone(), losses).await?;
        info!(log, "listening"; "address" => %gateway.address);
        tokio::select! {
            () = signals.wait_for_stop(|| gateway.reload()) => {}
            ended = beside(&gateway, &log) => ended?,
        }
        tokio::select! {
            () = gateway.stop() => Ok(()),
            () = signals.wait_for_stop(|| {}) => {
                Err("ended at once by a second signal; not everything was stored".into())
            }
        }
    };
    let outcome = enough.and_then(|()| actix_rt::System::new().block_on(serve));
    if let Err(failure) = &outcome {
        error!(log, "cannot serve"; "error" => %failure);
    }
    outcome
}

/// Puts settings into force that were read again.
type TakeOver = Box<dyn Fn(&Settings) + Send + Sync>;

fn start_log(settings: &Settings) -> std::io::Result<Telemetry> {
    let structured = settings.of::<Features>().structured_logging;
    let log: LogSettings = settings.of();
    let telemetry = telemetry::start(&log, structured).map_err(|error| {
        let name = log.file.unwrap_or_default();
        std::io::Error::new(error.kind(), format!("LOG_FILE {}: {error}", name.display()))
    })?;
    telemetry::install_panic_hook(telemetry.logger().clone());
    Ok(telemetry)
}

/// The signals that an operator sends.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns at SIGTERM or SIGINT; calls `reload` at every SIGHUP.
    async fn wait_for_stop(&mut self, mut reload: impl FnMut()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload(),
            }
        }
    }
}

/// The simulator alone, until a signal.
async fn alone(settings: &Settings, simulation: Simulation, log: &Logger) -> Result<(), Failure> {
    let Server { workers, public_url, .. } = settings.of();
    let running = simulator::start(SimulatorSettings {
        listen: simulation.listen,
        catalog: simulation.catalog,
        credentials: accounts(&settings.of()),
        workers,
        // A gateway shows them, too.
        pictures: public_url.map(|address| address.trim_end_matches('/').to_owned()),
        control: true,
    })?;
    info!(log, "catalogue is loaded"; "catalogue" => %running.report);
    log_skipped(&running.report, log);
    let mut signals = Signals::listen()?;
    console::say(&format!("simulator listening on http://{}", running.address))?;
    let handle = running.handle;
    let serving = actix_rt::System::current();
    let stop = async {
        signals.wait_for_stop(|| {}).await;
        handle.stop(true).await;
    };
    let ((), served) = futures_util::future::join(stop, running.server).await;
    drop(serving);
    served?;
    Ok(())
}

/// The accounts that may call: the configured ones, which come first because one of them may bear
/// the demonstration's key, and the demonstration's. Each knows the tracking id it is called with.
fn accounts(settings: &AliExpressSettings) -> Vec<simulator::Credentials> {
    let sent = |account: &Account| {
        let id = account.tracking_id.as_ref().or(settings.tracking_id.as_ref());
        id.map_or_else(|| DEMO_TRACKING_ID.to_owned(), Clone::clone)
    };
    let accounts = settings.accounts();
    let configured = accounts.iter().map(|account| simulator::Credentials {
        app_key: account.credentials.app_key.clone(),
        app_secret: account.credentials.app_secret.expose().to_owned(),
        tracking_id: sent(account),
    });
    configured.chain([simulator::Credentials::demonstration()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::services::products::settings::Credentials;
    use crate::services::products::simulator::{DEMO_APP_KEY, DEMO_APP_SECRET};

    #[test]
    fn the_page_of_the_simulator_names_an_account_that_it_knows() {
        let page = include_str!("../../docs/simulator.md");
        for (name, value) in [
            ("ALIEXPRESS_APP_KEY", DEMO_APP_KEY),
            ("ALIEXPRESS_APP_SECRET", DEMO_APP_SECRET),
            ("ALIEXPRESS_TRACKING_ID", DEMO_TRACKING_ID),
        ] {
            let line = format!("{name}={value}");
            assert_eq!(page.matches(&line).count(), 1, "{line}");
        }
    }

    fn demonstration() -> AliExpressSettings {
        AliExpressSettings {
            app_key: Some(DEMO_APP_KEY.to_owned()),
            app_secret: Some(Secret::new(DEMO_APP_SECRET)),
            ..AliExpressSettings::default()
        }
    }

    #[test]
    fn a_configured_tracking_id_counts_for_the_demonstrations_key() {
        let tracking_id = Some("mine".to_owned());
        let accounts = accounts(&AliExpressSettings { tracking_id, ..demonstration() });
        assert_eq!(accounts[0].tracking_id, "mine");
        assert_eq!(accounts[1], simulator::Credentials::demonstration());
    }

    #[test]
    fn every_configured_account_may_call_with_the_tracking_id_it_sends() {
        let further = |key: &str, tracking_id: Option<&str>| {
            let credentials = Credentials { app_key: key.into(), app_secret: Secret::new("s") };
            Account { credentials, tracking_id: tracking_id.map(str::to_owned) }
        };
        let accounts = accounts(&AliExpressSettings {
            tracking_id: Some("shop".to_owned()),
            further: vec![further("500002", Some("two")), further("500003", None)],
            ..demonstration()
        });
        let known: Vec<_> =
            accounts.iter().map(|one| (one.app_key.as_str(), one.tracking_id.as_str())).collect();
        let expected = [
            (DEMO_APP_KEY, "shop"),
            ("500002", "two"),
            ("500003", "shop"),
            (DEMO_APP_KEY, DEMO_TRACKING_ID),
        ];
        assert_eq!(known, expected);
    }
}
