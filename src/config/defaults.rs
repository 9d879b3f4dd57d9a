//! The settings of a process for which nothing is set.
//!
//! Owns: every default; the settings page shows what stands here. Refuses nothing. No neighbours.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::{
    AbuseMode, AbuseSettings, Access, AddressHeader, Cache, Database, Features, Limits, Log,
    Pacing, Redis, Rollout, Server, Settings, Sources, Upstream,
};

/// Outbound pacing where it applies and a part of it is not set.
pub(super) const PACING: Pacing = Pacing { per_second: 5.0, burst: 10, daily_budget: 5_000 };

/// The upstream's address when none is set.
const GATEWAY: &str = "https://api-sg.aliexpress.com/sync";

/// Where GPT Actions call from.
const GPT_ORIGINS: [&str; 2] = ["https://chat.openai.com", "https://chatgpt.com"];

const DAY: u64 = 86_400;

/// Instances that share limits when nothing is said.
const INSTANCES: NonZeroU32 = NonZeroU32::new(2).unwrap();

impl Default for Settings {
    fn default() -> Self {
        Self {
            server: server(),
            upstream: upstream(),
            redis: Redis { url: None, timeout: crate::redis::DEFAULT_TIMEOUT },
            database: Database { path: PathBuf::from("breakwater.db"), pool_size: 4 },
            cache: cache(),
            access: Access { admin_key: None, internal_key: None, require_key: false },
            limits: limits(),
            allowed_origins: GPT_ORIGINS.map(String::from).to_vec(),
            log: Log { level: slog::Level::Info, format: None, file: None },
            features: features(),
            chaos_enabled: false,
            sources: Sources::default(),
        }
    }
}

fn server() -> Server {
    Server {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: 8080,
        // A container's processor share counts, not the machine's cores.
        workers: std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(512),
        request_timeout: Duration::from_millis(8_000),
        max_connections: 20_000,
        max_connections_per_address: 1_000,
        head_timeout: Duration::from_millis(5_000),
        send_timeout: Duration::from_millis(10_000),
        // Longer than proxies keep theirs: who closes first is not to lose a request of the other.
        keep_alive: Duration::from_secs(75),
        max_in_flight: 4_096,
        shed_lag: Duration::from_millis(100),
        shutdown_timeout: Duration::from_secs(10),
    }
}

fn upstream() -> Upstream {
    Upstream {
        accounts: Vec::new(),
        tracking_id: None,
        gateway_url: GATEWAY.to_owned(),
        language: "EN".to_owned(),
        currency: "USD".to_owned(),
        pacing: None,
        attempt_timeout: Duration::from_millis(2_000),
        dns_timeout: Duration::from_millis(1_000),
        connect_timeout: Duration::from_millis(1_000),
        max_body_bytes: 4 << 20,
        concurrency: 64,
        queue: 256,
        hedging: false,
        retry_max_attempts: 3,
        retry_base_delay: Duration::from_millis(1_000),
        retry_max_delay: Duration::from_millis(10_000),
        breaker_failures: 5,
        breaker_open: Duration::from_secs(30),
        breaker_failure_percent: 50,
    }
}

fn cache() -> Cache {
    Cache {
        default_ttl: Duration::from_secs(3_600),
        product_ttl: Duration::from_secs(DAY),
        link_ttl: Duration::from_secs(30 * DAY),
        search_ttl: Duration::from_secs(3_600),
        hot_ttl: Duration::from_secs(1_800),
        category_ttl: Duration::from_secs(7 * DAY),
        stale: Duration::from_secs(DAY),
        revalidate: Duration::from_secs(3_600),
        soft_timeout: Duration::from_millis(250),
        eager_percent: 10,
        database_bytes: 1 << 30,
        warm_keys: 200,
        warm_interval: Duration::from_secs(300),
        warm_per_second: 1.0,
        negative_ttl: Duration::from_secs(60),
        memory_items: 1_000,
        memory_bytes: 104_857_600,
        last_resort_catalog: None,
    }
}

fn limits() -> Limits {
    Limits {
        enabled: true,
        per_second: 5,
        burst: 10,
        per_minute: 60,
        search_per_minute: 100,
        search_burst: 150,
        search_per_key_per_minute: 1_000,
        shared: true,
        instances: INSTANCES,
        trusted_proxies: Vec::new(),
        client_address_header: AddressHeader::Both,
        ipv6_prefix: 64,
        abuse: AbuseSettings { mode: AbuseMode::On, repeats_per_minute: 20 },
    }
}

fn features() -> Features {
    Features {
        enhanced_caching: Rollout(100),
        retry_logic: Rollout(100),
        data_validation: Rollout(100),
        structured_logging: Rollout(100),
    }
}
