//! How a question is answered: by the cache, past it, by what is stored alone, or by the last resort.
//!
//! Owns: [`Products`], and which of these a request gets. When the upstream is down the cache answers as
//! long as it holds anything usable; else the last resort answers, or the typed failure goes to the
//! caller. How what is missing is loaded is `load`.

use std::sync::{Arc, LazyLock};

use actix_web::dev::ServerHandle;
use futures_util::future::join_all;
use slog::Logger;

use super::aliexpress::{AliExpressClient, Target};
use super::question::{Keyed, Question, key};
use super::settings::{AliExpressSettings, Setup, Ttls};
use super::simulator::Control;
use crate::cache::{Answer, CacheKey, Loaded, Plan, Tag, Tier};
use crate::config::Current;
use crate::config::kinds::Rollout;
use crate::failure::{Failure, FailureKind};
use crate::http::context::Scope;
use crate::http::extract::Call;
use crate::http::served::{Served, Source};
use crate::http::settings::CurrentFeatures;
use crate::metrics::{Counters, Metrics};
use crate::origin::Priority;

/// In `degraded`: the products of this answer were not validated.
const DEGRADED_VALIDATION: &str = "validation";
/// In `degraded`: some of what was asked for could not be had.
pub(super) const DEGRADED_UPSTREAM: &str = "upstream";
/// In `degraded`: the answer, or a part of it, was made from the catalogue file.
const DEGRADED_LAST_RESORT: &str = "last_resort";
/// In `degraded`: characters of the upstream's answer were lost or replaced.
const DEGRADED_REPAIRED: &str = "repaired";
/// The tag of answers that were repaired; it stands at its place in their tags.
pub(super) static REPAIRED: LazyLock<Tag> = LazyLock::new(|| Tag::of("answer:repaired"));
pub(super) const REPAIRED_PLACE: usize = 1;
/// For how many calls one counts in the share of a client that asks past the cache: the answer may be
/// stored, and is no use to others.
const PAST_CACHE: u32 = 5;

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
    /// Who calls it.
    pub(super) accounts: Arc<Current<AliExpressSettings>>,
    pub(super) metrics: Metrics,
    /// Products of the upstream that failed validation, by reason.
    pub(super) dropped: Counters<1>,
    /// What of the upstream's texts was repaired, by kind.
    pub(super) repaired: Counters<1>,
    pub(super) settings: Arc<Setup>,
    pub(super) ttls: Arc<Current<Ttls>>,
    pub(super) features: Arc<CurrentFeatures>,
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
            Ok(loaded) => loaded.into_iter().map(|one| Ok(live(one?, validate))).collect(),
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
        let (loaded, dropped) = question.read(std::slice::from_ref(question), &result, validate);
        let mut loaded = loaded.into_iter().flatten();
        let Some(loaded) = loaded.find(|one| !one.empty) else { return Err(failure) };
        self.count(&dropped);
        let mut served = Served {
            source: self.caches(&scope).then_some(Source::MISSED),
            last_resort: true,
            ..Served::live(loaded.representation.body, false)
        };
        served.degraded.push(DEGRADED_LAST_RESORT);
        Ok(marked(served, &[], validate))
    }

    fn validates<Q: Question>(&self, scope: &Scope) -> bool {
        !Q::KIND.is_validated || is_on(self.features.get().data_validation, scope.client)
    }

    fn caches(&self, scope: &Scope) -> bool {
        is_on(self.features.get().enhanced_caching, scope.client)
    }
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
pub(super) fn is_on(rollout: Rollout, client: u64) -> bool {
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
