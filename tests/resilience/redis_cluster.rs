//! A cluster of three primaries and a replica: keys of all nodes, a slot that moves, a node that dies.
//!
//! Owns: the processes and what makes a cluster of them. What is waited for is what the nodes themselves
//! say.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use breakwater::cache::CacheKey;
use breakwater::cache::tiers::redis::RedisTier;
use breakwater::clock;
use breakwater::redis::{Health, Redis as Client, Script, Servers, TlsFiles};
use breakwater::resilience::breaker::{Breaker, Settings};
use bytes::Bytes;

use crate::front::Front;
use crate::redis_rig::{LIFE, entry_of, eventually, key, row, until};
use crate::support::gateway::Plan;
use crate::support::process::wait_until;
use crate::support::redis::{Redis, free_address};

const WITHIN: Duration = Duration::from_secs(20);
const RANGES: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Three primaries, and replicas where they are wanted.
pub(crate) struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<Redis> = RANGES.iter().map(|_| node()).collect();
        for (node, (first, last)) in nodes.iter().zip(RANGES) {
            let (first, last) = (first.to_string(), last.to_string());
            let said = say(node, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            assert!(said.starts_with("+OK"), "{said}");
        }
        let cluster = Self { nodes };
        cluster.nodes[1..].iter().for_each(|node| cluster.meets(node));
        cluster.until_whole();
        cluster
    }

    fn meets(&self, node: &Redis) {
        let port = node.address().port().to_string();
        let bus = bus_of(node.address()).to_string();
        let said = say(&self.nodes[0], &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        assert!(said.starts_with("+OK"), "{said}");
    }

    fn until_whole(&self) {
        let size = format!("cluster_known_nodes:{}", self.nodes.len());
        for node in &self.nodes {
            wait_until("the cluster is whole", WITHIN, || {
                let said = say(node, &["CLUSTER", "INFO"]);
                said.contains("cluster_state:ok")
                    && said.contains("cluster_slots_ok:16384")
                    && said.contains(&size)
            });
        }
    }

    /// A replica of the first node, which follows it.
    pub(crate) fn with_replica(mut self) -> Self {
        let replica = node();
        self.meets(&replica);
        self.nodes.push(replica);
        self.until_whole();
        let replica = &self.nodes[3];
        let primary = id_of(&self.nodes[0]);
        wait_until("the replica knows its primary", WITHIN, || {
            say(replica, &["CLUSTER", "REPLICATE", &primary]).starts_with("+OK")
        });
        wait_until("the replica follows", WITHIN, || say(replica, &["ROLE"]).contains("connected"));
        wait_until("the others know it", WITHIN, || {
            say(&self.nodes[1], &["CLUSTER", "SLOTS"])
                .contains(&format!(":{}\r\n", replica.address().port()))
        });
        self
    }

    /// Kills the first node; returns when the replica has taken over and the others know it.
    pub(crate) fn fail_over(&mut self, mut meanwhile: impl FnMut()) -> Redis {
        self.nodes.remove(0).kill();
        let replica = self.nodes.pop().unwrap();
        wait_until("the replica takes over", WITHIN, || {
            meanwhile();
            say(&replica, &["ROLE"]).contains("master")
        });
        let port = replica.address().port();
        wait_until("the others know it", WITHIN, || {
            say(&self.nodes[0], &["CLUSTER", "SLOTS"])
                .contains(&format!(":5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n"))
        });
        replica
    }

    pub(crate) fn signal(&self, name: &str) {
        self.nodes.iter().for_each(|node| node.process().signal(name));
    }

    pub(crate) fn url(&self) -> String {
        // The replica is found.
        let named = self.nodes.iter().take(3);
        let addresses: Vec<_> = named.map(|node| node.address().to_string()).collect();
        format!("redis+cluster://{}", addresses.join(","))
    }

    /// The node that has this key.
    fn owner(&self, name: &[u8]) -> usize {
        let said =
            String::from_utf8(self.nodes[0].command(&[b"CLUSTER", b"KEYSLOT", name])).unwrap();
        let slot: u16 = said.trim_start_matches(':').lines().next().unwrap().parse().unwrap();
        RANGES.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap()
    }

    pub(crate) fn stop(self) {
        self.nodes.into_iter().for_each(Redis::stop);
    }
}

