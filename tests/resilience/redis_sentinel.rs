//! A primary, its replica and sentinels: a failover, a password of theirs, a service that none knows.
//!
//! Owns: the processes. What is waited for is the sentinels' word that there is another primary; from
//! then on the gateway has two seconds.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use breakwater::clock;
use breakwater::redis::{Health, Redis as Client, Servers, TlsFiles};
use breakwater::resilience::breaker::{Breaker, Settings};
use tempfile::TempDir;

use crate::front::Front;
use crate::redis_rig::until;
use crate::support::gateway::Plan;
use crate::support::process::{Process, wait_until};
use crate::support::redis::{Redis, command_at, free_address};

const WITHIN: Duration = Duration::from_secs(20);

/// One sentinel that watches a primary under the name `shop`.
struct Sentinel {
    address: SocketAddr,
    process: Process,
    _folder: TempDir,
}

impl Sentinel {
    fn watch(primary: SocketAddr, quorum: u32, further: &str) -> Self {
        let (address, folder) = (free_address(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        let port = address.port();
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nsentinel monitor shop 127.0.0.1 {} {quorum}\n\
             sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 2000\n{further}\n",
            folder.path().display(),
            primary.port(),
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        let process = Process::start("sentinel", &mut command, &folder.path().join("log"));
        wait_until("the sentinel listens", WITHIN, || {
            std::net::TcpStream::connect(address).is_ok()
        });
        Self { address, process, _folder: folder }
    }

    fn says(&self, words: &[&[u8]]) -> String {
        String::from_utf8(command_at(self.address, words)).unwrap()
    }

    /// Waits until it knows so many replicas.
    fn until_knows_replicas(&self, count: usize) {
        wait_until("the sentinel knows the replica", WITHIN, || {
            let said = self.says(&[b"SENTINEL", b"MASTER", b"shop"]);
            said.contains(&format!("num-slaves\r\n$1\r\n{count}\r\n"))
        });
    }

    fn names(&self, primary: SocketAddr) -> bool {
        let said = self.says(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"shop"]);
        said.contains(&format!("\r\n{}\r\n", primary.port()))
    }
}

/// A primary with a replica, and the sentinel that watches them.
pub(crate) struct Guarded {
    primary: Option<Redis>,
    replica: Redis,
    sentinel: Sentinel,
}

impl Guarded {
    pub(crate) fn start() -> Self {
        let primary = Redis::start();
        let replica = replica_of(&primary);
        let sentinel = Sentinel::watch(primary.address(), 1, "");
        sentinel.until_knows_replicas(1);
        Self { primary: Some(primary), replica, sentinel }
    }

    pub(crate) fn url(&self) -> String {
        // One that is away costs nothing.
        format!("redis+sentinel://{},{}/shop", free_address(), self.sentinel.address)
    }

    /// Kills the primary; returns when the sentinel names the replica.
    pub(crate) fn fail_over(&mut self, mut meanwhile: impl FnMut()) {
        self.primary.take().expect("it runs").kill();
        wait_until("the replica is named", WITHIN, || {
            meanwhile();
            self.sentinel.names(self.replica.address())
        });
    }

    pub(crate) fn signal(&self, name: &str) {
        let all = self.primary.iter().chain([&self.replica]);
        all.for_each(|redis| redis.process().signal(name));
    }

