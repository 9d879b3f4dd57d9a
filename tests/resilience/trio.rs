//! Three gateways on one Postgres and one Redis, before an upstream whose answers have a version.
//!
//! Owns: the processes, the wire of each gateway to Postgres, whether a standby is beside that, and what Redis is: three nodes, or a primary
//! under Sentinel. A gateway that is restarted has another address; who asks for it by its number gets
//! the one of now.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::pair::Instance;
use crate::redis_cluster::Cluster;
use crate::redis_sentinel::Guarded;
use crate::support::fault_proxy::FaultProxy;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::upstream_script::{Asked, Reply, listen, page, product};

/// How many things the upstream has, each with a search that finds it alone.
pub(crate) const THINGS: usize = 8;
const FIRST_ID: u64 = 7_000;

/// An upstream that answers with the version of a thing.
pub(crate) struct Versions {
    pub(crate) address: SocketAddr,
    versions: Arc<[AtomicU64; THINGS]>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Versions {
    fn start() -> Self {
        let versions = Arc::new([const { AtomicU64::new(1) }; THINGS]);
        let shown = Arc::clone(&versions);
        let (address, asked) = listen(move |asked| {
            let thing = asked.form.split('&').find_map(|pair| pair.strip_prefix("max_sale_price="));
            let cents: usize = thing.and_then(|cents| cents.parse().ok()).expect("a price");
            let thing = cents / 100 % THINGS;
            let version = shown[thing].load(Ordering::SeqCst);
            let id = FIRST_ID + u64::try_from(thing).unwrap();
            Reply::json(page(asked, &[product(id, format!("kettle {version}"))]))
        });
        Self { address, versions, asked }
    }

    /// From now on the upstream answers with a new version of this thing; which.
    pub(crate) fn renew(&self, thing: usize) -> u64 {
        self.versions[thing].fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// The search that finds a thing; beyond [`THINGS`] other searches that find the same.
pub(crate) fn path(thing: usize) -> String {
    format!("/api/products/search?keywords=kettle&max_sale_price={}", 1_000 * THINGS + thing)
}

/// The version in a good answer, and whether it says that it may have missed an invalidation.
pub(crate) fn version(answer: &Value) -> Option<(u64, bool)> {
    let title = answer["data"]["products"][0]["product_title"].as_str()?;
    let missing = answer["metadata"]["degraded"].as_array()?.contains(&json!("invalidations"));
    Some((title.rsplit(' ').next()?.parse().ok()?, missing))
}

/// What invalidates everything that shows a thing.
pub(crate) fn tag(thing: usize) -> Value {
    json!({"tag": format!("product:{}", FIRST_ID + u64::try_from(thing).unwrap())})
}

/// What Redis is.
pub(crate) enum Shape {
    Single(Redis, FaultProxy),
    /// With what took over from a node, once that has happened.
    Nodes(Cluster, Option<Redis>),
    Guarded(Guarded),
}

impl Shape {
    pub(crate) fn single() -> Self {
        let redis = Redis::start();
        let proxy = FaultProxy::before(redis.address());
        Self::Single(redis, proxy)
    }

    pub(crate) fn nodes() -> Self {
        Self::Nodes(Cluster::start().with_replica(), None)
    }

    pub(crate) fn guarded() -> Self {
        Self::Guarded(Guarded::start())
    }

    /// As gateways are told; of a single one, the last of three through the wire that can be cut.
    fn urls(&self) -> [String; 3] {
        match self {
            Self::Single(redis, proxy) => {
                [redis.url(), redis.url(), format!("redis://{}/0", proxy.address())]
            }
            Self::Nodes(cluster, _) => [(); 3].map(|()| cluster.url()),
            Self::Guarded(guarded) => [(); 3].map(|()| guarded.url()),
        }
    }

    /// Kills a primary; returns when another has taken over.
    pub(crate) fn fail_over(&mut self) {
        match self {
            Self::Single(..) => panic!("nobody takes over"),
            Self::Nodes(cluster, successor) => *successor = Some(cluster.fail_over(|| ())),
            Self::Guarded(guarded) => guarded.fail_over(|| ()),
        }
    }

    /// Sends a signal (`STOP`) to every server.
    pub(crate) fn signal(&self, name: &str) {
        match self {
            Self::Single(redis, _) => redis.process().signal(name),
            Self::Nodes(cluster, _) => cluster.signal(name),
            Self::Guarded(guarded) => guarded.signal(name),
        }
    }

    fn stop(self) {
        match self {
            Self::Single(redis, _) => redis.stop(),
            Self::Nodes(cluster, successor) => {
                successor.into_iter().for_each(Redis::stop);
                cluster.stop();
            }
            Self::Guarded(guarded) => guarded.stop(),
        }
    }
}

/// All of them.
pub(crate) struct Trio {
    pub(crate) redis: Shape,
    pub(crate) postgres: Option<Postgres>,
    /// A standby that is read from, and may be promoted.
    pub(crate) standby: Option<Postgres>,
    pub(crate) gateways: Gateways,
}

/// The gateways and their upstream.
pub(crate) struct Gateways {
    pub(crate) upstream: Versions,
    /// The wire of each to Postgres.
    pub(crate) wires: [FaultProxy; 3],
    all: [Mutex<Option<Instance>>; 3],
    addresses: [Mutex<Option<SocketAddr>>; 3],
}

impl Deref for Trio {
    type Target = Gateways;

    fn deref(&self) -> &Gateways {
        &self.gateways
    }
}

impl Trio {
    pub(crate) fn start(redis: Shape, settings: &[(&'static str, &str)]) -> Self {
        Self::start_on(Postgres::start(), None, redis, settings)
    }

    pub(crate) fn with_standby(redis: Shape, settings: &[(&'static str, &str)]) -> Self {
        let postgres = Postgres::start();
        let standby = postgres.replica();
        Self::start_on(postgres, Some(standby), redis, settings)
    }

    fn start_on(
        postgres: Postgres,
        standby: Option<Postgres>,
        redis: Shape,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let upstream = Versions::start();
        let wires = [(); 3].map(|()| FaultProxy::before(postgres.address()));
        let urls: [_; 3] = std::array::from_fn(|number| {
            let hosts =
                |hosts: &str| postgres.url().replace(&postgres.address().to_string(), hosts);
            let (server, wire) = (postgres.address(), wires[number].address());
            match &standby {
                None => (hosts(&wire.to_string()), "none".to_owned()),
                Some(standby) => {
                    let other = standby.address();
                    (hosts(&format!("{wire},{other}")), hosts(&format!("{other},{server}")))
                }
            }
        });
        let (at, redis_urls) = (upstream.address, redis.urls());
        let all = std::thread::scope(|scope| {
            let start = |number: usize| {
                let ((database, replicas), redis) = (&urls[number], &redis_urls[number]);
                let own = [
                    ("DATABASE_URL", database.as_str()),
                    ("DATABASE_REPLICA_URLS", replicas),
                    ("REDIS_URL", redis),
                    ("CACHE_WARM_KEYS", "0"),
                    ("RATE_LIMIT_INSTANCES", "3"),
                ];
                let settings = [&own, settings].concat();
                scope.spawn(move || Instance::before(at, &settings))
            };
            [0, 1, 2].map(start).map(|started| started.join().unwrap())
        });
        let addresses = all.each_ref().map(|one: &Instance| Mutex::new(Some(one.address())));
        let all = all.map(|one| Mutex::new(Some(one)));
        let gateways = Gateways { upstream, wires, all, addresses };
        Self { redis, postgres: Some(postgres), standby, gateways }
    }

    pub(crate) fn stop(self) {
        let Self { redis, postgres, standby, gateways } = self;
        let all = gateways.all.into_iter().filter_map(|one| one.into_inner().unwrap());
        all.for_each(Instance::stop);
        redis.stop();
        standby.into_iter().chain(postgres).for_each(Postgres::stop);
    }
}

impl Gateways {
    /// Where a gateway is asked; nowhere while it is restarted.
    pub(crate) fn address(&self, number: usize) -> Option<SocketAddr> {
        *self.addresses[number].lock().unwrap()
    }

    /// Asks one that is not restarted now.
    pub(crate) fn with<T>(&self, number: usize, ask: impl FnOnce(&Instance) -> T) -> T {
        ask(self.all[number].lock().unwrap().as_ref().expect("it runs"))
    }

    /// The same of all.
    pub(crate) fn each<T>(&self, mut ask: impl FnMut(&Instance) -> T) -> [T; 3] {
        std::array::from_fn(|number| self.with(number, &mut ask))
    }

    /// Takes one out of the balance, ends it as an operator would, and starts it again.
    pub(crate) fn restart(&self, number: usize) {
        *self.addresses[number].lock().unwrap() = None;
        let mut gateway = self.all[number].lock().unwrap();
        let next = gateway.take().expect("it runs").restarted(|_| {});
        *self.addresses[number].lock().unwrap() = Some(next.address());
        *gateway = Some(next);
    }
}
