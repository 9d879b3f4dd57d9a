//! Replicas of a Postgres that lag, hang, die and are promoted, under a gateway that goes on.
//!
//! Owns: the rules of promise P20 for replicas. Stored answers are read from a replica that follows; one that
//! does not is left out and comes back by itself; what was written just now is seen; a failover is followed.

use std::time::Duration;

use breakwater::clock;
use serde_json::json;

use crate::pair::{Instance, Upstream, search, until};
use crate::postgres_server::{passes, rows, trouble, under_load};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::process::wait_until;

const LONG: Duration = Duration::from_secs(100);

/// A gateway that keeps one answer in memory.
fn with(upstream: &Upstream, primary: &str, replicas: &str) -> Instance {
    let settings = [
        ("CACHE_WARM_KEYS", "0"),
        ("MAX_MEMORY_CACHE_ITEMS", "1"),
        ("DATABASE_URL", primary),
        ("DATABASE_REPLICA_URLS", replicas),
    ];
    Instance::start(upstream, None, &settings)
}

/// Readings of stored answers that a server has done; it logs them from the first call on.
fn readings(server: &Postgres) -> usize {
    let log = server.log();
    let read = |line: &&str| line.contains("execute") && line.contains("FROM \"cache_entries\"");
    let of_answers = |line: &&str| line.contains("ANY");
    log.lines().filter(read).filter(of_answers).count()
}

fn logs_statements(server: &Postgres) {
    server.configure("log_statement = 'all'");
    until("it logs statements", || server.sql("SHOW log_statement") == "all");
}

fn lag(gateway: &Instance, of: std::net::SocketAddr) -> f64 {
    gateway.metric(&format!("db_replication_lag_seconds{{replica=\"{of}\"}}"))
}

/// Whether the database answers with what is not in memory.
fn is_read(gateway: &Instance, mut numbers: std::ops::Range<usize>) -> bool {
    numbers.all(|n| gateway.tier(&search(n)) == "database")
}

/// Reads so until the readings that each server did are what they must be: a busy machine makes a server too
/// late for a reading.
fn reads<const N: usize>(
    gateway: &Instance,
    servers: [&Postgres; N],
    what: &str,
    is_right: impl Fn([usize; N]) -> bool,
) {
    until(what, || {
        let before = servers.map(readings);
        let are_found = is_read(gateway, 0..10);
        let after = servers.map(readings);
        are_found && is_right(std::array::from_fn(|n| after[n] - before[n]))
    });
}

fn through(proxy: &FaultProxy, server: &Postgres) -> String {
    server.url().replace(&server.address().to_string(), &proxy.address().to_string())
}

#[test]
fn the_replica_that_follows_is_read_and_one_that_lags_hangs_or_dies_is_not() {
    let (primary, upstream) = (Postgres::start(), Upstream::start());
    let (near, far) = (primary.replica(), primary.replica());
    let proxy = FaultProxy::before(near.address());
    let replicas = format!("{},{}", through(&proxy, &near), far.url());
    let gateway = with(&upstream, &primary.url(), &replicas);
    let is_there = gateway.get("/metrics").text();
    assert_eq!(is_there.matches("db_replication_lag_seconds{replica=").count(), 2, "{is_there}");
    assert!(!is_there.contains(PASSWORD));
    until("both follow", || trouble(&gateway).is_empty());
    (0..40).for_each(|n| drop(gateway.ask(&search(n))));
    until("they are stored", || rows(&primary) == 40 && rows(&near) == 40 && rows(&far) == 40);
    let gateway = gateway.crashed();
    until("both follow", || trouble(&gateway).is_empty());
    [&primary, &near, &far].into_iter().for_each(logs_statements);
    let servers = [&primary, &near, &far];
    reads(&gateway, servers, "both are read in turn", |by| by == [0, 5, 5]);

    // One stops replaying; the primary writes on.
    far.sql("SELECT pg_wal_replay_pause()");
    let paused = clock::monotonic();
    until("its lag is measured", || (1.0..60.0).contains(&lag(&gateway, far.address())));
    reads(&gateway, servers, "the least lagging is read", |by| by == [0, 10, 0]);

    // The other one hangs: who finds out is answered, too.
    proxy.set(Fault::Hang);
    (10..20).for_each(|n| drop(gateway.ask(&search(n))));
    until("it is said", || trouble(&gateway).contains(&proxy.address().to_string()));
    until("how far is not known", || lag(&gateway, proxy.address()).is_infinite());
    until("the others are read", || is_read(&gateway, 0..10));
    proxy.set(Fault::None);
    until("it comes back", || trouble(&gateway).is_empty());

    let left_out = format!("{}: it is ", far.address());
    let is_out = |text: &str| text.contains(&left_out) && text.contains(" s behind");
    wait_until("the one that lags is left out", LONG, || {
        passes(Duration::from_millis(200));
        is_out(&trouble(&gateway))
    });
    // What it had not reached when it stopped, the primary was at up to two readings before.
    assert!(paused.elapsed() > Duration::from_secs(58), "{:?}", paused.elapsed());
    assert!(lag(&gateway, far.address()) > 60.0);
    until("the page says it", || {
        let live = gateway.admin("GET", "/admin/live", "").to_string();
        live.contains("replica_out") && is_out(&live)
    });

    // All are out: the primary is read.
    proxy.set(Fault::Refuse);
    until("it is said", || trouble(&gateway).contains(&proxy.address().to_string()));
    reads(&gateway, servers, "the primary is read", |by| by == [10, 0, 0]);
    far.sql("SELECT pg_wal_replay_resume()");
    proxy.set(Fault::None);
    until("both come back", || trouble(&gateway).is_empty());
    reads(&gateway, servers, "both are read again", |by| by == [0, 5, 5]);

    // The primary is away: its replicas are read.
    let stopped = primary.killed();
    until("it is said", || trouble(&gateway).contains("cannot be used"));
    until("they are read", || is_read(&gateway, 0..10));
    let primary = stopped.start();
    until("it is connected to again", || trouble(&gateway).is_empty());
    gateway.stop();
    upstream.stop();
    [near, far, primary].into_iter().for_each(Postgres::stop);
}

