//! How a question goes through the cache and to the upstream.
//!
//! ```text
//!  question ─key─▶ cache ─(miss)─▶ loader: request ─▶ upstream ─▶ read ─▶ stored bytes
//! ```
//!
//! Owns: [`Question`], keys, plans and loaders, and making a plan again from a question that was
//! stored. Refuses: stored questions that no client can ask any more. When the upstream is down the
//! cache answers as long as it holds anything usable; else the typed failure goes to the caller, or
//! the last resort answers.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slog::{debug, warn};

use super::aliexpress::methods::{Request, Target};
use super::dropped::Dropped;
use super::last_resort::{DEGRADED_LAST_RESORT, LastResort};
use super::{Products, Setup};
use crate::cache::{CacheKey, Lifetimes, Loaded, Loader, Plan, Question as KeptQuestion, Tag};
use crate::clock;
use crate::config::kinds::Rollout;
use crate::failure::{Failure, FailureKind};
use crate::http::context::Scope;
use crate::http::extract::Call;
use crate::http::served::{Body, Served, Source};
use crate::origin::{Call as UpstreamCall, Priority};

/// In `degraded`: the products of this answer were not validated.
const DEGRADED_VALIDATION: &str = "validation";
/// In `degraded`: some of what was asked for could not be had.
pub(super) const DEGRADED_UPSTREAM: &str = "upstream";
/// Version of the form in which questions are stored; those of another one are outdated.
const VERSION: u8 = 2;
/// Longest question stored, in bytes: the longest search is about half of it. Longer are only links
/// of addresses that nobody asks for twice.
const LONGEST: usize = 4_096;
/// All that is loaded comes from one upstream.
const ORIGIN: &str = "aliexpress";
/// Stands in the log for the request of a load that no client asked for.
const WARMING: &str = "warming";

/// What the answers to one kind of question have in common.
#[derive(Debug)]
pub(super) struct Kind {
    /// Operation part of the cache keys, and of the tag that all answers have.
    pub(super) operation: &'static str,
    /// In metrics.
    pub(super) label: &'static str,
    /// How long an answer is fresh.
    pub(super) fresh: fn(&Setup) -> Duration,
    /// Whether validation makes a difference.
    pub(super) is_validated: bool,
    /// Most questions that one upstream call answers.
    pub(super) at_once: usize,
}

/// What is asked under one cache key.
pub(super) trait Question: Clone + Debug + Send + Sync + 'static {
    const KIND: Kind;

    /// The upstream call that answers `all`, of which this is the first: at most [`Kind::at_once`]
    /// that differ only in what they name. A call of one question is what its key is made of.
    fn request(&self, all: &[Self]) -> Request;

    /// What the `result` of that call says about each of `all`, in their order. It is null when the
    /// upstream says that there is nothing.
    fn read(&self, all: &[Self], result: &Value, validate: bool) -> Result<Read, Failure>;

    /// The form in which a client would ask this, so that the key can be warmed later; `None` if it
    /// is not worth it.
    fn form(&self) -> Option<Value>;

    /// What a client would ask with such a form now.
    fn from_form(form: Value, defaults: &Target) -> Option<Self>;
}

/// A question with its keys.
#[derive(Debug, Clone)]
pub(super) struct Keyed<Q> {
    /// The question alone, as loaders take it: a hit must not copy it.
    asked: Arc<[Q]>,
    pub(super) question: Q,
    pub(super) key: CacheKey,
    /// The key of its answer without validation.
    unvalidated: CacheKey,
}

impl<Q: Question> Keyed<Q> {
    pub(super) fn new(question: Q) -> Self {
        let request = question.request(std::slice::from_ref(&question));
        let key = key(Q::KIND.operation, &request, true);
        let unvalidated = if Q::KIND.is_validated {
            self::key(Q::KIND.operation, &request, false)
        } else {
            key.clone()
        };
        Self { asked: Arc::new([question.clone()]), question, key, unvalidated }
    }

    pub(super) const fn key(&self, validate: bool) -> &CacheKey {
        if validate { &self.key } else { &self.unvalidated }
    }
}

/// The key of the answer that `request` gives. Requests are canonical: ids sorted, defaults filled
/// in, price bounds in the smallest unit; so two that mean the same have the same key. Case of
/// keywords is kept: nothing says that the upstream ignores it.
fn key(operation: &str, request: &Request, validate: bool) -> CacheKey {
    let parameters = request.params.iter().flat_map(|(name, value)| [*name, value.as_str()]);
    let variant = if validate { "" } else { "unvalidated" };
    let parts = std::iter::once(request.method).chain(parameters).chain([variant]);
    CacheKey::of(super::NAME, operation, parts)
}

