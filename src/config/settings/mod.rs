//! The settings of one process, read and validated; plain data.
//!
//! Owns: the shape; the defaults are in `defaults.rs`. Refuses nothing: [`super::load()`] did that
//! before one of these exists. No neighbours.

mod limits;
mod secret;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Sources;

pub use limits::{AbuseMode, AbuseSettings, AddressHeader, Limits};
pub use secret::Secret;

/// Every setting, grouped by the room that uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Listening address and worker threads.
    pub server: Server,
    /// Credentials, pacing, retry and breaker of the upstream.
    pub upstream: Upstream,
    /// Redis.
    pub redis: Redis,
    /// The database.
    pub database: Database,
    /// Lifetimes and bounds of the cache.
    pub cache: Cache,
    /// Keys and admin access.
    pub access: Access,
    /// Limits on clients.
    pub limits: Limits,
    /// Exact origins allowed by CORS.
    pub allowed_origins: Vec<String>,
    /// Logging.
    pub log: Log,
    /// Feature flags.
    pub features: Features,
    /// Opens the fault endpoints under `/admin/chaos`.
    pub chaos_enabled: bool,
    /// Where each value that is not a default came from.
    pub sources: Sources,
}

/// The Redis that instances share.
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// Its address; `None` means two tiers (`REDIS_URL`).
    pub url: Option<Secret>,
    /// Longest time of one command (`REDIS_TIMEOUT_MS`, 60).
    pub timeout: Duration,
}

/// Where the gateway listens.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Address to bind (`API_HOST`).
    pub host: IpAddr,
    /// Port to bind; 0 means any free port (`API_PORT`).
    pub port: u16,
    /// HTTP worker threads (`HTTP_WORKERS`).
    pub workers: usize,
    /// Longest time a request may take in all (`REQUEST_TIMEOUT_MS`, 8000).
    pub request_timeout: Duration,
    /// Connections in all (`MAX_CONNECTIONS`, 20000).
    pub max_connections: u32,
    /// Connections of one address or IPv6 prefix (`MAX_CONNECTIONS_PER_ADDRESS`, 1000); zero for
    /// any number.
    pub max_connections_per_address: u32,
    /// Longest time for a request's head to arrive (`HEAD_TIMEOUT_MS`, 5000).
    pub head_timeout: Duration,
    /// Longest time for a client to take nothing of its answer (`SEND_TIMEOUT_MS`, 10000).
    pub send_timeout: Duration,
    /// Longest time between two requests of a connection (`KEEP_ALIVE_SECONDS`, 75).
    pub keep_alive: Duration,
    /// Requests that one worker serves at once (`MAX_REQUESTS_IN_FLIGHT`, 4096).
    pub max_in_flight: u32,
    /// Lasting wait before a worker above which it refuses (`SHED_LAG_MS`, 100); zero for none.
    pub shed_lag: Duration,
    /// Longest time to finish what is in flight at shutdown (`SHUTDOWN_TIMEOUT_SECONDS`, 10).
    pub shutdown_timeout: Duration,
}

/// The AliExpress accounts and how the gateway is called.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Whom calls are made for, in turn, in the order of their numbers; none means: start the
    /// simulator inside.
    pub accounts: Vec<Account>,
    /// The shop's own tracking id (`ALIEXPRESS_TRACKING_ID`): what requests carry and links are
    /// kept under, whichever account asks. Also usable with the simulator.
    pub tracking_id: Option<String>,
    /// Gateway address (`ALIEXPRESS_GATEWAY_URL`, `https://api-sg.aliexpress.com/sync`).
    pub gateway_url: String,
    /// Default language (`ALIEXPRESS_LANGUAGE`).
    pub language: String,
    /// Default currency (`ALIEXPRESS_CURRENCY`).
    pub currency: String,
    /// Outbound pacing; `None` means not paced (the simulator inside, when nothing is set).
    pub pacing: Option<Pacing>,
    /// Longest time of one attempt (`UPSTREAM_TIMEOUT_MS`).
    pub attempt_timeout: Duration,
    /// Longest look-up of the gateway's name (`UPSTREAM_DNS_TIMEOUT_MS`, 1000).
    pub dns_timeout: Duration,
    /// Longest time to connect, and again for TLS (`UPSTREAM_CONNECT_TIMEOUT_MS`, 1000).
    pub connect_timeout: Duration,
    /// Largest answer that is read (`UPSTREAM_MAX_BODY_BYTES`, 4 MiB).
    pub max_body_bytes: usize,
    /// Calls under way at once, at most (`UPSTREAM_CONCURRENCY`, 64).
    pub concurrency: u32,
    /// Calls that may wait to be one of them (`UPSTREAM_QUEUE`, 256).
    pub queue: usize,
    /// Whether a late call is made a second time (`UPSTREAM_HEDGING`).
    pub hedging: bool,
    /// Attempts in all (`RETRY_MAX_ATTEMPTS`).
    pub retry_max_attempts: u32,
    /// First back-off (`RETRY_BASE_DELAY_MS`).
    pub retry_base_delay: Duration,
    /// Longest back-off (`RETRY_MAX_DELAY_MS`).
    pub retry_max_delay: Duration,
    /// Consecutive failures that open the breaker (`BREAKER_FAILURES`).
    pub breaker_failures: u32,
    /// First open time (`BREAKER_OPEN_SECONDS`).
    pub breaker_open: Duration,
    /// Share of failed calls that opens the breaker (`BREAKER_FAILURE_PERCENT`); 100 for never.
    pub breaker_failure_percent: u8,
}

