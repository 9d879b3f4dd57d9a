//! How a question goes through the cache and to the upstream.
//!
//! ```text
//!  question ─key─▶ cache ─(miss)─▶ loader: request ─▶ upstream ─▶ read ─▶ stored bytes
//! ```
//!
//! Owns: [`Products`], plans and loaders, and making a plan again from a question that was stored.
//! Refuses: stored questions that no client can ask any more. When the upstream is down the cache
//! answers as long as it holds anything usable; else the last resort answers, or the typed failure goes
//! to the caller.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use actix_web::dev::ServerHandle;
use futures_util::future::join_all;
use serde_json::Value;
use slog::{Logger, debug};

use super::aliexpress::{AliExpressClient, Found, Repairs, Request, Target};
use super::product::Dropped;
use super::question::{Keyed, Question, Stored, key};
use super::settings::Setup;
use super::simulator::Control;
use crate::cache::{Answer, CacheKey, Lifetimes, Loaded, Loader, Plan, Tag, Tier};
use crate::clock;
use crate::config::kinds::Rollout;
use crate::failure::{Failure, FailureKind};
use crate::http::context::Scope;
use crate::http::extract::Call;
use crate::http::served::{Served, Source};
use crate::metrics::Counters;
use crate::origin::{Call as UpstreamCall, Priority};

/// In `degraded`: the products of this answer were not validated.
const DEGRADED_VALIDATION: &str = "validation";
/// In `degraded`: some of what was asked for could not be had.
pub(super) const DEGRADED_UPSTREAM: &str = "upstream";
/// In `degraded`: the answer, or a part of it, was made from the catalogue file.
const DEGRADED_LAST_RESORT: &str = "last_resort";
/// In `degraded`: characters of the upstream's answer were lost or replaced.
const DEGRADED_REPAIRED: &str = "repaired";
/// The tag of answers that were repaired; it stands at its place in their tags.
static REPAIRED: LazyLock<Tag> = LazyLock::new(|| Tag::of("answer:repaired"));
const REPAIRED_PLACE: usize = 1;
/// All that is loaded comes from one upstream.
const ORIGIN: &str = "aliexpress";
/// For how many calls one counts in the share of a client that asks past the cache: the answer may be
/// stored, and is no use to others.
const PAST_CACHE: u32 = 5;
/// Stands in the log for the request of a load that no client asked for.
const WARMING: &str = "warming";

/// How a stored question of one kind is asked again.
pub(super) struct Restorable {
    pub(super) operation: &'static str,
    plan: fn(&Products, Value, &CacheKey) -> Option<Plan>,
}

impl Restorable {
    pub(super) const fn of<Q: Question>() -> Self {
        Self { operation: Q::KIND.operation, plan: Products::plan_again::<Q> }
    }
}

/// The simulator that this process runs.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    pub(super) server: ServerHandle,
    pub(super) control: Control,
}

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Products {
    pub(super) upstream: AliExpressClient,
    /// Products of the upstream that failed validation, by reason.
    pub(super) dropped: Counters<1>,
    /// What of the upstream's texts was repaired, by kind.
    pub(super) repaired: Counters<1>,
    pub(super) settings: Arc<Setup>,
    pub(super) log: Logger,
    /// The simulator inside, where there is one.
    pub(super) simulator: Option<Inside>,
}

impl Products {
    pub(super) fn defaults(&self) -> &Target {
        &self.settings.target
    }

    /// The answer to one question, of the last resort if need be.
    pub(super) async fn ask<Q: Question>(
        &self,
        call: &Call,
        question: Q,
    ) -> Result<Served, Failure> {
        let keyed = Keyed::new(question);
        let answer = self.ask_keyed(call, &keyed, false).await;
        self.or_last_resort(call, &keyed.question, answer)
    }

