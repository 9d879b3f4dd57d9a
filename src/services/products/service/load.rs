//! How one key is loaded: from its question to what is kept under it.
//!
//! Owns: plans and loaders, and making a plan again from a question that was kept. Refuses: kept
//! questions that nobody can ask any more (another tracking id, the cache or validation switched
//! off). A loader outlives the request that made it, so its deadline is its own.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{ProductService, Scope, ServiceSettings, serialised};
use crate::cache::{
    CacheKey, Lifetimes, Loaded, Loader, Plan, Question as KeptQuestion, Tag, Urgency,
};
use crate::clock;
use crate::failure::Failure;
use crate::origin::Priority;
use crate::services::products::answer::Digested;
use crate::services::products::dropped::Dropped;
use crate::services::products::links::{self, LinkMap};
use crate::services::products::product::Product;
use crate::services::products::question::Question;
use crate::services::products::search;
use crate::services::products::{categories, details, smart_match, tags};

/// In the log, whom a call was made for that nobody asked for.
const WARMING: &str = "warming";

/// What became of an upstream's result.
#[derive(Debug)]
pub(super) struct Brought {
    /// What is kept.
    pub(super) loaded: Loaded,
    /// What was left out of it, for the metric.
    pub(super) dropped: Dropped,
}

impl Brought {
    /// The answer `digested`, about `tags`.
    pub(super) fn of<T: Serialize>(
        digested: Digested<T>,
        tags: impl FnOnce(&T) -> Vec<Tag>,
    ) -> Result<Self, Failure> {
        let Digested { data, dropped, empty, degraded: _ } = digested;
        let loaded = Loaded { body: serialised(&data)?, empty, tags: tags(&data) };
        Ok(Self { loaded, dropped })
    }
}

/// What the upstream's `result` says about `question`.
pub(super) fn brought(
    question: &Question,
    result: Option<&Value>,
    validate: bool,
) -> Result<Brought, Failure> {
    let value = result.unwrap_or(&Value::Null);
    match question {
        Question::Search { query, among } => {
            let page = match result {
                Some(result) => search::digest(result, query, validate),
                None => search::nothing(query),
            };
            let operation = among.operation();
            Brought::of(page, |page| tags::page(operation, &query.category_ids, &page.products))
        }
        Question::Details { product_id, target } => {
            let digested = details::digest(value, target, validate);
            let loaded = kept_product(&digested.data, *product_id)?;
            Ok(Brought { loaded, dropped: digested.dropped })
        }
        Question::Categories => Brought::of(categories::digest(value), |_| tags::categories()),
        Question::Link { source, .. } => {
            let made = links::digest(value, std::slice::from_ref(source));
            Ok(Brought { loaded: kept_link(&made, source)?, dropped: Dropped::default() })
        }
        Question::SmartMatch(query) => {
            let digested = smart_match::digest(value, query, validate);
            Brought::of(digested, |data| tags::matches(query.product_id, &data.products))
        }
    }
}

/// What is kept under one product's key: the product, or that there is none.
pub(super) fn kept_product(
    products: &HashMap<u64, Product>,
    product_id: u64,
) -> Result<Loaded, Failure> {
    let product = products.get(&product_id);
    let tags = tags::details(product_id, product);
    Ok(Loaded { body: serialised(&product)?, empty: product.is_none(), tags })
}

/// What is kept under one source's key: the link, or that there is none.
pub(super) fn kept_link(links: &LinkMap, source: &str) -> Result<Loaded, Failure> {
    let link = links.get(source).and_then(Option::as_ref);
    Ok(Loaded { body: serialised(&link)?, empty: link.is_none(), tags: tags::link(source) })
}

/// Asks nothing: for keys that are not worth warming.
pub(super) fn no_question() -> KeptQuestion {
    Arc::new(|_| None)
}

/// The question of a key that is loaded by itself. Without validation it is not kept; categories
/// are the same either way.
fn kept_question(question: &Question, validate: bool) -> KeptQuestion {
    if !validate && !matches!(question, Question::Categories) {
        return no_question();
    }
    let question = question.clone();
    Arc::new(move |_| question.to_json())
}

/// Whom a call is made for, as the upstream's pacing sees it.
pub(super) const fn priority(urgency: Urgency) -> Priority {
    match urgency {
        Urgency::Client => Priority::Client,
        Urgency::Refresh => Priority::Refresh,
        Urgency::Warming => Priority::Warming,
    }
}

/// The question that was kept, if anybody could still ask it and be answered from its key.
pub(super) fn still_asked(question: &str, settings: &ServiceSettings) -> Option<Question> {
    let features = &settings.features;
    let question = Question::from_json(question)?;
    let is_ours = || question.tracking_id() == settings.target.tracking_id.as_deref();
    let is_validated = || features.data_validation.0 > 0;
    let is_asked = match &question {
        Question::Categories => true,
        Question::Link { .. } => is_ours(),
        Question::Search { .. } | Question::Details { .. } | Question::SmartMatch(_) => {
            is_ours() && is_validated()
        }
    };
    (is_asked && features.enhanced_caching.0 > 0).then_some(question)
}

impl ProductService {
    /// The plan for the key of a question that was kept, to load it before anybody asks. `None`
    /// when it is no question, or nobody will ask it: then the key is best forgotten.
    #[must_use]
    pub fn plan_for(&self, question: &str) -> Option<(CacheKey, Plan)> {
        let question = still_asked(question, &self.settings)?;
        let key = question.key();
        let deadline = clock::monotonic() + self.settings.within;
        let scope = Scope { request_id: WARMING.into(), deadline, client: 0 };
        let plan = self.plan_of(&scope, question, false, true);
        Some((key, Plan { urgency: Urgency::Warming, ..plan }))
    }

    /// The plan for a key that is loaded by itself.
    pub(super) fn plan_of(
        &self,
        scope: &Scope,
        question: Question,
        reload: bool,
        validate: bool,
    ) -> Plan {
        let lifetimes = self.lifetimes(question.operation());
        let kept = kept_question(&question, validate);
        self.plan(lifetimes, reload, self.loader(scope, question, validate), kept)
    }

    pub(super) fn plan(
        &self,
        lifetimes: Lifetimes,
        reload: bool,
        loader: Loader,
        question: KeptQuestion,
    ) -> Plan {
        let within = self.settings.within;
        Plan { lifetimes, loader, question, reload, urgency: Urgency::Client, within }
    }

    fn loader(&self, scope: &Scope, question: Question, validate: bool) -> Loader {
        let (service, scope, question) = (self.clone(), scope.clone(), Arc::new(question));
        Arc::new(move |_, urgency, deadline| {
            let (service, scope) = (service.clone(), scope.clone());
            let question = Arc::clone(&question);
            Box::pin(async move {
                let request = question.request();
                let reply = service.ask(&scope, request, deadline, priority(urgency)).await?;
                let brought = brought(&question, reply.as_ref(), validate)?;
                service.count(&brought.dropped);
                Ok(vec![brought.loaded])
            })
        })
    }
}