/// What is stored for each question, and what was left out of all.
pub(super) type Read = (Vec<Loaded>, Dropped);

/// What was read of an upstream's `result`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading<T> {
    /// The answer's `data`.
    pub(super) data: T,
    /// What was left out of it, for the metric.
    pub(super) dropped: Dropped,
    /// Whether it says "nothing there": a result, stored for the short negative life.
    pub(super) is_empty: bool,
}

impl<T: Serialize> Reading<T> {
    /// As it is stored, about `tags`.
    pub(super) fn loaded(self, tags: impl FnOnce(&T) -> Vec<Tag>) -> Result<Read, Failure> {
        let loaded = loaded(&self.data, self.is_empty, tags(&self.data))?;
        Ok((vec![loaded], self.dropped))
    }
}

/// What is stored under one key.
pub(super) fn loaded(
    data: &impl Serialize,
    empty: bool,
    tags: Vec<Tag>,
) -> Result<Loaded, Failure> {
    Ok(Loaded::json(serialised(data)?, empty, tags))
}

/// How a stored question of one kind is asked again.
pub(super) struct Restorable {
    operation: &'static str,
    plan: fn(&Products, Value, &CacheKey) -> Option<Plan>,
}

impl Restorable {
    pub(super) const fn operation(&self) -> &'static str {
        self.operation
    }

    pub(super) const fn of<Q: Question>() -> Self {
        Self { operation: Q::KIND.operation, plan: Products::plan_again::<Q> }
    }
}

/// A question as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored<'a> {
    pub(super) v: u8,
    pub(super) operation: &'a str,
    pub(super) form: Value,
}

pub(super) fn stored<Q: Question>(question: &Q) -> Option<String> {
    let stored = Stored { v: VERSION, operation: Q::KIND.operation, form: question.form()? };
    serde_json::to_string(&stored).ok().filter(|text| text.len() <= LONGEST)
}

impl Products {
    /// The answer to one question.
    pub(super) async fn ask<Q: Question>(
        &self,
        call: &Call,
        question: Q,
    ) -> Result<Served, Failure> {
        self.ask_keyed(call, &Keyed::new(question), false).await
    }

    /// The same for a question whose keys are known; `reload` reads past the cache and stores.
    pub(super) async fn ask_keyed<Q: Question>(
        &self,
        call: &Call,
        keyed: &Keyed<Q>,
        reload: bool,
    ) -> Result<Served, Failure> {
        let scope = call.scope();
        let validate = self.validates::<Q>(&scope);
        if !self.caches(&scope) {
            // In a box: the future of a hit stays small.
            return Box::pin(self.ask_live(call, keyed.question.clone())).await;
        }
        let (service, asked, deadline) = (self.clone(), Arc::clone(&keyed.asked), scope.deadline);
        let plan = move || service.plan(scope.clone(), Arc::clone(&asked), validate);
        let (label, key) = (Q::KIND.label, keyed.key(validate).clone());
        let answer = if reload {
            call.cache().reload(label, key, deadline, plan).await?
        } else {
            call.cache().get(label, key, deadline, plan).await?
        };
        Ok(marked(Served::kept(&answer), validate))
    }

    /// The answer to one question past every tier; nothing is stored.
    pub(super) async fn ask_live<Q: Question>(
        &self,
        call: &Call,
        question: Q,
    ) -> Result<Served, Failure> {
        let answer = self.all_live(call, &[question]).await.pop();
        answer.unwrap_or_else(|| Err(Failure::new(FailureKind::Internal, "an answer is missing")))
    }

    /// The answers to several questions, in their order.
    pub(super) async fn ask_all<Q: Question>(
        &self,
        call: &Call,
        questions: Vec<Q>,
    ) -> Vec<Result<Served, Failure>> {
        let scope = call.scope();
        if !self.caches(&scope) {
            return self.all_live(call, &questions).await;
        }
        let validate = self.validates::<Q>(&scope);
        let keys: Vec<_> = questions
            .iter()
            .map(|question| Keyed::new(question.clone()).key(validate).clone())
            .collect();
        let (service, deadline) = (self.clone(), scope.deadline);
        let questions = Arc::<[Q]>::from(questions);
        let plan = move || service.plan(scope.clone(), Arc::clone(&questions), validate);
        let answers = call.cache().get_many(Q::KIND.label, keys, deadline, plan).await;
        let served = |answer| marked(Served::kept(&answer), validate);
        answers.into_iter().map(|answer| answer.map(served)).collect()
    }

