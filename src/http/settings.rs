//! The settings of the surface: where it listens, what it takes at once, features, fault endpoints.
//!
//! Owns: their declaration, and [`HttpSettings`], which is all that handlers and middleware read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::connection::descriptor_limit::{Shortage, shortage_for};
use crate::access::AccessSettings;
use crate::cache::CacheSettings;
use crate::config::kinds::{
    INTERFACE, LISTENER, List, Optional, Rollout, SHARE, SWITCH, Text, WEB_ADDRESS, WEB_ORIGIN,
    Whole, millis, seconds,
};
use crate::config::{Mistakes, Section, Settings};
use crate::limits::Limits;
use crate::settings;

/// A request's head has so long to arrive, and a new connection to begin one.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// A client may take nothing of its answer for so long.
pub(super) const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A worker whose event loop is late by more refuses a share of the requests. A debug build is late
/// without being overloaded.
pub const SHED_LAG: Duration = Duration::from_millis(if cfg!(debug_assertions) { 0 } else { 20 });

/// Where GPT Actions call from.
const GPT_ORIGINS: [&str; 2] = ["https://chat.openai.com", "https://chatgpt.com"];

/// A container's processor share counts, not the machine's cores.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(512)
}

const PUBLIC_ADDRESS: Text<String> = Text {
    expected: || "an http or https address such as https://api.example.com".to_owned(),
    ..WEB_ADDRESS
};

settings! {
    pub struct Server in "server" {
        host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), "API_HOST", "host", INTERFACE,
            "address to listen on";
        port: u16 = 8080, "API_PORT", "port", Whole(0, 65_535),
            "port to listen on; 0 takes any free port and prints it";
        metrics_listen: Option<SocketAddr> = None, "METRICS_LISTEN", "metrics_listen",
            Optional(LISTENER),
            "address and port for metrics, health and admin alone; they are not served to clients then";
        workers: usize = cores(), "HTTP_WORKERS", "workers", Whole(1, 512),
            "threads that serve requests", words("number of cores");
        request_timeout: Duration = Duration::from_secs(8), "REQUEST_TIMEOUT_MS",
            "request_timeout_ms", millis(1, 600_000), "longest time a request may take in all";
        max_connections_per_address: u32 = 1_000, "MAX_CONNECTIONS_PER_ADDRESS",
            "max_connections_per_address", Whole(0, 1_000_000),
            "connections of one address, while clients are limited at all; those of trusted proxies are not counted; 0: any";
        // Longer than proxies keep theirs: who closes first is not to lose a request of the other.
        keep_alive: Duration = Duration::from_secs(75), "KEEP_ALIVE_SECONDS", "keep_alive_seconds",
            seconds(1, 3_600), "longest time between two requests of a connection";
        max_in_flight: u32 = 4_096, "MAX_REQUESTS_IN_FLIGHT", "max_requests_in_flight",
            Whole(1, 1_000_000),
            "requests that one worker serves at once; more are refused, and of those with a body half as many";
        shutdown_drain: Duration = Duration::from_millis(500), "SHUTDOWN_DRAIN_MS",
            "shutdown_drain_ms", millis(0, 600_000),
            "when stopping: how long /health/ready is 503 and all else is answered before connections are refused";
        shutdown_timeout: Duration = Duration::from_secs(10), "SHUTDOWN_TIMEOUT_SECONDS",
            "shutdown_timeout_seconds", seconds(1, 3_600),
            "longest time to finish what is in flight when stopping, after SHUTDOWN_DRAIN_MS";
        allowed_origins: Vec<String> = GPT_ORIGINS.map(String::from).to_vec(), "ALLOWED_ORIGINS",
            "allowed_origins", List(WEB_ORIGIN),
            "web origins that may call from a browser, compared exactly";
        public_url: Option<String> = None, "PUBLIC_URL", "public_url", Optional(PUBLIC_ADDRESS),
            "address that clients know the gateway by, for documents; else what a trusted proxy tells";
        public_caching: bool = false, "PUBLIC_CACHING", "public_caching", SWITCH,
            "caches between may keep answers for all clients; those then tell nothing about limits";
    }
}

