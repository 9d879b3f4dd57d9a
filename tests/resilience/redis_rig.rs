//! The Redis tier alone against a real server: no gateway, the wire breakable between them.
//!
//! Owns: the server, the proxy, one worker's way through it with a breaker as the application has
//! it, and waiting with a bound. A busy machine may make any command too late for the tier; so what
//! must work is tried until it does, and only what must never happen is asserted at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use breakwater::cache::CacheKey;
use breakwater::cache::tiers::Row;
use breakwater::cache::tiers::redis::RedisTier;
use breakwater::clock;
use breakwater::failure::StoreError;
use breakwater::redis::{DEFAULT_TIMEOUT, Health, Redis as Client, Servers, TlsFiles};
use breakwater::resilience::breaker::{Breaker, Settings};
use bytes::Bytes;

use crate::support::fault_proxy::FaultProxy;
use crate::support::redis::Redis;

/// Longest until something that must happen has happened.
const WITHIN: Duration = Duration::from_secs(15);
/// How long what tests store lives: longer than any test.
pub(crate) const LIFE: Duration = Duration::from_secs(600);

/// A server, a wire, a tier.
pub(crate) struct Rig {
    server: Option<Redis>,
    address: SocketAddr,
    pub(crate) proxy: FaultProxy,
    pub(crate) tier: RedisTier,
    health: Arc<Health>,
}

impl Rig {
    pub(crate) fn start() -> Self {
        let redis = Redis::start();
        let proxy = FaultProxy::before(redis.address());
        let limits = Settings {
            open_max: Duration::from_secs(1),
            ..Settings::new(3, Duration::from_millis(500))
        };
        let health = Arc::new(Health::new(Breaker::new("redis", limits, Arc::new(|_| {}))));
        let tier = RedisTier { client: client(&proxy, &health) };
        Self { address: redis.address(), server: Some(redis), proxy, tier, health }
    }

    /// The server, while it is there.
    pub(crate) fn redis(&self) -> &Redis {
        self.server.as_ref().expect("it was not killed")
    }

    /// The server ends as by a crash.
    pub(crate) fn kill(&mut self) {
        self.server.take().expect("it was not killed").kill();
    }

    /// An empty server at the address of the one that was killed.
    pub(crate) fn revive(&mut self) {
        self.server = Some(Redis::start_at(self.address));
    }

    /// The client of another worker.
    pub(crate) fn client(&self) -> Client {
        client(&self.proxy, &self.health)
    }

    /// Another worker's way to the same Redis.
    pub(crate) fn another_worker(&self) -> RedisTier {
        RedisTier { client: self.client() }
    }

    /// How often the breaker has moved.
    pub(crate) fn moves(&self) -> u64 {
        self.health.breaker().snapshot(clock::monotonic()).transitions
    }

    /// Stores this under the key, as soon as Redis takes it.
    pub(crate) async fn store(&self, key: &CacheKey, body: &'static str) {
        let row = row(key, Bytes::from_static(body.as_bytes()), LIFE);
        until("it is stored", async || self.tier.put(std::slice::from_ref(&row)).await.is_ok())
            .await;
    }

    /// Waits until the tier holds this under the key.
    pub(crate) async fn until_holds(&self, key: &CacheKey, body: Option<&str>) {
        until("it holds what it should", async || {
            let found = self.tier.get(&[key]).await;
            found.is_ok_and(|found| found[0].as_deref() == body.map(str::as_bytes))
        })
        .await;
    }

    /// Asks for signs of life as the application does, until they say so of writes.
    pub(crate) async fn until_refuses_writes(&self, refuses: bool) {
        until("what is known of writes is true", async || {
            self.tier.client.ping().await.is_ok() && self.tier.client.refuses_writes() == refuses
        })
        .await;
    }

    /// Asks for signs of life until the breaker says so.
    pub(crate) async fn until_avoided(&self, avoided: bool) {
        until("the breaker has moved", async || {
            drop(self.tier.client.ping().await);
            self.tier.client.is_avoided() == avoided
        })
        .await;
    }

    pub(crate) fn stop(self) {
        self.server.expect("it was not killed").stop();
    }
}

fn client(proxy: &FaultProxy, health: &Arc<Health>) -> Client {
    let url = format!("redis://{}/0", proxy.address());
    let servers = Servers::new(&url, TlsFiles::default()).unwrap();
    Client::new(&servers, DEFAULT_TIMEOUT, Arc::clone(health))
}

/// Tries until it is so; fails when it takes too long.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = clock::monotonic() + WITHIN;
    while !so().await {
        assert!(clock::monotonic() < deadline, "{what}: not within {WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Tries until there is an outcome: a command may be late now and then, or avoided for a while.
pub(crate) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let mut outcome = None;
    until("an answer", async || {
        outcome = ask().await.ok();
        outcome.is_some()
    })
    .await;
    outcome.unwrap()
}

/// A key with this name.
pub(crate) fn key(name: &str) -> CacheKey {
    CacheKey::new(format!("products:test:{name}"))
}

/// What the tier stores under the key, for so long.
pub(crate) fn row(key: &CacheKey, entry: Bytes, life: Duration) -> Row {
    let now = clock::now();
    let (key, stale_until) = (key.clone(), now.plus(life));
    Row { key, kind: "test", entry, stored_at: now, stale_until, question: None }
}

/// The name of the key's entry in Redis.
pub(crate) fn entry_of(key: &CacheKey) -> Vec<u8> {
    format!("breakwater:2:e:{key}").into_bytes()
}

/// The names of all entries that Redis holds; locks and the sign of life are none.
pub(crate) fn keys_of_entries(redis: &Redis) -> Vec<String> {
    let text = String::from_utf8(redis.command(&[b"KEYS", b"breakwater:2:e:*"])).unwrap();
    let names = text.split("\r\n").filter(|line| line.starts_with("breakwater:"));
    names.map(str::to_owned).collect()
}