    async fn all_live<Q: Question>(
        &self,
        call: &Call,
        questions: &[Q],
    ) -> Vec<Result<Served, Failure>> {
        let _wait = call.cache().waiting().begin();
        let scope = call.scope();
        let validate = self.validates::<Q>(&scope);
        match self.load(&scope, (Priority::Client, scope.deadline), questions, validate).await {
            Ok(loaded) => loaded
                .into_iter()
                .map(|one| Ok(marked(Served::live(one.representation.body, one.empty), validate)))
                .collect(),
            Err(failure) => questions.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    /// What the last resort says in place of `failure`.
    ///
    /// # Errors
    /// `failure`: there is no last resort, it does not stand in for it, or `answer` has none.
    pub(super) fn resort<Q: Question, T: Serialize>(
        &self,
        call: &Call,
        failure: Failure,
        answer: impl FnOnce(&LastResort, bool) -> Option<Reading<T>>,
    ) -> Result<Served, Failure> {
        let scope = call.scope();
        let validate = self.validates::<Q>(&scope);
        let last_resort = self.settings.last_resort.as_deref();
        let last_resort = last_resort.filter(|_| stands_in_for(&failure));
        let Some(reading) = last_resort.and_then(|last| answer(last, validate)) else {
            return Err(failure);
        };
        self.count(&reading.dropped);
        let mut served = Served {
            source: self.caches(&scope).then_some(Source::MISSED),
            last_resort: true,
            ..Served::live(serialised(&reading.data)?, reading.is_empty)
        };
        served.degraded.push(DEGRADED_LAST_RESORT);
        Ok(marked(served, validate))
    }

    fn plan_again<Q: Question>(&self, form: Value, key: &CacheKey) -> Option<Plan> {
        let question: Q = asked_again(&self.settings, form, key)?;
        let deadline = clock::monotonic() + self.settings.within;
        let scope = Scope { request_id: WARMING.into(), deadline, client: 0 };
        let plan = self.plan(scope, Arc::new([question]), true);
        Some(Plan { priority: Priority::Warming, ..plan })
    }

    /// How to load again what was stored under `key` for a question.
    pub(super) fn restore(
        &self,
        restorable: &[Restorable],
        key: &CacheKey,
        question: &str,
    ) -> Option<Plan> {
        let stored: Stored<'_> = serde_json::from_str(question).ok()?;
        let known = restorable.iter().find(|one| one.operation == stored.operation);
        (known?.plan)(self, stored.form, key).filter(|_| stored.v == VERSION)
    }

    fn plan<Q: Question>(&self, scope: Scope, questions: Arc<[Q]>, validate: bool) -> Plan {
        let cache = &self.settings.cache;
        let lifetimes = Lifetimes {
            kind: Q::KIND.label,
            fresh: (Q::KIND.fresh)(&self.settings),
            negative: cache.negative_ttl,
            stale: cache.stale,
        };
        Plan {
            lifetimes,
            loader: self.loader(scope, Arc::clone(&questions), validate),
            question: stored_questions(questions, validate),
            origin: ORIGIN,
            reload: false,
            priority: Priority::Client,
            within: self.settings.within,
        }
    }

    /// A loader outlives the request that made it, so its deadline is its own.
    fn loader<Q: Question>(&self, scope: Scope, questions: Arc<[Q]>, validate: bool) -> Loader {
        let service = self.clone();
        Arc::new(move |places, priority, deadline| {
            let (service, scope) = (service.clone(), scope.clone());
            let asked = places.iter().filter_map(|place| questions.get(*place).cloned());
            let asked: Vec<_> = asked.collect();
            Box::pin(
                async move { service.load(&scope, (priority, deadline), &asked, validate).await },
            )
        })
    }

    async fn load<Q: Question>(
        &self,
        scope: &Scope,
        (priority, deadline): (Priority, Instant),
        asked: &[Q],
        validate: bool,
    ) -> Result<Vec<Loaded>, Failure> {
        let mut all = Vec::with_capacity(asked.len());
        for questions in asked.chunks(Q::KIND.at_once) {
            let Some(first) = questions.first() else { continue };
            let request = first.request(questions);
            let result = self.call_upstream(scope, request, deadline, priority).await?;
            let result = result.unwrap_or_default();
            let (loaded, dropped) = first.read(questions, &result, validate)?;
            self.count(&dropped);
            all.extend(loaded.into_iter().map(of_operation::<Q>));
        }
        Ok(all)
    }

    async fn call_upstream(
        &self,
        scope: &Scope,
        request: Request,
        deadline: Instant,
        priority: Priority,
    ) -> Result<Option<Value>, Failure> {
        let retry = is_on(self.settings.features.retry_logic, scope.client);
        let request_id = Arc::clone(&scope.request_id);
        let method = request.method;
        let call = UpstreamCall { question: request, deadline, retry, priority, request_id };
        self.upstream.call(call).await.inspect_err(|failure| match priority {
            Priority::Client => {
                warn!(self.log, "no answer of the upstream"; "request_id" => &*scope.request_id,
                    "upstream_method" => method, "reason" => %failure);
            }
            // Refused for the sake of clients, most of the time; it is counted.
            Priority::Refresh | Priority::Warming => {
                debug!(self.log, "no answer in the background"; "request_id" => &*scope.request_id,
                    "upstream_method" => method, "reason" => %failure);
            }
        })
    }

    pub(super) fn count(&self, dropped: &Dropped) {
        for (reason, products) in dropped.iter() {
            self.dropped.at([reason.label()]).inc_by(products);
        }
    }

    fn validates<Q: Question>(&self, scope: &Scope) -> bool {
        !Q::KIND.is_validated || is_on(self.settings.features.data_validation, scope.client)
    }

    fn caches(&self, scope: &Scope) -> bool {
        is_on(self.settings.features.enhanced_caching, scope.client)
    }
}

/// What a client would ask with a stored form now, if it is answered from `key`.
pub(super) fn asked_again<Q: Question>(settings: &Setup, form: Value, key: &CacheKey) -> Option<Q> {
    let features = &settings.features;
    let is_asked = features.enhanced_caching.0 > 0
        && (!Q::KIND.is_validated || features.data_validation.0 > 0);
    let question = Q::from_form(form, &settings.target).filter(|_| is_asked)?;
    let keyed = Keyed::new(question);
    (keyed.key == *key).then_some(keyed.question)
}

/// What is stored beside each key for warming. Answers without validation are not warmed.
fn stored_questions<Q: Question>(questions: Arc<[Q]>, validate: bool) -> KeptQuestion {
    Arc::new(move |place| stored(questions.get(place).filter(|_| validate)?))
}

/// The operation's tag first, so that it stays if there are more tags than an entry keeps.
pub(super) fn of_operation<Q: Question>(mut loaded: Loaded) -> Loaded {
    loaded.tags.sort_unstable();
    loaded.tags.dedup();
    loaded.tags.insert(0, Tag::of(&format!("operation:{}", Q::KIND.operation)));
    loaded
}

fn marked(mut served: Served, validate: bool) -> Served {
    if !validate {
        served.degraded.push(DEGRADED_VALIDATION);
    }
    served
}

/// Whether a feature is on for a client.
fn is_on(rollout: Rollout, client: u64) -> bool {
    client % 100 < u64::from(rollout.0)
}

/// Whether the failure is one of those behind us, not of the request and not of this process.
fn stands_in_for(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::UpstreamUnavailable
        | FailureKind::CircuitOpen
        | FailureKind::DeadlineExceeded
        | FailureKind::Overloaded => true,
        FailureKind::UpstreamRejected => !failure.by_caller,
        FailureKind::Internal => false,
    }
}

fn serialised(data: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(data)
        .map(Bytes::from)
        .map_err(|error| Failure::new(FailureKind::Internal, format!("cannot serialise: {error}")))
}

pub(super) fn parsed<'a, T: Deserialize<'a>>(served: &'a Served) -> Result<T, Failure> {
    serde_json::from_slice(served.body.bytes())
        .map_err(|error| Failure::new(FailureKind::Internal, format!("cannot read back: {error}")))
}

/// The same answer with other data.
pub(super) fn replaced(
    served: Served,
    data: &impl Serialize,
    empty: bool,
) -> Result<Served, Failure> {
    Ok(Served { body: Body::Own(serialised(data)?), empty, ..served })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_a_share_of_clients_and_stable() {
        let on = |percent| (0..1_000).filter(|client| is_on(Rollout(percent), *client)).count();
        assert_eq!((on(0), on(25), on(100)), (0, 250, 1_000));
        assert!(is_on(Rollout(30), 729) && !is_on(Rollout(29), 729));
    }

    #[test]
    fn the_last_resort_stands_in_for_failures_behind_us_only() {
        let rejected = Failure::new(FailureKind::UpstreamRejected, "the secret is wrong");
        let of_caller = Failure { by_caller: true, ..rejected.clone() };
        assert!(stands_in_for(&rejected) && !stands_in_for(&of_caller));
        for (kind, expected) in [
            (FailureKind::UpstreamUnavailable, true),
            (FailureKind::CircuitOpen, true),
            (FailureKind::DeadlineExceeded, true),
            (FailureKind::Overloaded, true),
            (FailureKind::Internal, false),
        ] {
            assert_eq!(stands_in_for(&Failure::new(kind, "")), expected, "{kind:?}");
        }
    }
}