impl Server {
    /// The address that clients know the gateway by, as far as the settings tell.
    pub fn reached_at(&self, port: u16) -> String {
        let any = self.host.is_unspecified();
        let host = if any { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { self.host };
        let own = || format!("http://{}", SocketAddr::new(host, port));
        self.public_url.as_deref().map_or_else(own, |url| url.trim_end_matches('/').to_owned())
    }
}

impl Section for Server {
    fn probe(&self, mistakes: &mut Mistakes) {
        if let Some(Shortage { descriptors, least }) = shortage_for(self.workers) {
            let expected = format!(
                "at least {least} with HTTP_WORKERS={}; raise `ulimit -n` (LimitNOFILE) or have fewer workers",
                self.workers
            );
            mistakes.add("file descriptors", Some(descriptors.to_string()), expected);
        }
        // Any port: the one that is set may be in use by the gateway that runs.
        if let Err(error) = std::net::TcpListener::bind((self.host, 0)) {
            let expected = format!("an address of this machine ({error})");
            mistakes.add("API_HOST", Some(self.host.to_string()), expected);
        }
        let Some(inside) = self.metrics_listen else { return };
        let is_any = inside.ip().is_unspecified() || self.host.is_unspecified();
        let expected = if inside.port() == self.port
            && inside.port() != 0
            && (is_any || inside.ip() == self.host)
        {
            "another address than that of API_HOST and API_PORT".to_owned()
        } else if let Err(error) = std::net::TcpListener::bind((inside.ip(), 0)) {
            format!("an address of this machine ({error})")
        } else {
            return;
        };
        mistakes.add("METRICS_LISTEN", Some(inside.to_string()), expected);
    }
}

settings! {
    #[derive(Copy, Eq)]
    pub struct Features in "features" {
        enhanced_caching: Rollout = Rollout(100), "ENABLE_ENHANCED_CACHING", "enhanced_caching", SHARE,
            "caching in three tiers", live();
        retry_logic: Rollout = Rollout(100), "ENABLE_RETRY_LOGIC", "retry_logic", SHARE,
            "retries of failed upstream calls", live();
        data_validation: Rollout = Rollout(100), "ENABLE_DATA_VALIDATION", "data_validation", SHARE,
            "dropping of records that make no sense", live();
        structured_logging: Rollout = Rollout(100), "ENABLE_STRUCTURED_LOGGING", "structured_logging",
            SHARE, "log lines as JSON; off means text whatever the format says";
    }
}

impl Section for Features {}

/// The features as they are in force now, readable for the price of a load.
#[derive(Debug)]
pub struct CurrentFeatures(AtomicU32);

impl CurrentFeatures {
    pub fn new(features: Features) -> Self {
        let current = Self(AtomicU32::new(0));
        current.set(features);
        current
    }

    pub fn set(&self, features: Features) {
        let Features { enhanced_caching, retry_logic, data_validation, structured_logging } =
            features;
        let shares = [enhanced_caching, retry_logic, data_validation, structured_logging];
        self.0.store(u32::from_le_bytes(shares.map(|rollout| rollout.0)), Ordering::Relaxed);
    }

    pub fn get(&self) -> Features {
        let shares = self.0.load(Ordering::Relaxed).to_le_bytes().map(Rollout);
        let [enhanced_caching, retry_logic, data_validation, structured_logging] = shares;
        Features { enhanced_caching, retry_logic, data_validation, structured_logging }
    }

    pub fn depend_on_clients(&self) -> bool {
        self.get().depend_on_clients()
    }
}

impl Features {
    /// Whether any of them is on for some clients only, so that answers depend on the client.
    pub fn depend_on_clients(&self) -> bool {
        let Self { enhanced_caching, retry_logic, data_validation, structured_logging } = self;
        [enhanced_caching, retry_logic, data_validation, structured_logging]
            .into_iter()
            .any(|rollout| (1..100).contains(&rollout.0))
    }
}

settings! {
    pub struct Chaos in "chaos" {
        enabled: bool = false, "CHAOS_ENABLED", "enabled", SWITCH,
            "opens the fault endpoints under /admin/chaos; for tests only";
    }
}

impl Section for Chaos {}

/// The values that the surface works with; those of other rooms are shown or enforced by it. As they were
/// at the start: what a reload changes is asked where it is in force.
#[derive(Debug)]
pub struct HttpSettings {
    pub server: Server,
    /// As they are now.
    pub features: CurrentFeatures,
    pub chaos: Chaos,
    pub access: AccessSettings,
    pub limits: Limits,
    pub cache: CacheSettings,
    /// The database's file, for its place on the disk.
    pub database: PathBuf,
    /// Files of certificates, each under its setting; `None`: it is not set.
    pub certificates: [(&'static str, Option<PathBuf>); 3],
}

impl HttpSettings {
    pub fn of(
        settings: &Settings,
        database: PathBuf,
        certificates: [(&'static str, Option<PathBuf>); 3],
    ) -> Self {
        Self {
            server: settings.of(),
            features: CurrentFeatures::new(settings.of()),
            chaos: settings.of(),
            access: settings.of(),
            limits: settings.of(),
            cache: settings.of(),
            database,
            certificates,
        }
    }
}
