//! How what the cache misses is loaded: request, upstream, reading, stored bytes.
//!
//! Owns: plans and loaders, and making a plan again from a question that was stored. Refuses: stored
//! questions that no client can ask any more. A failure of the upstream goes to the caller as it is.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use slog::debug;

use super::aliexpress::{Found, Repairs, Request, Target};
use super::ask::{Products, REPAIRED, REPAIRED_PLACE, is_on};
use super::product::Dropped;
use super::question::{Question, Stored, key as key_of};
use crate::cache::{Brought, CacheKey, Lifetimes, Loaded, Loader, Plan};
use crate::clock;
use crate::failure::Failure;
use crate::http::context::Scope;
use crate::http::settings::Features;
use crate::origin::{Call, Priority};
use crate::steps::Steps;

/// All that is loaded comes from one upstream.
const ORIGIN: &str = "aliexpress";
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

impl Products {
    fn plan_again<Q: Question>(&self, question: Value, key: &CacheKey) -> Option<Plan> {
        let question: Q = asked_again(&self.settings.target, self.features.get(), question, key)?;
        let deadline = clock::monotonic() + self.settings.within;
        let scope = Scope {
            request_id: WARMING.into(),
            deadline,
            client: 0,
            payer: None,
            steps: Steps::default(),
            redis_silent: false,
        };
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

    pub(super) fn plan<Q: Question>(
        &self,
        scope: Scope,
        questions: Arc<[Q]>,
        validate: bool,
    ) -> Plan {
        let lifetimes = self.ttls.with(|ttls| Lifetimes {
            kind: Q::KIND.label,
            fresh: (Q::KIND.fresh)(ttls),
            negative: ttls.cache.negative_ttl,
            stale: ttls.cache.stale,
        });
        Plan {
            lifetimes,
            steps: scope.steps.clone(),
            redis_silent: scope.redis_silent,
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

    pub(super) async fn load<Q: Question>(
        &self,
        scope: &Scope,
        (priority, deadline): (Priority, Instant),
        asked: &[Q],
        validate: bool,
    ) -> Brought {
        let mut all = Vec::with_capacity(asked.len());
        for questions in asked.chunks(Q::KIND.at_once) {
            let Some(first) = questions.first() else { continue };
            let request = first.request(questions);
            let result = self.call_upstream(scope, request, deadline, priority).await?;
            let (result, repairs) =
                result.map(|found| (found.result, found.repairs)).unwrap_or_default();
            let (mut loaded, dropped) = first.read(questions, &result, validate);
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
        let retry = is_on(self.features.get().retry_logic, scope.client);
        let method = request.method.name;
        let (payer, call) = (scope.payer.clone(), Call::new(request, priority, deadline));
        let call = Call { retry, payer, ..call }
            .of_request(Arc::clone(&scope.request_id), scope.steps.clone());
        let ids = call.ids();
        // The refusal of the request, which is sampled, tells the same of a client's question.
        self.upstream.call(call).await.inspect_err(|failure| {
            debug!(self.log, "no answer of the upstream"; "upstream_method" => method,
                "reason" => %failure, ids);
        })
    }

    /// Counts what was repaired, and marks what was read of it, wherever it is kept.
    fn mark_repaired(&self, repairs: &Repairs, loaded: &mut [Result<Loaded, Failure>]) {
        for (kind, times) in repairs.iter() {
            self.repaired.at([kind.label()]).inc_by(times);
        }
        if !repairs.is_empty() {
            for one in loaded.iter_mut().flatten() {
                one.tags.insert(REPAIRED_PLACE.min(one.tags.len()), *REPAIRED);
            }
        }
    }

    pub(super) fn count(&self, dropped: &Dropped) {
        for (reason, products) in dropped.iter() {
            self.dropped.at([reason.label()]).inc_by(products);
        }
    }
}

/// The stored question, if a client can ask it now and is answered from `key`.
pub(super) fn asked_again<Q: Question>(
    target: &Target,
    features: Features,
    question: Value,
    key: &CacheKey,
) -> Option<Q> {
    let is_asked = features.enhanced_caching.0 > 0
        && (!Q::KIND.is_validated || features.data_validation.0 > 0);
    let question: Q = serde_json::from_value(question).ok().filter(|_| is_asked)?;
    let request = question.request(std::slice::from_ref(&question));
    // With another tracking id it would be another question.
    let tracking_id = request.params.get("tracking_id");
    let is_ours = !Q::KIND.is_tracked || tracking_id == target.tracking_id.as_ref();
    (is_ours && key_of(&question, true) == *key).then_some(question)
}