    pub(crate) fn stop(self) {
        self.sentinel.process.terminate();
        self.primary.into_iter().chain([self.replica]).for_each(Redis::stop);
    }
}

fn replica_of(primary: &Redis) -> Redis {
    let port = primary.address().port().to_string();
    let replica =
        Redis::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
    wait_until("the replica follows", WITHIN, || {
        let role = replica.command(&[b"ROLE"]);
        String::from_utf8_lossy(&role).contains("connected")
    });
    replica
}

fn client(url: &str) -> Client {
    let settings = Settings {
        open_max: Duration::from_secs(1),
        ..Settings::new(3, Duration::from_millis(500))
    };
    let breaker = Breaker::new("redis", settings, Arc::new(|_| {}));
    let servers = Servers::new(url, TlsFiles::default()).unwrap();
    Client::new(&servers, Duration::from_millis(200), Arc::new(Health::new(breaker)))
}

fn plan(folder: &Path, url: &str) -> Plan {
    Plan::in_folder(folder).with("REDIS_URL", url).with("HTTP_WORKERS", "2")
}

#[test]
fn after_a_failover_the_gateway_uses_the_new_primary_within_two_seconds() {
    let mut redis = Guarded::start();
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(folder.path(), &redis.url());
    let mut front = Front::start_as(&plan, folder.path());
    front.until_health("redis", "healthy");
    for _ in 0..5 {
        front.ask_anew();
    }
    // Every answer is 200, which the front sees to.
    redis.fail_over(|| drop(front.ask_anew()));
    let named = clock::monotonic();
    let entries = || redis.replica.command(&[b"DBSIZE"]);
    let before = entries();
    while front.health_of("redis") != "healthy" || entries() == before {
        front.ask_anew();
        let waited = clock::monotonic() - named;
        assert!(waited < Duration::from_secs(2), "after {waited:?}: {}", front.health_of("redis"));
    }
    front.stop();
    redis.stop();
}

#[tokio::test]
async fn an_old_primary_that_goes_on_is_left_once_another_is_named() {
    let (old, new) = (Redis::start(), Redis::start());
    let sentinel = Sentinel::watch(old.address(), 1, "");
    let client = client(&format!("redis+sentinel://{}/shop", sentinel.address));
    until("redis answers", async || client.ping().await.is_ok()).await;
    // The old one hears nothing of it, and takes writes as before.
    assert!(sentinel.says(&[b"SENTINEL", b"REMOVE", b"shop"]).starts_with("+OK"));
    let port = new.address().port().to_string();
    let monitor: &[&[u8]] =
        &[b"SENTINEL", b"MONITOR", b"shop", b"127.0.0.1", port.as_bytes(), b"1"];
    assert!(sentinel.says(monitor).starts_with("+OK"));
    until("the new primary is pinged", async || {
        drop(client.ping().await);
        new.command(&[b"DBSIZE"]).starts_with(b":1")
    })
    .await;
    sentinel.process.terminate();
    new.stop();
    old.stop();
}

#[tokio::test]
async fn sentinels_that_want_the_password_get_it() {
    let primary = Redis::start_with(&["--requirepass", "not-to-be-told"]);
    let further = "requirepass not-to-be-told\nsentinel auth-pass shop not-to-be-told";
    let sentinel = Sentinel::watch(primary.address(), 1, further);
    let client = client(&format!("redis+sentinel://:not-to-be-told@{}/shop/1", sentinel.address));
    until("redis answers", async || client.ping().await.is_ok()).await;
    let kept = primary.command_as(b"not-to-be-told", &[b"INFO", b"keyspace"]);
    assert!(String::from_utf8_lossy(&kept).contains("db1:keys=1"), "in its database");
    let without = self::client(&format!("redis+sentinel://{}/shop", sentinel.address));
    drop(without.ping().await);
    until("what is missing is told", async || {
        drop(without.ping().await);
        without.trouble().is_some_and(|said| said.contains("NOAUTH") && said.contains("check user"))
    })
    .await;
    sentinel.process.terminate();
    primary.stop();
}

#[tokio::test]
async fn a_service_that_no_sentinel_knows_is_told() {
    let primary = Redis::start();
    let sentinel = Sentinel::watch(primary.address(), 1, "");
    let client = client(&format!("redis+sentinel://{}/other", sentinel.address));
    until("it is told", async || {
        assert!(client.ping().await.is_err());
        client.trouble().is_some_and(|said| {
            said.contains("No such master") && said.contains("misconfigured: check the service")
        })
    })
    .await;
    sentinel.process.terminate();
    primary.stop();
}

#[tokio::test]
async fn messages_come_from_the_primary_that_sentinels_name() {
    let primary = Redis::start();
    let sentinel = Sentinel::watch(primary.address(), 1, "");
    let client = client(&format!("redis+sentinel://{}/shop", sentinel.address));
    let mut messages =
        crate::redis_rig::eventually(async || client.subscribe("channel").await).await;
    crate::redis_rig::eventually(async || client.publish("channel", "hello").await).await;
    assert_eq!(messages.next().await.as_deref(), Some("hello"));
    sentinel.process.terminate();
    primary.stop();
}