fn bus_of(address: SocketAddr) -> u16 {
    // Ports of nodes are from the range of free ones, which begins far above this.
    address.port() - 20_000
}

fn node() -> Redis {
    let address = free_address();
    let bus = bus_of(address).to_string();
    Redis::start_with_at(
        address,
        &[
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ],
    )
}

fn say(node: &Redis, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    String::from_utf8(node.command(&words)).unwrap()
}

fn id_of(node: &Redis) -> String {
    say(node, &["CLUSTER", "MYID"]).lines().nth(1).unwrap().to_owned()
}

fn client(url: &str) -> Client {
    let breaker =
        Breaker::new("redis", Settings::new(3, Duration::from_millis(500)), Arc::new(|_| {}));
    let servers = Servers::new(url, TlsFiles::default()).unwrap();
    Client::new(&servers, Duration::from_millis(200), Arc::new(Health::new(breaker)))
}

fn keys(prefix: &str) -> Vec<CacheKey> {
    (0..30).map(|number| key(&format!("{prefix}{number}"))).collect()
}

#[tokio::test]
async fn what_lies_on_all_nodes_is_found_locked_walked_and_removed() {
    let cluster = Cluster::start();
    // Any one node is enough to begin with.
    let first = format!("redis+cluster://{}", cluster.nodes[2].address());
    let tier = RedisTier { client: client(&first) };
    let (mine, others) = (keys("mine"), keys("others"));
    let all: Vec<&CacheKey> = mine.iter().chain(&others).collect();
    let owners: BTreeSet<_> = all.iter().map(|key| cluster.owner(&entry_of(key))).collect();
    assert_eq!(owners.len(), 3, "they lie on all nodes");
    let rows: Vec<_> = all.iter().map(|key| row(key, Bytes::from(key.to_string()), LIFE)).collect();
    eventually(async || tier.put(&rows).await).await;
    let found = eventually(async || tier.get(&all).await).await;
    let bodies =
        found.iter().map(|body| String::from_utf8(body.as_ref().unwrap().to_vec()).unwrap());
    assert!(bodies.eq(all.iter().map(|key| key.to_string())), "in their order");

    let some: Vec<&CacheKey> = mine.iter().collect();
    let held = eventually(async || tier.try_hold(&some, "token", LIFE).await).await;
    assert!(held.iter().all(|held| *held));
    let seen = eventually(async || tier.peek(&all).await).await;
    assert!(seen.iter().all(|(body, _)| body.is_some()));
    assert_eq!(seen.iter().filter(|(_, held)| *held).count(), some.len());
    assert_eq!(eventually(async || tier.release(&some, "token").await).await, 30);

    let (walked, whole) = eventually(async || tier.keys("*").await).await;
    assert_eq!((walked.len(), whole), (60, true));
    let starts = eventually(async || tier.beginnings(&walked, 13).await).await;
    assert!(starts.iter().all(|(start, size)| &start[..] == b"products:test" && *size > 13));
    assert_eq!(eventually(async || tier.remove(&some[..10]).await).await, 10);
    let removed = eventually(async || tier.remove_matching("*:mine*").await).await;
    assert_eq!(removed, (20, true));
    assert_eq!(eventually(async || tier.keys("*").await).await.0.len(), 30);
    assert_eq!(tier.client.trouble(), None);
    cluster.stop();
}

