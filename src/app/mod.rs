//! The one place where everything is put together.
//!
//! Owns: the order of start and stop. Tables first (registry, tiers, breakers, accounts), then the
//! actors over them, then the HTTP workers; down again in reverse. Refuses: to start when the
//! address cannot be bound or the simulator inside cannot be. A database that cannot be opened is
//! no reason not to serve: the third tier is left out and everything says so.
//! The way of a request is in `http::pipeline`, that of a call in `origin::course`.

mod access;
mod commands;
mod connect;
pub mod demo;
mod stores;
mod upkeep;
mod words;
mod worker_factory;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use futures_util::future::LocalBoxFuture;
use slog::{Logger, info};

use crate::access::{AccessSettings, AdminKeys, AuditEvent, Guesses, Role};
use crate::cache::{CacheSettings, CacheTables};
use crate::cli::Failure;
use crate::clock;
use crate::config::{Group, InForce, Schema, Settings};
use crate::database::DatabaseSettings;
use crate::http::breakers::Breakers;
use crate::http::connection::{ConnectionLimiter, ConnectionLimits};
use crate::http::explain::Explain;
use crate::http::handlers::rendered::RenderedMetrics;
use crate::http::live::Live;
use crate::http::load_shedder::LoopLags;
use crate::http::page_files::PageFiles;
use crate::http::routes::{self, Side};
pub use crate::http::service::ServiceParts;
use crate::http::service::{Service, Surface, Tried};
use crate::http::settings::{Chaos, Features, HttpSettings, Server};
use crate::http::start_page::Documents;
use crate::http::state::{Shared, StopState};
use crate::http::{Integration, openapi, reload, server};
use crate::limits::{Abuse, Limits, OpenRoutes, Policies, Pressure, Sharing, Table};
use crate::metrics::{ACTOR_NAME, Metrics, MetricsActor, MonitoringTable};
use crate::origin::settings::{BreakerSettings, RetrySettings, UpstreamSettings};
use crate::origin::start::Environment;
use crate::origin::state::OriginState;
use crate::otlp::{SpanExporter, TracingSettings};
use crate::redis::RedisSettings;
use crate::services::products;
use crate::supervision::{Handle, Spec, Supervisor, spawn_watched};
use crate::telemetry::LogSettings;
pub use commands::Breakwater;
use stores::Stores;
use upkeep::{Deaths, PersistedState};
use worker_factory::WorkerFactory;

/// The services: what the documents say of each, and how it is built.
const SERVICES: &[(&Surface, Start, Connect)] =
    &[(&products::SURFACE, products::start::start, products::start::connect)];

/// Every section of settings, in the order of the settings page.
pub const SCHEMA: Schema = Schema(&[
    &[
        Group::of::<Server>(),
        Group::of::<UpstreamSettings>(),
        Group::of::<RetrySettings>(),
        Group::of::<BreakerSettings>(),
        Group::of::<RedisSettings>(),
        Group::of::<DatabaseSettings>(),
        Group::of::<CacheSettings>(),
    ],
    products::SURFACE.settings,
    &[
        Group::of::<AccessSettings>(),
        Group::of::<Limits>(),
        Group::of::<LogSettings>(),
        Group::of::<TracingSettings>(),
        Group::of::<Features>(),
        Group::of::<Chaos>(),
        Group::caution(timeouts),
    ],
]);

