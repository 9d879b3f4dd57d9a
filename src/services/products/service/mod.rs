//! Where what to ask for meets cache and upstream.
//!
//! ```text
//!  query ─key─▶ CacheClient ─(miss)─▶ loader: request ─▶ AliExpressClient ─▶ digest ─▶ stored bytes
//! ```
//!
//! Owns: one function an operation, from a valid query to the bytes of the answer's `data` and
//! where they came from. Refuses: nothing that was validated. When the upstream is down the cache
//! answers as long as it holds anything usable; else the typed failure goes to the caller.

mod details;
mod facets;
mod last_resort;
mod links;
mod load;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use slog::{Logger, debug, warn};

use super::answer::DEGRADED_VALIDATION;
use super::dropped::Dropped;
use super::key::Operation;
use super::last_resort::LastResort;
use super::question::Question;
use crate::cache::{Answer, CacheClient, CacheKey, Entry, Forward, Lifetimes, Loaded, Tier};
use crate::config::{Cache as CacheSettings, Features, Rollout};
use crate::failure::{Failure, FailureKind};
use crate::metrics::Metrics;
use crate::origin::{Call, Priority};
use crate::services::products::aliexpress::AliExpressClient;
use crate::services::products::aliexpress::methods::{Request, Target};
use load::{Brought, brought};

/// In `degraded`: some of what was asked for could not be had.
pub const DEGRADED_UPSTREAM: &str = "upstream";
/// In `degraded`: the answer is past its fresh time.
pub const DEGRADED_STALE: &str = "stale";

/// What one request brings along.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Its id, for the log of upstream calls.
    pub request_id: Arc<str>,
    /// When its answer is of no use any more.
    pub deadline: Instant,
    /// A number that stays the same for a client: places it in percentage rollouts.
    pub client: u64,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The tier; [`Tier::Upstream`] for what was loaded for this answer.
    pub tier: Tier,
    /// Why it was loaded, if it was.
    pub forward: Forward,
    /// Past its fresh time.
    pub stale: bool,
    /// Loaded by another caller's flight.
    pub collapsed: bool,
    /// The caller waited for a flight, whatever came of that.
    pub waited: bool,
    /// Time since it was loaded.
    pub age: Duration,
    /// Fresh time left, in seconds; negative for how long it has been stale.
    pub ttl_seconds: i64,
}

impl Origin {
    fn of(answer: &Answer) -> Self {
        Self {
            tier: answer.tier,
            forward: answer.forward,
            stale: answer.stale,
            collapsed: answer.collapsed,
            waited: answer.waited,
            age: answer.age(),
            ttl_seconds: answer.ttl_seconds(),
        }
    }

    /// The origin of an answer made of several: as old as its oldest part, loaded if any part was.
    fn join(self, other: Self) -> Self {
        let rank = |tier| match tier {
            Tier::Memory => 0,
            Tier::Redis => 1,
            Tier::Database => 2,
            Tier::Upstream => 3,
        };
        let farther = if rank(self.tier) >= rank(other.tier) { self } else { other };
        Self {
            tier: farther.tier,
            forward: farther.forward,
            stale: self.stale || other.stale,
            collapsed: self.collapsed || other.collapsed,
            waited: self.waited || other.waited,
            age: self.age.max(other.age),
            ttl_seconds: self.ttl_seconds.min(other.ttl_seconds),
        }
    }
}

/// The `data` of an answer, ready to be written.
#[derive(Debug, Clone)]
pub struct Served {
    /// Serialised data.
    pub body: Body,
    /// Where it came from; `None` when the cache was not asked.
    pub origin: Option<Origin>,
    /// What is missing or second best.
    pub degraded: Vec<&'static str>,
    /// It says that there is nothing.
    pub empty: bool,
    /// It, or a part of it, was made from the catalogue of the last resort.
    pub last_resort: bool,
}

/// The data of an answer.
#[derive(Debug, Clone)]
pub enum Body {
    /// Its own.
    Own(Bytes),
    /// That of an entry, which other answers share.
    Kept(Arc<Entry>),
}

impl Body {
    /// The data, serialised.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Own(bytes) => bytes,
            Self::Kept(entry) => &entry.body,
        }
    }
}

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// What a query that does not say gets.
    pub target: Target,
    /// Lifetimes by kind.
    pub cache: CacheSettings,
    /// Feature flags.
    pub features: Features,
    /// What to answer from when everything else has failed.
    pub last_resort: Option<Arc<LastResort>>,
    /// Longest time of a load that no caller waits for.
    pub within: Duration,
}

/// The operations on products. One for each worker; cheap to clone.
#[derive(Debug, Clone)]
pub struct ProductService {
    cache: CacheClient,
    upstream: AliExpressClient,
    metrics: Metrics,
    settings: Arc<ServiceSettings>,
    log: Logger,
}

impl ProductService {
    /// A service over a worker's cache and the process's upstream.
    #[must_use]
    pub const fn new(
        cache: CacheClient,
        upstream: AliExpressClient,
        metrics: Metrics,
        settings: Arc<ServiceSettings>,
        log: Logger,
    ) -> Self {
        Self { cache, upstream, metrics, settings, log }
    }