#[tokio::test]
async fn scripts_and_messages_reach_every_node() {
    let cluster = Cluster::start();
    let (one, other) = (client(&cluster.url()), client(&cluster.url()));
    let script = Script::new("return {redis.call('INCRBY', KEYS[1], ARGV[1])}");
    for number in 0..12 {
        let key = format!("counter:{{{number}}}");
        for (client, count) in [(&one, 1), (&other, 2)] {
            assert_eq!(eventually(async || client.run(&script, &key, &[1]).await).await, [count]);
        }
    }
    for channel in ["a", "b", "c", "d"] {
        let mut messages = eventually(async || one.subscribe(channel).await).await;
        eventually(async || other.publish(channel, "hello").await).await;
        assert_eq!(messages.next().await.as_deref(), Some("hello"));
    }
    cluster.stop();
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_and_scripts_run_once() {
    let cluster = Cluster::start();
    let client = client(&cluster.url());
    let script = Script::new("return {redis.call('INCRBY', KEYS[1], ARGV[1])}");
    let count = async || eventually(async || client.run(&script, "foo", &[1]).await).await[0];
    assert_eq!((count().await, count().await), (1, 2));
    // Slot 12182 is on its way from the third to the first, then it is there.
    let (from, to) = (&cluster.nodes[2], &cluster.nodes[0]);
    let (from_id, to_id) = (id_of(from), id_of(to));
    assert!(say(to, &["CLUSTER", "SETSLOT", "12182", "IMPORTING", &from_id]).starts_with("+OK"));
    assert!(say(from, &["CLUSTER", "SETSLOT", "12182", "MIGRATING", &to_id]).starts_with("+OK"));
    assert_eq!(count().await, 3, "it is still there");
    let port = to.address().port().to_string();
    assert!(say(from, &["MIGRATE", "127.0.0.1", &port, "foo", "0", "5000"]).starts_with("+OK"));
    assert_eq!(count().await, 4, "asked for at the other");
    for node in [to, from, &cluster.nodes[1]] {
        assert!(say(node, &["CLUSTER", "SETSLOT", "12182", "NODE", &to_id]).starts_with("+OK"));
    }
    assert_eq!((count().await, count().await), (5, 6), "moved");
    assert!(say(to, &["GET", "foo"]).starts_with("$1\r\n6"));
    assert_eq!(client.trouble(), None);
    cluster.stop();
}

#[tokio::test]
async fn one_node_of_a_cluster_alone_and_a_single_server_are_told() {
    let (cluster, single) = (Cluster::start(), Redis::start());
    let node = client(&cluster.nodes[0].url());
    let no_cluster = client(&format!("redis+cluster://{}", single.address()));
    for (client, words) in [
        (&node, "misconfigured: REDIS_URL names one node of a cluster: write redis+cluster://"),
        (&no_cluster, "misconfigured: this Redis is no cluster: write redis://"),
    ] {
        let tier = RedisTier { client: client.clone() };
        until(words, async || {
            for key in keys("told") {
                drop(tier.put(&[row(&key, Bytes::from_static(b"body"), LIFE)]).await);
                if client.trouble().is_some_and(|said| said.contains(words)) {
                    return true;
                }
            }
            drop(client.ping().await);
            client.trouble().is_some_and(|said| said.contains(words))
        })
        .await;
    }
    single.stop();
    cluster.stop();
}

#[test]
fn a_replica_takes_over_within_two_seconds_and_the_others_go_on() {
    let mut cluster = Cluster::start().with_replica();
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::in_folder(folder.path()).with("REDIS_URL", cluster.url());
    let mut front = Front::start_as(&plan.with("HTTP_WORKERS", "2"), folder.path());
    front.until_health("redis", "healthy");
    for _ in 0..10 {
        front.ask_anew();
    }
    // Every answer is 200, which the front sees to.
    let replica = cluster.fail_over(|| drop(front.ask_anew()));
    let elected = clock::monotonic();
    let mut stored = false;
    while !stored || front.health_of("redis") != "healthy" {
        front.ask_anew();
        stored |= say(&replica, &["CLIENT", "LIST"]).contains("cmd=set");
        let waited = clock::monotonic() - elected;
        assert!(waited < Duration::from_secs(2), "{waited:?}: {}", front.health_of("redis"));
    }
    front.stop();
    replica.stop();
    cluster.stop();
}

#[test]
fn a_node_that_dies_and_comes_back_costs_no_answer() {
    let mut cluster = Cluster::start();
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::in_folder(folder.path()).with("REDIS_URL", cluster.url());
    let mut front = Front::start_as(&plan, folder.path());
    front.until_health("redis", "healthy");
    front.ask_anew();
    let dead = cluster.nodes.remove(0);
    dead.process().signal("STOP");
    front.until_health("redis", "degraded");
    for _ in 0..20 {
        front.ask_anew();
    }
    dead.process().signal("CONT");
    cluster.nodes.push(dead);
    cluster.until_whole();
    front.until_health("redis", "healthy");
    front.stop();
    cluster.stop();
}