/// A time-out that another one hides.
fn timeouts(settings: &Settings) -> Option<String> {
    let Server { request_timeout, shutdown_timeout, .. } = settings.of();
    let (upstream, redis): (UpstreamSettings, RedisSettings) = (settings.of(), settings.of());
    let longest = [
        ("UPSTREAM_TIMEOUT_MS", upstream.attempt_timeout > request_timeout),
        ("REDIS_TIMEOUT_MS", redis.timeout > request_timeout),
    ];
    let hidden = longest.into_iter().filter(|(name, longer)| *longer && settings.is_set(name));
    let hidden = hidden.map(|(name, _)| {
        format!("{name} is longer than REQUEST_TIMEOUT_MS: requests end before it does")
    });
    let cut = (shutdown_timeout < request_timeout).then(|| {
        "SHUTDOWN_TIMEOUT_SECONDS is shorter than REQUEST_TIMEOUT_MS: a stop may cut requests"
            .into()
    });
    let all: Vec<String> = hidden.chain(cut).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Batches that may wait for MetricsActor.
const MONITOR_INBOX: usize = 4_096;

/// Clients the limiter keeps accounts of.
const ACCOUNTS: usize = 200_000;

/// How long the threads of workers have to let go of requests that were cut.
const LET_GO: Duration = Duration::from_secs(1);

/// A gateway that answers.
pub struct Gateway {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where metrics, health and admin are, if they have an address of their own.
    pub inside: Option<SocketAddr>,
    handle: ServerHandle,
    shared: Arc<Shared>,
    stores: Stores,
    cache: CacheTables,
    persisted: Arc<[PersistedState]>,
}

impl Gateway {
    /// Starts everything; when this returns, requests are answered. Call it inside an actix system.
    pub async fn start(in_force: InForce, log: Logger, losses: Losses) -> Result<Self, Failure> {
        Self::start_with(in_force, log, losses, |_| Ok(Vec::new())).await
    }

    /// The same with more services beside those of this crate.
    pub async fn start_with(
        in_force: InForce,
        log: Logger,
        losses: Losses,
        more: impl FnOnce(&ServiceParts<'_>) -> Result<Services, Failure>,
    ) -> Result<Self, Failure> {
        let (settings, (metrics, supervisor)) = (in_force.settings(), supervised(&log)?);
        let stores = Stores::open(&settings, &metrics, &log)?;
        let parts = ServiceParts::new(Environment {
            settings: &settings,
            request_timeout: settings.of::<Server>().request_timeout,
            metrics: &metrics,
            log: &log,
            supervisor: &supervisor,
            sharing: stores.sharing(&settings),
        });
        let (services, origins) = start_services(parts, more)?;
        let mut cache = stores.tables(&settings, &metrics, &supervisor);
        let persisted = PersistedState::restored(&origins, &stores.database, &log).await;
        let longest = reload::longest(&settings.of(), &services);
        upkeep::start(&cache, &stores, &persisted, &longest, &settings, &supervisor);
        let breakers = Breakers { stores: stores.breakers(), origins: origins.clone() };
        let forced = breakers.clone();
        let (changes, access) =
            access::follow(&settings, &longest, &stores, &mut cache, forced, &log, &supervisor)
                .await;
        let (monitor, observed) = monitor(&metrics, &supervisor)?;
        let exporter = exporter(&settings, &metrics, &log, &supervisor)?;
        let settings = http_settings(&settings);
        let (pressure, integration) = (Arc::<Pressure>::default(), integration(&origins));
        let shared = Arc::new(Shared {
            accounts: Arc::new(accounts(&stores, &settings.limits, &pressure)),
            pressure,
            open_routes: OpenRoutes::new(settings.limits.ipv6_prefix, clock::monotonic()),
            live: Live::default(),
            observed,
            rendered: RenderedMetrics::new(clock::monotonic()),
            explain: Explain::new(clock::now()),
            exporter,
            abuse: Abuse::new(&settings.limits, clock::monotonic()),
            changes,
            access,
            guesses: Guesses::new(settings.limits.ipv6_prefix, clock::monotonic()),
            admin_keys: AdminKeys::of(&settings.access),
            documents: documents(&settings, integration, &services),
            services,
            integration,
            origins,
            metrics,
            supervisor,
            breakers,
            stop: StopState::default(),
            connections: connections(&settings, &log),
            lags: Arc::new(LoopLags::new(settings.server.workers, clock::monotonic())),
            log,
            started: clock::now(),
            losses,
            settings,
            longest,
            in_force,
        });
        upkeep::watch(&shared, &cache.with_redis(stores.redis_tier()));
        let (address, inside, handle) = serve(&shared, &cache, &stores, monitor)?;
        Ok(Self { address, inside, handle, shared, stores, cache, persisted })
    }

    /// The token of a link that signs in to the operator's page once.
    fn login_token(&self) -> Result<String, Failure> {
        let made = self.shared.admin_keys.sessions.link(Role::Full, clock::now());
        made.map_err(|error| error.to_string().into())
    }

    /// Reads the configuration again, as a signal asked, and notes that in the audit table.
    fn reload(&self) {
        let (outcome, details) = match self.shared.reload() {
            Ok(reloaded) => ("done", reloaded.to_string()),
            Err(mistakes) => ("mistakes", mistakes.to_string()),
        };
        self.shared.access.audit.note(AuditEvent {
            at: clock::now(),
            actor: "signal".to_owned(),
            action: "config.reload".to_owned(),
            subject: "SIGHUP".to_owned(),
            details,
            outcome: outcome.to_owned(),
            ..AuditEvent::default()
        });
    }

    /// Lets clients go, stops accepting, finishes what is in flight, stores what is pending.
    ///
    /// A connection that is kept alive may carry a request that is sent and not yet read when the
    /// server stops; it would be closed without an answer. So for a while every answer is the last
    /// of its connection, and readiness says that it is over.
    pub async fn stop(self) {
        info!(self.shared.log, "stopping");
        self.shared.stop.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(self.shared.settings.server.shutdown_drain).await;
        self.handle.stop(true).await;
        let let_go = clock::monotonic() + LET_GO;
        while self.shared.metrics.http.in_flight.get() > 0 && clock::monotonic() < let_go {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.cache.hand_over_uses();
        for persisted in &*self.persisted {
            persisted.restore().await;
            persisted.store_changes();
        }
        access::flush(&self.shared.access).await;
        let exported = async {
            if let Some(exporter) = &self.shared.exporter {
                exporter.stop().await;
            }
        };
        futures_util::future::join(self.stores.close(), exported).await;
        self.shared.services.iter().for_each(|service| service.stop());
        let cut = self.shared.stop.cut.load(Ordering::Relaxed);
        info!(self.shared.log, "stopped"; "requests_cut" => cut);
    }
}

/// What is counted, and who starts actors again, counts that and logs it.
fn supervised(log: &Logger) -> Result<(Metrics, Supervisor), Failure> {
    let metrics = Metrics::new();
    words::of_rooms(&metrics);
    metrics.config.read(true, clock::now());
    let observer = Arc::new(Deaths { log: log.clone(), metrics: metrics.clone() });
    Ok((metrics, Supervisor::new(observer)?))
}

/// Where lost log lines are counted.
pub use crate::telemetry::Losses;

fn monitor(
    metrics: &Metrics,
    supervisor: &Supervisor,
) -> Result<(Handle<MetricsActor>, MonitoringTable), Failure> {
    let actor = MetricsActor::new(metrics.clone());
    let table = actor.table.clone();
    let spec = Spec::new(ACTOR_NAME, 0, MONITOR_INBOX);
    let monitor = supervisor.start_on_own_thread(spec, move || actor.clone())?;
    Ok((monitor, table))
}

/// What `http` works with: its own settings, and files of other rooms that it watches.
fn http_settings(settings: &Settings) -> HttpSettings {
    let (redis, database): (RedisSettings, DatabaseSettings) = (settings.of(), settings.of());
    let certificates = [
        ("REDIS_CA_FILE", redis.ca_file),
        ("REDIS_CERT_FILE", redis.cert_file),
        ("DATABASE_URL", database.authorities()),
    ];
    HttpSettings::of(settings, database.file(), certificates)
}

fn exporter(
    settings: &Settings,
    metrics: &Metrics,
    log: &Logger,
    supervisor: &Supervisor,
) -> std::io::Result<Option<SpanExporter>> {
    SpanExporter::start(settings.of(), &metrics.tracing, log, supervisor.observer())
}

const SERVER_TASK: &str = "http-server";

/// Binds the addresses and serves from now on.
fn serve(
    shared: &Arc<Shared>,
    cache: &CacheTables,
    stores: &Stores,
    monitor: Handle<MetricsActor>,
) -> Result<(SocketAddr, Option<SocketAddr>, ServerHandle), Failure> {
    let factory = WorkerFactory::new(shared, cache.clone(), stores, monitor);
    let (server, addresses) = server::bind(shared, move || factory.build())?;
    let handle = server.handle();
    let observer = shared.supervisor.observer();
    observer.task_started(SERVER_TASK);
    spawn_watched(SERVER_TASK, observer, async move {
        // A server that ends by itself was told to stop.
        drop(server.await);
    });
    let address = addresses.first().copied().ok_or("no address was bound")?;
    Ok((address, addresses.get(1).copied(), handle))
}

/// What is served beside the gateway's own endpoints.
pub type Services = Vec<Arc<dyn Service>>;

type Start = fn(&ServiceParts<'_>) -> Result<Arc<dyn Service>, Failure>;
type Connect = for<'a> fn(&'a ServiceParts<'a>) -> LocalBoxFuture<'a, Vec<Tried>>;

fn surfaces(services: &Services) -> Vec<&'static Surface> {
    services.iter().map(|service| service.surface()).collect()
}

fn start_services(
    parts: ServiceParts<'_>,
    more: impl FnOnce(&ServiceParts<'_>) -> Result<Services, Failure>,
) -> Result<(Services, Vec<Arc<OriginState>>), Failure> {
    let services = SERVICES.iter().map(|(_, start, _)| start(&parts));
    let mut services = services.collect::<Result<Services, Failure>>()?;
    services.extend(more(&parts)?);
    words::of_services(parts.metrics, &services);
    Ok((services, parts.origins()))
}

fn integration(origins: &[Arc<OriginState>]) -> Integration {
    let is_simulated = origins.iter().any(|origin| origin.is_simulated);
    Integration { name: if is_simulated { "simulator" } else { "live" } }
}

fn documents(settings: &HttpSettings, integration: Integration, services: &Services) -> Documents {
    let HttpSettings { server, access, .. } = settings;
    let (surfaces, stated) = (surfaces(services), openapi::Stated::of(server, access));
    let side = Side::of_clients(server);
    Documents {
        start: routes::start_page(integration, access.require_key, &surfaces, side),
        openapi: openapi::complete(&surfaces, stated).into(),
        openapi_gpt: openapi::for_gpt(&surfaces, stated).into(),
        admin_page: PageFiles::pack(),
    }
}

fn connections(settings: &HttpSettings, log: &Logger) -> Arc<ConnectionLimiter> {
    let connections = ConnectionLimiter::new(ConnectionLimits::from_settings(settings, log));
    connections.limit_clients(settings.limits.enabled);
    connections
}

fn accounts(stores: &Stores, limits: &Limits, pressure: &Arc<Pressure>) -> Table {
    let policies = Policies::new(limits).under(Arc::clone(pressure));
    let table = Table::new(ACCOUNTS, policies, clock::monotonic());
    if stores.share_limits() {
        return table.shared(Sharing::among(limits.instances));
    }
    table
}