    /// The same without the last resort for a question whose keys are known; `reload` reads past the
    /// cache and stores.
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
            return Box::pin(self.one_live(call, &keyed.question, 1)).await;
        }
        let (wishes, key) = (call.wishes(), keyed.key(validate));
        if wishes.only_stored {
            let plan = self.plan(scope, Arc::clone(&keyed.asked), validate);
            return Box::pin(held(call, key, &plan, validate)).await;
        }
        let deadline = scope.deadline;
        let plan = |weight| self.plan(call.paid_scope(weight), Arc::clone(&keyed.asked), validate);
        if !reload {
            let plan = || plan(1);
            let answer = call.cache().get(Q::KIND.label, key.clone(), deadline, plan).await?;
            if answer.tier == Tier::Upstream || !wishes.refuses(answer.age()) {
                return Ok(kept(&answer, validate));
            }
        }
        let reload = call.cache().reload(key.clone(), deadline, plan(PAST_CACHE));
        let answer = Box::pin(reload).await?;
        Ok(kept(&answer, validate))
    }

    /// The answer to one question past every tier, because the client asks so; nothing is stored.
    pub(super) async fn ask_live<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
    ) -> Result<Served, Failure> {
        self.one_live(call, question, PAST_CACHE).await
    }

    async fn one_live<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
        weight: u32,
    ) -> Result<Served, Failure> {
        let answer = self.all_live(call, std::slice::from_ref(question), weight).await.pop();
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
            return self.all_live(call, &questions, 1).await;
        }
        let wishes = call.wishes();
        if let [question] = questions.as_slice()
            && !wishes.is_none()
        {
            return vec![self.ask_keyed(call, &Keyed::new(question.clone()), false).await];
        }
        let validate = self.validates::<Q>(&scope);
        let keys: Vec<_> = questions.iter().map(|question| key(question, validate)).collect();
        if wishes.only_stored {
            let plan = self.plan(scope, questions.into(), validate);
            return join_all(keys.iter().map(|key| held(call, key, &plan, validate))).await;
        }
        let deadline = scope.deadline;
        let plan = || self.plan(call.paid_scope(1), questions.into(), validate);
        let answers = call.cache().get_many(Q::KIND.label, keys, deadline, plan).await;
        answers.into_iter().map(|answer| Ok(kept(&answer?, validate))).collect()
    }

    async fn all_live<Q: Question>(
        &self,
        call: &Call,
        questions: &[Q],
        weight: u32,
    ) -> Vec<Result<Served, Failure>> {
        if call.wishes().only_stored {
            return questions.iter().map(|_| Err(not_stored())).collect();
        }
        let _wait = call.cache().waiting().begin();
        let scope = call.paid_scope(weight);
        let validate = self.validates::<Q>(&scope);
        match self.load(&scope, (Priority::Client, scope.deadline), questions, validate).await {
            Ok(loaded) => loaded.into_iter().map(|one| Ok(live(one, validate))).collect(),
            Err(failure) => questions.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    /// What the last resort says in place of a failure.
    ///
    /// # Errors
    /// The failure: there is no last resort, it does not stand in for it, or it says nothing.
    pub(super) fn or_last_resort<Q: Question>(
        &self,
        call: &Call,
        question: &Q,
        answer: Result<Served, Failure>,
    ) -> Result<Served, Failure> {
        let failure = match answer {
            Ok(served) => return Ok(served),
            Err(failure) => failure,
        };
        let scope = call.scope();
        let validate = self.validates::<Q>(&scope);
        let last_resort = self.settings.last_resort.as_deref();
        let last_resort = last_resort.filter(|_| stands_in_for(&failure));
        let result = last_resort.and_then(|last| question.last_resort(last, validate));
        let Some(result) = result else { return Err(failure) };
        let (loaded, dropped) = question.read(std::slice::from_ref(question), &result, validate)?;
        let Some(loaded) = loaded.into_iter().find(|one| !one.empty) else { return Err(failure) };
        self.count(&dropped);
        let mut served = Served {
            source: self.caches(&scope).then_some(Source::MISSED),
            last_resort: true,
            ..Served::live(loaded.representation.body, false)
        };
        served.degraded.push(DEGRADED_LAST_RESORT);
        Ok(marked(served, &[], validate))
    }

    fn plan_again<Q: Question>(&self, question: Value, key: &CacheKey) -> Option<Plan> {
        let question: Q = asked_again(&self.settings, question, key)?;
        let deadline = clock::monotonic() + self.settings.within;
        let scope =
            Scope { request_id: WARMING.into(), deadline, client: 0, payer: None, steps: None };
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
        let stored: Stored<'_, Value> = serde_json::from_str(question).ok()?;
        let known = restorable.iter().find(|one| one.operation == stored.operation)?;
        (known.plan)(self, stored.current()?, key)
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
            steps: scope.steps.clone(),
            loader: self.loader(scope, Arc::clone(&questions), validate),
            // Kept for warming; answers without validation are not warmed.
            question: Arc::new(move |place| {
                Stored::write(questions.get(place).filter(|_| validate)?)
            }),
            is_answer: Q::KIND.is_answer,
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
            let (result, repairs) =
                result.map(|found| (found.result, found.repairs)).unwrap_or_default();
            let (mut loaded, dropped) = first.read(questions, &result, validate)?;
            self.count(&dropped);
            self.mark_repaired(&repairs, &mut loaded);
            all.extend(loaded);
        }
        Ok(all)
    }

    async fn call_upstream(
        &self,
        scope: &Scope,
        request: Request,
        deadline: Instant,
        priority: Priority,
    ) -> Result<Option<Found>, Failure> {
        let retry = is_on(self.settings.features.retry_logic, scope.client);
        let request_id = Arc::clone(&scope.request_id);
        let method = request.method.name;
        let (payer, steps) = (scope.payer.clone(), scope.steps.clone());
        let question = request;
        let call = UpstreamCall { question, deadline, retry, priority, payer, request_id, steps };
        // The refusal of the request, which is sampled, tells the same of a client's question.
        self.upstream.call(call).await.inspect_err(|failure| {
            debug!(self.log, "no answer of the upstream"; "request_id" => &*scope.request_id,
                "upstream_method" => method, "reason" => %failure);
        })
    }

    /// Counts what was repaired, and marks what was read of it, wherever it is kept.
    fn mark_repaired(&self, repairs: &Repairs, loaded: &mut [Loaded]) {
        for (kind, times) in repairs.iter() {
            self.repaired.at([kind.label()]).inc_by(times);
        }
        if !repairs.is_empty() {
            for one in loaded {
                one.tags.insert(REPAIRED_PLACE.min(one.tags.len()), *REPAIRED);
            }
        }
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

/// The stored question, if a client can ask it now and is answered from `key`.
pub(super) fn asked_again<Q: Question>(
    settings: &Setup,
    question: Value,
    key: &CacheKey,
) -> Option<Q> {
    let features = &settings.features;
    let is_asked = features.enhanced_caching.0 > 0
        && (!Q::KIND.is_validated || features.data_validation.0 > 0);
    let question: Q = serde_json::from_value(question).ok().filter(|_| is_asked)?;
    let request = question.request(std::slice::from_ref(&question));
    // With another tracking id it would be another question.
    let tracking_id = request.params.get("tracking_id");
    let is_ours = !Q::KIND.is_tracked || tracking_id == settings.target.tracking_id.as_ref();
    (is_ours && super::question::key(&question, true) == *key).then_some(question)
}

fn not_stored() -> Failure {
    Failure::new(FailureKind::NotStored, "only what is stored was asked for")
}

/// What the cache holds; nothing is loaded for it.
async fn held(call: &Call, key: &CacheKey, plan: &Plan, validate: bool) -> Result<Served, Failure> {
    let held = call.cache().held(plan, key).await;
    Ok(kept(&held.ok_or_else(not_stored)?, validate))
}

fn kept(answer: &Answer, validate: bool) -> Served {
    marked(Served::kept(answer), &answer.entry.tags, validate)
}

fn live(loaded: Loaded, validate: bool) -> Served {
    marked(Served::live(loaded.representation.body, loaded.empty), &loaded.tags, validate)
}

fn marked(mut served: Served, tags: &[Tag], validate: bool) -> Served {
    if tags.get(REPAIRED_PLACE) == Some(&REPAIRED) {
        served.degraded.push(DEGRADED_REPAIRED);
    }
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
        | FailureKind::Overloaded
        | FailureKind::ShareSpent
        | FailureKind::KeptForKeys => true,
        FailureKind::UpstreamRejected => !failure.by_caller,
        FailureKind::NotStored | FailureKind::Internal => false,
    }
}

#[cfg(test)]
#[path = "ask_tests.rs"]
mod tests;