#[test]
fn what_was_written_just_now_is_seen_though_the_replica_lacks_it() {
    let (primary, upstream) = (Postgres::start(), Upstream::start());
    let replica = primary.replica();
    let gateway = with(&upstream, &primary.url(), &replica.url());
    until("it follows", || trouble(&gateway).is_empty());
    replica.sql("SELECT pg_wal_replay_pause()");
    (0..10).for_each(|n| drop(gateway.ask(&search(n))));
    until("they are stored", || rows(&primary) == 10);
    until("they are read", || is_read(&gateway, 0..9));
    assert_eq!(rows(&replica), 0);
    // An admin's change is in force, listed and noted at once, and after a restart.
    let entry = json!({"identifier": "203.0.113.9", "reason": "test"}).to_string();
    gateway.admin("POST", "/admin/rate-limit/blacklist", &entry);
    let is_listed = |gateway: &Instance| {
        gateway.admin("GET", "/admin/rate-limit/status", "").to_string().contains("203.0.113.9")
    };
    let is_noted = |gateway: &Instance| {
        gateway.admin("GET", "/admin/audit", "").to_string().contains("203.0.113.9")
    };
    assert!(is_listed(&gateway) && is_noted(&gateway));
    let gateway = gateway.restarted(|_| {});
    assert!(is_listed(&gateway) && is_noted(&gateway));
    assert_eq!(replica.sql("SELECT count(*) FROM changes WHERE topic <> 'log'"), "0");
    // An admin wants no database to be asked: neither is a replica.
    replica.sql("SELECT pg_wal_replay_resume()");
    until("it has followed", || rows(&replica) == 10 && is_read(&gateway, 0..10));
    gateway.admin("POST", "/admin/breakers/database/open", "");
    assert_ne!(gateway.tier(&search(0)), "database");
    gateway.stop();
    upstream.stop();
    [replica, primary].into_iter().for_each(Postgres::stop);
}

/// An address with both hosts.
fn both(first: &Postgres, second: &Postgres) -> String {
    let hosts = format!("{},{}", first.address(), second.address());
    first.url().replace(&first.address().to_string(), &hosts)
}

#[test]
fn a_replica_is_promoted_and_the_primary_hangs_or_dies() {
    for signal in ["STOP", "QUIT"] {
        let (primary, upstream) = (Postgres::start(), Upstream::start());
        let replica = primary.replica();
        let gateway = with(&upstream, &both(&primary, &replica), &both(&replica, &primary));
        until("it follows", || trouble(&gateway).is_empty());
        gateway.ask(&search(1));
        until("it is stored", || rows(&replica) == 1);
        let failed = under_load(&gateway, || {
            primary.signal(signal);
            until("it is said", || !trouble(&gateway).is_empty());
            replica.sql("SELECT pg_promote()");
            // It is the primary now, and has no replica.
            until("it takes writes", || trouble(&gateway).contains("answering"));
            passes(Duration::from_secs(1));
        });
        assert_eq!(failed, 0, "{signal}");
        let before = rows(&replica);
        gateway.ask(&search(2));
        until("it is stored there", || rows(&replica) > before);
        let entry = json!({"identifier": "203.0.113.9", "reason": "test"}).to_string();
        gateway.admin("POST", "/admin/rate-limit/blacklist", &entry);
        assert_ne!(replica.sql("SELECT count(*) FROM changes WHERE topic <> 'log'"), "0");
        gateway.stop();
        upstream.stop();
        replica.stop();
        primary.signal("CONT");
        drop(primary.killed());
    }
}

#[test]
fn a_primary_that_becomes_read_only_is_left_for_the_one_the_address_leads_to() {
    let (primary, upstream) = (Postgres::start(), Upstream::start());
    let next = primary.replica();
    let proxy = FaultProxy::before(primary.address());
    let gateway = with(&upstream, &through(&proxy, &primary), "none");
    gateway.ask(&search(1));
    until("it is stored", || rows(&next) == 1);
    next.sql("SELECT pg_promote()");
    proxy.lead_to(next.address());
    // Connections that are open stay, and fail with 25006.
    primary.configure("default_transaction_read_only = on");
    gateway.ask(&search(2));
    until("it is stored in the new one", || rows(&next) == 2);
    until("all is well", || trouble(&gateway).is_empty());
    gateway.stop();
    upstream.stop();
    [next, primary].into_iter().for_each(Postgres::stop);
}
