//! The HTTP server: workers, limits of the transport, layers.
//!
//! Owns: what every connection is subject to before a request exists (time to send its head, idle
//! time, number of connections) and the order of the layers. Each worker is built in its own thread
//! by the function it is given.

use std::future::ready;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_cors::Cors;
use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{App, Error, web};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::{Connection, Patience, refusal};
use super::extract::payload_config;
use super::middleware::compress::compress;
use super::middleware::observe::observe;
use super::middleware::shed;
use super::routes;
use super::state::{Shared, TELL_EVERY, Worker};
use crate::supervision::spawn_watched;

/// Longest time for a client to close after us.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Connections that one worker may hold beyond all there may be: those that are refused are the
/// worker's for a moment, and the server must not stop accepting because of them.
const REFUSED_AT_ONCE: u32 = 1_024;
/// Most that is read and thrown away of who is refused.
const MOST_IGNORED: usize = 1 << 16;
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
    let settings = &shared.settings.server;
    let listener = listen((settings.host, settings.port).into())?;
    let address = listener.local_addr()?;
    let most = usize::try_from(shared.census.most().saturating_add(REFUSED_AT_ONCE));
    let builder = Server::build()
        .workers(settings.workers)
        .max_concurrent_connections(most.unwrap_or(usize::MAX))
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let shared = Arc::clone(shared);
    let server = builder.listen("http", listener, move || {
        let stopping = stopping.clone();
        let settings = &shared.settings.server;
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(settings.keep_alive)
            // Every head is watched by its connection, and not only the first of each.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .local_addr(address)
            .on_connect_ext(|connection: &Connection<TcpStream>, data| {
                data.insert(Rc::clone(connection.under_way()));
            })
            .h1(map_config(application(&shared, &build), |()| AppConfig::default()));
        let shared = Arc::clone(&shared);
        fn_service(move |stream: TcpStream| ready(receive(&shared, stream))).and_then(http)
    })?;
    Ok((server.run(), vec![address]))
}

/// The application of this worker.
fn application<B: Fn() -> Worker>(
    shared: &Shared,
    build: &B,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<B>,
> {
    let worker = web::Data::new(build());
    tell_regularly(&worker);
    shed::watch(&worker);
    let for_routes = worker.clone();
    App::new()
        .app_data(worker)
        .app_data(payload_config())
        .configure(move |cfg| routes::configure(cfg, &for_routes))
        .wrap(from_fn(compress))
        .wrap(cors(&shared.settings.allowed_origins))
        .wrap(from_fn(observe))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.try_into().unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Says why, if that can be said without waiting, and closes. What has come is taken first: closing
/// over it resets the connection, and the client may never see why.
fn turn_away(stream: TcpStream) -> std::io::Error {
    if let Ok(mut stream) = stream.into_std() {
        drop(stream.write(&refusal::answer(refusal::Reason::Crowded)));
        drop(stream.shutdown(Shutdown::Write));
        let (mut bytes, mut ignored) = ([0; 8_192], 0);
        while let Ok(some @ 1..) = stream.read(&mut bytes)
            && ignored < MOST_IGNORED
        {
            ignored += some;
        }
    }
    std::io::ErrorKind::ConnectionRefused.into()
}

/// A connection that was accepted, unless there are too many: that is told why, if it can be told at
/// once, and closed.
fn receive(
    shared: &Shared,
    stream: TcpStream,
) -> Result<(Connection<TcpStream>, Option<SocketAddr>), DispatchError> {
    let metrics = shared.metrics.http().clone();
    let peer = stream.peer_addr()?;
    let present = match shared.census.admit(peer.ip()) {
        Ok(present) => present,
        Err(crowded) => {
            metrics.cut(crowded.as_str());
            metrics.unread(refusal::Reason::Crowded.as_str());
            return Err(turn_away(stream).into());
        }
    };
    let settings = &shared.settings.server;
    let patience = Patience {
        head: settings.head_timeout,
        idle: settings.keep_alive,
        send: settings.send_timeout,
    };
    Ok((Connection::new(stream, patience, metrics, Some(present)), Some(peer)))
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
