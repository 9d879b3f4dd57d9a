//! The simulator alone: `breakwater simulate`.
//!
//! Owns: which accounts may call it, and its end at a signal.

use slog::{Logger, info};

use crate::cli::{Failure, Simulation};
use crate::config::Settings;
use crate::console;
use crate::http::settings::Server;
use crate::services::products::settings::{Account, AliExpressSettings};
use crate::services::products::simulator::{self, DEMO_TRACKING_ID, SimulatorSettings};
use crate::services::products::start::log_skipped;

/// The simulator alone, until a signal.
pub(super) async fn alone(
    settings: &Settings,
    simulation: Simulation,
    log: &Logger,
) -> Result<(), Failure> {
    let running = simulator::start(SimulatorSettings {
        listen: simulation.listen,
        catalog: simulation.catalog,
        credentials: accounts(&settings.of()),
        workers: settings.of::<Server>().workers,
    })?;
    info!(log, "catalogue is loaded"; "catalogue" => %running.report);
    log_skipped(&running.report, log);
    let mut signals = super::Signals::listen()?;
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