    /// What a query that does not say gets.
    #[must_use]
    pub fn defaults(&self) -> &Target {
        &self.settings.target
    }

    /// The way to the upstream.
    #[must_use]
    pub const fn upstream(&self) -> &AliExpressClient {
        &self.upstream
    }

    /// The worker's cache.
    #[must_use]
    pub const fn cache(&self) -> &CacheClient {
        &self.cache
    }

    fn validates(&self, scope: &Scope) -> bool {
        is_on(self.settings.features.data_validation, scope.client)
    }

    fn caches(&self, scope: &Scope) -> bool {
        is_on(self.settings.features.enhanced_caching, scope.client)
    }

    fn lifetimes(&self, operation: Operation) -> Lifetimes {
        let cache = &self.settings.cache;
        let (kind, fresh) = match operation {
            Operation::Search => ("search", cache.search_ttl),
            Operation::Hot => ("hot", cache.hot_ttl),
            Operation::Details => ("product", cache.product_ttl),
            Operation::Categories => ("category", cache.category_ttl),
            Operation::Link => ("link", cache.link_ttl),
            Operation::SmartMatch => ("smart_match", cache.default_ttl),
            Operation::Orders => ("orders", cache.default_ttl),
        };
        Lifetimes {
            kind,
            fresh,
            negative: cache.negative_ttl,
            revalidate: cache.revalidate,
            stale: cache.stale,
        }
    }

    /// One upstream call for one answer that is kept whole, under `key`.
    async fn one(
        &self,
        scope: &Scope,
        question: Question,
        key: CacheKey,
        reload: bool,
    ) -> Result<Served, Failure> {
        let validate = self.validates(scope);
        if !self.caches(scope) {
            let request = question.request();
            return self.uncached(scope, request, |r| brought(&question, r, validate)).await;
        }
        let kind = self.lifetimes(question.operation()).kind;
        let plan = || self.plan_of(scope, question, reload, validate);
        let answer = if reload {
            self.cache.reload(kind, key, scope.deadline, plan()).await?
        } else {
            self.cache.get(kind, key, scope.deadline, plan).await?
        };
        Ok(served(&answer, validate))
    }

    /// The same past every tier; nothing is stored.
    async fn uncached(
        &self,
        scope: &Scope,
        request: Request,
        digest: impl FnOnce(Option<&Value>) -> Result<Brought, Failure>,
    ) -> Result<Served, Failure> {
        let _wait = self.cache.waiting().begin();
        let reply = self.ask(scope, request, scope.deadline, Priority::Client).await?;
        let Brought { loaded, dropped } = digest(reply.as_ref())?;
        self.count(&dropped);
        Ok(served_live(loaded, self.validates(scope)))
    }

    async fn ask(
        &self,
        scope: &Scope,
        request: Request,
        deadline: Instant,
        priority: Priority,
    ) -> Result<Option<Value>, Failure> {
        let retry = is_on(self.settings.features.retry_logic, scope.client);
        let request_id = Arc::clone(&scope.request_id);
        let method = request.method;
        let call = Call { question: request, deadline, retry, priority, request_id };
        let answer = self.upstream.call(call).await;
        match (&answer, priority) {
            (Ok(_), _) => {}
            (Err(failure), Priority::Client) => {
                warn!(self.log, "no answer of the upstream"; "request_id" => &*scope.request_id,
                    "upstream_method" => method, "reason" => %failure);
            }
            // Refused for the sake of clients, most of the time; it is counted.
            (Err(failure), Priority::Refresh | Priority::Warming) => {
                debug!(self.log, "no answer in the background"; "request_id" => &*scope.request_id,
                    "upstream_method" => method, "reason" => %failure);
            }
        }
        answer
    }

    fn count(&self, dropped: &Dropped) {
        for (reason, products) in dropped.iter() {
            self.metrics.products_dropped(reason.label(), products);
        }
    }
}

/// Whether a feature is on for a client.
fn is_on(rollout: Rollout, client: u64) -> bool {
    client % 100 < u64::from(rollout.0)
}

fn serialised(data: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(data)
        .map(Bytes::from)
        .map_err(|error| Failure::new(FailureKind::Internal, format!("cannot serialise: {error}")))
}

fn parsed<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::new(FailureKind::Internal, format!("cannot read back: {error}")))
}

fn served(answer: &Answer, validate: bool) -> Served {
    Served {
        body: Body::Kept(Arc::clone(&answer.entry)),
        origin: Some(Origin::of(answer)),
        degraded: degraded(answer.stale, validate),
        empty: answer.entry.negative,
        last_resort: false,
    }
}

/// What was loaded past the cache.
fn served_live(loaded: Loaded, validate: bool) -> Served {
    let degraded = degraded(false, validate);
    Served {
        body: Body::Own(loaded.body),
        origin: None,
        degraded,
        empty: loaded.empty,
        last_resort: false,
    }
}

fn degraded(stale: bool, validate: bool) -> Vec<&'static str> {
    let mut degraded = Vec::new();
    if stale {
        degraded.push(DEGRADED_STALE);
    }
    if !validate {
        degraded.push(DEGRADED_VALIDATION);
    }
    degraded
}
