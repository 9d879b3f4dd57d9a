//! The HTTP server: its socket, its workers, and the limits of connections.
//!
//! Metrics, health and admin may have a listener of their own; both are served by the same workers.
//! A connection beyond a limit is told so and closed. Each worker is built in its own thread by the
//! function it is given; a connection that cannot be served ends alone.

use std::cell::RefCell;
use std::future::ready;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_rt::net::TcpStream;
use actix_server::Server;
use actix_service::{ServiceFactory, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, web};
use slog::{info, warn};
use socket2::{Domain, Protocol, Socket, Type};

use super::connection::{Connection, Timeouts, Unread, lowest_free, refusal};
use super::forms::BODY_LIMIT;
use super::routes::{self, Side};
use super::settings::{HEAD_TIMEOUT, SEND_TIMEOUT};
use super::state::{Shared, Worker};
use super::stops::admin_key::BoundPort;
use crate::clock;
use crate::supervision::keep_running;

/// actix reads its clock twice a second: without it an idle connection would be closed so much too soon.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// Longest time for a client to close after us.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1_024;
/// Most that is read and thrown away of a refused connection.
const MOST_IGNORED: usize = 1 << 16;

thread_local! {
    /// The worker of this thread, for the routes of both listeners.
    static WORKER: RefCell<Weak<Worker>> = RefCell::default();
}

/// Binds and builds; the server answers while it is awaited. The first address is that of clients; the
/// second, where there is one, that of metrics, health and admin.
pub fn bind(
    shared: &Arc<Shared>,
    build: impl Fn() -> Worker + Send + Clone + 'static,
) -> std::io::Result<(Server, Vec<SocketAddr>)> {
    let settings = &shared.settings.server;
    let public = listen((settings.host, settings.port).into(), "API_HOST, API_PORT")?;
    let mut listeners = vec![(Side::of_clients(settings), public)];
    if let Some(address) = settings.metrics_listen {
        listeners.push((Side::Inside, listen(address, "METRICS_LISTEN")?));
    }
    let numbers = listeners.iter().map(|(_, listener)| listener.as_raw_fd().unsigned_abs());
    let in_use = numbers.max().unwrap_or_default();
    let most = shared.connections.limits().most_of_worker(settings.workers, in_use);
    let mut builder = Server::build()
        .workers(settings.workers)
        .max_concurrent_connections(most)
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let mut addresses = Vec::new();
    for (side, listener) in listeners {
        let address = listener.local_addr()?;
        addresses.push(address);
        let (stopping, shared, build) = (stopping.clone(), Arc::clone(shared), build.clone());
        builder = builder.listen("http", listener, move || {
            let stopping = stopping.clone();
            let settings = &shared.settings.server;
            let http = HttpService::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(settings.keep_alive + CLOCK_STEP)
                // Every head is watched by its connection, and not only the first of each.
                .client_request_timeout(Duration::ZERO)
                .client_disconnect_timeout(DISCONNECT_TIMEOUT)
                .local_addr(address)
                .on_connect_ext(move |connection: &Connection<TcpStream>, data| {
                    data.insert(Rc::clone(connection.requests()));
                    data.insert(BoundPort(address.port()));
                })
                .h1(map_config(application(&build, side), |()| AppConfig::default()));
            let shared = Arc::clone(&shared);
            fn_service(move |stream: TcpStream| ready(receive(&shared, stream))).and_then(http)
        })?;
    }
    Ok((builder.run(), addresses))
}

fn application<B: Fn() -> Worker>(
    build: &B,
    side: Side,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + use<B>,
> {
    let worker = worker_of_thread(build);
    App::new()
        .app_data(worker.clone())
        .app_data(web::PayloadConfig::new(BODY_LIMIT))
        .configure(move |cfg| routes::configure(cfg, &worker, side))
}

fn worker_of_thread(build: &impl Fn() -> Worker) -> web::Data<Worker> {
    if let Some(worker) = WORKER.with_borrow(Weak::upgrade) {
        return worker.into();
    }
    let worker = web::Data::new(build());
    tick(&worker);
    WORKER.set(Arc::downgrade(&worker));
    worker
}

fn listen(address: SocketAddr, setting: &str) -> std::io::Result<TcpListener> {
    try_listen(address).map_err(|error| {
        let refused = format!("cannot listen on {address} ({setting}): {error}");
        std::io::Error::new(error.kind(), refused)
    })
}

fn try_listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG.try_into().unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Says why, if that can be said without waiting, and closes. What has come is read first: closing
/// over it resets the connection, and the client may never see the answer.
fn reject(stream: TcpStream) -> std::io::Error {
    if let Ok(mut stream) = stream.into_std() {
        drop(stream.write(&refusal::too_many()));
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

/// A connection that was accepted, unless there are too many.
fn receive(
    shared: &Shared,
    stream: TcpStream,
) -> Result<(Connection<TcpStream>, Option<SocketAddr>), DispatchError> {
    let metrics = shared.metrics.http.clone();
    let peer = stream.peer_addr()?;
    let (connections, now) = (&shared.connections, clock::monotonic());
    let descriptor = stream.as_raw_fd().unsigned_abs();
    tell_shortage(shared, descriptor, now);
    let slot = match connections.admit(peer.ip(), descriptor, now) {
        Ok(slot) => slot,
        Err(exceeded) => {
            metrics.cut.at([exceeded.as_str()]).inc();
            metrics.unread.at([Unread::LimitExceeded.label()]).inc();
            return Err(reject(stream).into());
        }
    };
    let settings = &shared.settings.server;
    let timeouts = Timeouts { head: HEAD_TIMEOUT, idle: settings.keep_alive, send: SEND_TIMEOUT };
    Ok((Connection::new(stream, timeouts, metrics, Some(slot)), Some(peer)))
}

/// Looks at the descriptors, whoever uses them: when they are at their end, nobody is accepted and `receive`
/// is not called.
pub fn keep_room(shared: &Shared) {
    let (connections, now) = (&shared.connections, clock::monotonic());
    let free = lowest_free(connections.limits().descriptors);
    if connections.keep_room(free, now) {
        tell_shortage(shared, free, now);
    }
}

fn tell_shortage(shared: &Shared, free: u32, now: Instant) {
    let connections = &shared.connections;
    if let Some((in_use, left_out)) = connections.shortage(free, now) {
        warn!(shared.log, "descriptors run out: idle connections are closed, others are refused; \
            raise `ulimit -n` (LimitNOFILE)";
            "in_use" => in_use, "descriptors" => connections.limits().descriptors,
            "connections" => connections.open(), "left_out" => left_out);
    }
}

/// The ticker that the worker's load shedder measures the event loop with; a worker without traffic
/// still reports what it saw. It ends with the worker.
fn tick(worker: &web::Data<Worker>) {
    let observer = worker.shared.supervisor.observer();
    let worker = Arc::downgrade(&worker.clone().into_inner());
    keep_running("load-shedder", observer, move || {
        let worker = worker.clone();
        async move {
            while let Some(due) = worker.upgrade().map(|worker| worker.shedder.due()) {
                tokio::time::sleep_until(due.into()).await;
                let Some(worker) = worker.upgrade() else { return };
                let waiting = u32::try_from(worker.cache.waiting().get()).unwrap_or(0);
                if let Some(refused) = worker.shedder.ticked(clock::monotonic(), waiting) {
                    info!(worker.shared.log, "requests are no longer refused";
                        "refused" => refused);
                }
                worker.report_due();
            }
        }
    });
}
