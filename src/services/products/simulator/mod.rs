//! A simulator of AliExpress's affiliate gateway, as far as that is known, with faults on request.
//!
//! Owns: a service that speaks the gateway's protocol, checks signatures and timestamps, serves a
//! catalogue and can be told to misbehave. It is a stand-in for a stranger: it shares no code with
//! the rooms that call it and imports only the clock and the catalogue, which knows nothing of the
//! protocol, so that a misreading on one side shows.
//! Refuses: to start on an address that is taken or with a catalogue without a good line; calls
//! are refused in the gateway's own words. It has no neighbour that could be down.
//!
//! Where things are: `gateway` the order in which a call is handled, `verify` who is calling,
//! `methods` what is answered, `faults` what goes wrong, `control` how to steer it.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use breakwater::services::products::simulator::{self, SimulatorSettings};
//! let running = simulator::start(SimulatorSettings::default())?;
//! println!("answering on http://{}/sync", running.address);
//! running.server.await?;
//! # Ok(())
//! # }
//! ```

mod answer;
mod control;
mod faults;
mod gateway;
mod methods;
mod parameters;
mod refusal;
mod settings;
mod stats;
mod verify;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::json;

use crate::services::products::catalogue::Catalogue;
pub use crate::services::products::catalogue::{LoadError, LoadReport, SkippedLine};
use faults::{Connection, Faults};
use gateway::Gateway;
pub use settings::{
    Credentials, DEMO_APP_KEY, DEMO_APP_SECRET, DEMO_TRACKING_ID, SimulatorSettings,
};
use stats::Stats;

/// Larger bodies are refused unread.
const LARGEST_BODY: usize = 256 * 1024;
/// How long a stop waits for answers under way; hanging ones must not hold it up.
const STOP_SECONDS: u64 = 2;
/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A simulator that has its address.
pub struct Running {
    /// Where it listens, the port filled in.
    pub address: SocketAddr,
    /// The service; it answers while somebody awaits it.
    pub server: Server,
    /// For stopping it from elsewhere. It does not listen to signals itself.
    pub handle: ServerHandle,
    /// What became of the catalogue's lines.
    pub report: LoadReport,
}

impl fmt::Debug for Running {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Running")
            .field("address", &self.address)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// Why a simulator did not start.
#[derive(Debug)]
pub enum StartError {
    /// The catalogue cannot be served.
    Catalogue(LoadError),
    /// The address cannot be listened on.
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalogue(error) => error.fmt(out),
            Self::Bind { address, cause } => write!(out, "cannot listen on {address}: {cause}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Catalogue(error) => Some(error),
            Self::Bind { cause, .. } => Some(cause),
        }
    }
}

/// Reads the catalogue and takes the address. Call it inside the runtime that will await
/// [`Running::server`]; nothing is answered before that. Reading a large catalogue blocks.
///
/// # Errors
/// The catalogue cannot be read or has no good line; the address cannot be listened on.
pub fn start(settings: SimulatorSettings) -> Result<Running, StartError> {
    let (catalogue, report) =
        Catalogue::load(settings.catalog.as_deref()).map_err(StartError::Catalogue)?;
    let stats = Stats::new(settings.credentials.iter().map(|one| one.app_key.as_str()));
    let gateway = web::Data::new(Gateway {
        catalogue,
        credentials: settings.credentials,
        faults: Faults::default(),
        stats,
        answers: AtomicU64::new(0),
    });
    let bind = |cause| StartError::Bind { address: settings.listen, cause };
    let http = HttpServer::new(move || App::new().app_data(gateway.clone()).configure(routes))
        .workers(settings.workers.max(1))
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS)
        // A caller that hangs up takes its waiting answer with it.
        .h1_allow_half_closed(false)
        // Callers pool their connections; one that is let go early costs them a failed call.
        .keep_alive(KEEP_ALIVE)
        .on_connect(Connection::remember)
        .bind(settings.listen)
        .map_err(bind)?;
    let address = http.addrs().first().copied().unwrap_or(settings.listen);
    let server = http.run();
    Ok(Running { address, handle: server.handle(), server, report })
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(LARGEST_BODY))
        .service(
            web::resource("/sync")
                .get(Gateway::sync)
                .post(Gateway::sync)
                .default_service(web::to(HttpResponse::MethodNotAllowed)),
        )
        .configure(control::routes)
        .default_service(web::to(unknown_path));
}

async fn unknown_path() -> HttpResponse {
    let known = ["/sync", "/__simulator/stats", "/__simulator/reset", "/__simulator/faults"];
    HttpResponse::NotFound().json(json!({ "error": "there is nothing here", "known": known }))
}

#[cfg(test)]
mod tests;
