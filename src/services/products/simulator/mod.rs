//! A simulator of AliExpress's affiliate gateway, as far as that is known, with faults on request.
//!
//! Owns: a service that speaks the gateway's protocol, checks signatures and timestamps, serves a
//! catalogue and can be told to misbehave. It shares no code with the rooms that call it, so that a
//! misreading on one side shows; it imports only the clock, the token bucket and the catalogue, which
//! knows nothing of the protocol. Refuses: to start on an address that is taken or with a catalogue
//! without a good line; calls are refused in the gateway's own words. It has no neighbour that could
//! be down.
//!
//! `gateway` is the order in which a call is handled and the control, `verify` who is calling,
//! `methods` what is answered, `faults` what goes wrong.
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

mod faults;
mod gateway;
mod methods;
mod parameters;
mod pictures;
mod refusal;
mod verify;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, web};

use crate::services::products::catalogue::Catalogue;
pub use crate::services::products::catalogue::{LoadReport, SkippedLine};
use faults::Connection;
pub use gateway::Control;
use gateway::Gateway;
pub use pictures::{PICTURE, PICTURE_TYPE, picture};
pub use verify::{Credentials, DEMO_APP_KEY, DEMO_APP_SECRET, DEMO_TRACKING_ID};

/// Larger bodies are refused unread.
const LARGEST_BODY: usize = 256 * 1024;
/// How long a stop waits for answers under way; hanging ones must not hold it up.
const STOP_SECONDS: u64 = 2;
const KEEP_ALIVE: Duration = Duration::from_secs(75);

#[derive(Debug, Clone)]
pub struct SimulatorSettings {
    pub listen: SocketAddr,
    /// A catalogue of one JSON object a line, plain or gzip; `None` for the built-in one.
    pub catalog: Option<PathBuf>,
    /// Every account that may call; the first that has the sent key counts.
    pub credentials: Vec<Credentials>,
    /// Threads that answer; at least one is started.
    pub workers: usize,
    /// Where clients reach its pictures; `None`: at the address that a call came to.
    pub pictures: Option<String>,
    /// Whether faults and counts can be asked for.
    pub control: bool,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            catalog: None,
            credentials: vec![Credentials::demonstration()],
            workers: 1,
            pictures: None,
            control: true,
        }
    }
}

pub struct Running {
    pub address: SocketAddr,
    /// The service; it answers while somebody awaits it.
    pub server: Server,
    /// For stopping it from elsewhere. It does not listen to signals itself.
    pub handle: ServerHandle,
    /// Its faults.
    pub control: Control,
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

/// Reads the catalogue and takes the address. Call it inside the runtime that will await
/// [`Running::server`]; nothing is answered before that. Reading a large catalogue blocks.
///
/// # Errors
/// The catalogue cannot be read or has no good line; the address cannot be listened on.
pub fn start(settings: SimulatorSettings) -> io::Result<Running> {
    let (catalogue, report) = Catalogue::load(settings.catalog.as_deref())?;
    let gateway = web::Data::new(Gateway::new(catalogue, settings.credentials, settings.pictures));
    let control = Control(gateway.clone());
    let app = move || {
        App::new()
            .app_data(gateway.clone())
            .app_data(web::PayloadConfig::new(LARGEST_BODY))
            .configure(|config| gateway::routes(config, settings.control))
    };
    let listen = settings.listen;
    let http = HttpServer::new(app)
        .workers(settings.workers.max(1))
        .disable_signals()
        .shutdown_timeout(STOP_SECONDS)
        // A caller that hangs up takes its waiting answer with it.
        .h1_allow_half_closed(false)
        // Callers pool their connections; one that is let go early costs them a failed call.
        .keep_alive(KEEP_ALIVE)
        .on_connect(Connection::remember)
        .bind(listen)
        .map_err(|cause| {
            io::Error::new(cause.kind(), format!("cannot listen on {listen}: {cause}"))
        })?;
    let address = http.addrs().first().copied().unwrap_or(listen);
    let server = http.run();
    Ok(Running { address, handle: server.handle(), control, server, report })
}

#[cfg(test)]
mod tests;