/// Accounts that can be set.
pub const MOST_ACCOUNTS: usize = 4;

/// An upstream account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What its calls are signed with.
    pub credentials: Credentials,
    /// What it sends in place of the shop's own tracking id (`ALIEXPRESS_TRACKING_ID_2` and so on);
    /// `None`, as always for the first: the shop's own.
    pub tracking_id: Option<String>,
}

/// Key and secret of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ALIEXPRESS_APP_KEY`, `ALIEXPRESS_APP_KEY_2` and so on.
    pub app_key: String,
    /// `ALIEXPRESS_APP_SECRET`, `ALIEXPRESS_APP_SECRET_2` and so on.
    pub app_secret: Secret,
}

/// Outbound pacing of each account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pacing {
    /// Calls a second (`UPSTREAM_RATE_PER_SECOND`).
    pub per_second: f64,
    /// Calls that may go at once (`UPSTREAM_BURST`).
    pub burst: u32,
    /// Calls a day (`UPSTREAM_DAILY_BUDGET`); 0 means no bound.
    pub daily_budget: u64,
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// `sqlite://PATH` (`DATABASE_URL`).
    pub path: PathBuf,
    /// Connections in the pool (`DATABASE_POOL_SIZE`, 4).
    pub pool_size: u32,
}

/// Lifetimes and bounds of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// `CACHE_TTL`; when set, also the lifetime of every kind whose own is not.
    pub default_ttl: Duration,
    /// `CACHE_TTL_PRODUCT`.
    pub product_ttl: Duration,
    /// `CACHE_TTL_LINK`.
    pub link_ttl: Duration,
    /// `CACHE_TTL_SEARCH`.
    pub search_ttl: Duration,
    /// `CACHE_TTL_HOT`.
    pub hot_ttl: Duration,
    /// `CACHE_TTL_CATEGORY`.
    pub category_ttl: Duration,
    /// `CACHE_STALE_SECONDS`.
    pub stale: Duration,
    /// `CACHE_REVALIDATE_SECONDS`: served at once while it is refreshed.
    pub revalidate: Duration,
    /// `CACHE_SOFT_TIMEOUT_MS`: longest wait for something newer when there is something stale.
    pub soft_timeout: Duration,
    /// `CACHE_EAGER_PERCENT`: the last part of the fresh time, in which a hit refreshes.
    pub eager_percent: u8,
    /// `CACHE_NEGATIVE_TTL`.
    pub negative_ttl: Duration,
    /// `MAX_MEMORY_CACHE_ITEMS`.
    pub memory_items: usize,
    /// `MAX_MEMORY_CACHE_BYTES`.
    pub memory_bytes: u64,
    /// `MAX_DATABASE_CACHE_BYTES`.
    pub database_bytes: u64,
    /// `CACHE_WARM_KEYS`; 0 for none.
    pub warm_keys: usize,
    /// `CACHE_WARM_INTERVAL_SECONDS`.
    pub warm_interval: Duration,
    /// `CACHE_WARM_PER_SECOND`.
    pub warm_per_second: f64,
    /// `LAST_RESORT_CATALOG`; `None` means that there is no last resort.
    pub last_resort_catalog: Option<PathBuf>,
}

impl Cache {
    /// The longest time that anything kept is usable, jitter included.
    #[must_use]
    pub fn longest_life(&self) -> Duration {
        let kinds = [
            self.default_ttl,
            self.product_ttl,
            self.link_ttl,
            self.search_ttl,
            self.hot_ttl,
            self.category_ttl,
        ];
        let longest = kinds.into_iter().max().unwrap_or_default();
        longest.saturating_mul(2).saturating_add(self.stale)
    }
}

/// Keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `ADMIN_API_KEY`; `None` closes the admin endpoints.
    pub admin_key: Option<Secret>,
    /// `INTERNAL_API_KEY`.
    pub internal_key: Option<Secret>,
    /// `REQUIRE_API_KEY`.
    pub require_key: bool,
}

impl Access {
    /// A key of an admin that is shorter can be found by trying.
    const SHORTEST_ADMIN_KEY: usize = 16;

    /// What is allowed here and unwise, in a sentence.
    #[must_use]
    pub fn caution(&self) -> Option<String> {
        let key = self.admin_key.as_ref()?.expose();
        let short = key.chars().count() < Self::SHORTEST_ADMIN_KEY;
        short.then(|| {
            let least = Self::SHORTEST_ADMIN_KEY;
            format!("ADMIN_API_KEY has fewer than {least} characters, and may be guessed")
        })
    }
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `LOG_LEVEL`.
    pub level: slog::Level,
    /// `LOG_FORMAT`; `None` means text at a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// `LOG_FILE`.
    pub file: Option<PathBuf>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

/// A share of requests for which a feature is on, in percent: 0 is off, 100 is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout(pub u8);

/// Feature flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `ENABLE_ENHANCED_CACHING`.
    pub enhanced_caching: Rollout,
    /// `ENABLE_RETRY_LOGIC`.
    pub retry_logic: Rollout,
    /// `ENABLE_DATA_VALIDATION`.
    pub data_validation: Rollout,
    /// `ENABLE_STRUCTURED_LOGGING`.
    pub structured_logging: Rollout,
}

impl Features {
    /// Whether any of them is on for some clients only, so that it matters who asks.
    #[must_use]
    pub fn depend_on_clients(&self) -> bool {
        let Self { enhanced_caching, retry_logic, data_validation, structured_logging } = self;
        [enhanced_caching, retry_logic, data_validation, structured_logging]
            .into_iter()
            .any(|rollout| (1..100).contains(&rollout.0))
    }
}
