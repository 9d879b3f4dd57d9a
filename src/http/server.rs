//! The HTTP server: workers, limits of the transport, layers.
//!
//! Owns: what every connection is subject to before a request exists (time to send its head, idle
//! time, number of connections) and the order of the layers. Each worker is built in its own thread
//! by the function it is given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};

use super::extract::payload_config;
use super::middleware::compress::compress;
use super::middleware::observe::observe;
use super::middleware::shed;
use super::routes;
use super::state::{Shared, TELL_EVERY, Worker};
use crate::supervision::spawn_watched;

/// Longest time for a request's head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest idle time of a connection.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Longest time for a client to close after us.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections of one worker.
const CONNECTIONS: usize = 10_000;
/// How long browsers may remember a preflight answer.
const PREFLIGHT_SECONDS: usize = 3_600;

/// Binds and builds; the server answers while somebody awaits it.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(
    shared: &Arc<Shared>,
    build: impl Fn() -> Worker + Send + Clone + 'static,
) -> std::io::Result<(Server, Vec<SocketAddr>)> {
    let settings = shared.settings.server.clone();
    let origins = shared.settings.allowed_origins.clone();
    let http = HttpServer::new(move || {
        let worker = web::Data::new(build());
        tell_regularly(&worker);
        shed::watch(&worker);
        let for_routes = worker.clone();
        App::new()
            .app_data(worker)
            .app_data(payload_config())
            .configure(move |cfg| routes::configure(cfg, &for_routes))
            .wrap(from_fn(compress))
            .wrap(cors(&origins))
            .wrap(from_fn(observe))
    })
    .workers(settings.workers)
    .max_connections(CONNECTIONS)
    .client_request_timeout(HEAD_TIMEOUT)
    .client_disconnect_timeout(DISCONNECT_TIMEOUT)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(settings.shutdown_timeout.as_secs())
    .disable_signals()
    .bind((settings.host, settings.port))?;
    let addresses = http.addrs();
    Ok((http.run(), addresses))
}

/// A worker without traffic still tells what it saw.
fn tell_regularly(worker: &web::Data<Worker>) {
    let observer = worker.shared.supervisor.observer();
    let worker = Arc::downgrade(&worker.clone().into_inner());
    spawn_watched("teller", observer, async move {
        let mut ticks = tokio::time::interval(TELL_EVERY);
        loop {
            ticks.tick().await;
            let Some(worker) = worker.upgrade() else { return };
            worker.tell_due();
        }
    });
}

/// Which headers scripts may read is told by `observe`: here it would be put together anew for every
/// answer.
fn cors(origins: &[String]) -> Cors {
    let allowed = Cors::default()
        .allowed_methods(["GET", "POST"])
        .allowed_headers([
            "content-type",
            "authorization",
            "x-internal-key",
            "x-request-id",
            "traceparent",
        ])
        .max_age(PREFLIGHT_SECONDS);
    origins.iter().fold(allowed, |cors, origin| cors.allowed_origin(origin))
}
