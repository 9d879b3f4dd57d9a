//! Details of one product or of several, each cached by itself.
//!
//! Owns: asking the cache for every id and the upstream, in one call, for those it does not have.
//! That a product is absent is kept as a short-lived result. Ids whose answer failed are named, not
//! passed off as absent. For a client without caching no tier is asked or filled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use serde_json::value::RawValue;

use super::load::{kept_product, no_question, priority};
use super::{
    Body, DEGRADED_UPSTREAM, Origin, ProductService, Scope, Served, degraded, parsed, serialised,
    served, served_live,
};
use crate::cache::{CacheKey, Loaded, Loader, Question as KeptQuestion};
use crate::failure::Failure;
use crate::origin::Priority;
use crate::services::products::details::{self, DetailsQuery};
use crate::services::products::key::{self, Operation};
use crate::services::products::last_resort::{DEGRADED_LAST_RESORT, LastResort};
use crate::services::products::question::Question;

impl ProductService {
    /// The details of one product; `None` when there is no such product.
    ///
    /// # Errors
    /// No usable answer anywhere.
    pub async fn product(
        &self,
        scope: &Scope,
        query: DetailsQuery,
    ) -> Result<Option<Served>, Failure> {
        let validate = self.validates(scope);
        let Some(answer) = self.details_of(scope, &query, validate).await.pop() else {
            return Ok(None);
        };
        answer.map(|found| (!found.empty).then_some(found))
    }

    /// The details of several products.
    ///
    /// # Errors
    /// Nothing could be answered for any of them, because of this failure.
    pub async fn products(&self, scope: &Scope, query: DetailsQuery) -> Result<Served, Failure> {
        let validate = self.validates(scope);
        let answers = self.details_of(scope, &query, validate).await;
        let (mut products, mut failed, mut parts) = (HashMap::new(), Vec::new(), Vec::new());
        let mut failure = None;
        for (id, answer) in query.product_ids.iter().zip(answers) {
            match answer {
                Ok(found) => {
                    if !found.empty {
                        products.insert(*id, parsed::<Box<RawValue>>(found.body.bytes())?);
                    }
                    parts.push(found);
                }
                Err(error) => {
                    failed.push(*id);
                    failure = Some(error);
                }
            }
        }
        if let (Some(failure), true) = (failure, parts.is_empty()) {
            return Err(failure);
        }
        let data = details::assemble(&query.product_ids, products).unavailable(&failed);
        let origin = parts.iter().filter_map(|part| part.origin).reduce(Origin::join);
        let last_resort = parts.iter().any(|part| part.last_resort);
        let mut degraded = degraded(origin.is_some_and(|origin| origin.stale), validate);
        if last_resort {
            degraded.push(DEGRADED_LAST_RESORT);
        }
        if !failed.is_empty() {
            degraded.push(DEGRADED_UPSTREAM);
        }
        let empty = data.products.is_empty();
        Ok(Served { body: Body::Own(serialised(&data)?), origin, degraded, empty, last_resort })
    }

    /// The details of each product, in the order asked for; the last resort fills in what it can.
    async fn details_of(
        &self,
        scope: &Scope,
        query: &DetailsQuery,
        validate: bool,
    ) -> Vec<Result<Served, Failure>> {
        let answers = if self.caches(scope) {
            self.details_cached(scope, query, validate).await
        } else {
            self.details_live(scope, query, validate).await
        };
        let ids = query.product_ids.iter().zip(answers);
        ids.map(|(id, answer)| {
            answer.or_else(|failure| {
                let from = |last: &LastResort| last.product(*id, &query.target, validate);
                self.resort(scope, failure, from)
            })
        })
        .collect()
    }

    /// Past every tier; nothing is stored.
    async fn details_live(
        &self,
        scope: &Scope,
        query: &DetailsQuery,
        validate: bool,
    ) -> Vec<Result<Served, Failure>> {
        let _wait = self.cache.waiting().begin();
        match self
            .load_details(
                scope,
                (Priority::Client, scope.deadline),
                &query.product_ids,
                (query, validate),
            )
            .await
        {
            Ok(loaded) => {
                loaded.into_iter().map(|loaded| Ok(served_live(loaded, validate))).collect()
            }
            Err(failure) => query.product_ids.iter().map(|_| Err(failure.clone())).collect(),
        }
    }

    async fn details_cached(
        &self,
        scope: &Scope,
        query: &DetailsQuery,
        validate: bool,
    ) -> Vec<Result<Served, Failure>> {
        let lifetimes = self.lifetimes(Operation::Details);
        let keys: Vec<_> = query
            .product_ids
            .iter()
            .map(|id| CacheKey::new(key::details_key(*id, &query.target, validate)))
            .collect();
        let plan = || {
            let loader = self.details_loader(scope, query, validate);
            let question = if validate { details_question(query) } else { no_question() };
            self.plan(lifetimes, false, loader, question)
        };
        let answers = self.cache.get_many(lifetimes.kind, &keys, scope.deadline, plan).await;
        answers.into_iter().map(|answer| answer.map(|found| served(&found, validate))).collect()
    }

    fn details_loader(&self, scope: &Scope, query: &DetailsQuery, validate: bool) -> Loader {
        let (service, scope, query) = (self.clone(), scope.clone(), Arc::new(query.clone()));
        Arc::new(move |places, urgency, deadline| {
            let when = (priority(urgency), deadline);
            let (service, scope, query) = (service.clone(), scope.clone(), Arc::clone(&query));
            let ids = places.iter().filter_map(|place| query.product_ids.get(*place).copied());
            let ids: Vec<u64> = ids.collect();
            Box::pin(
                async move { service.load_details(&scope, when, &ids, (&query, validate)).await },
            )
        })
    }

    async fn load_details(
        &self,
        scope: &Scope,
        (priority, deadline): (Priority, Instant),
        ids: &[u64],
        (query, validate): (&DetailsQuery, bool),
    ) -> Result<Vec<Loaded>, Failure> {
        let request = details::request(ids, &query.target);
        let reply = self.ask(scope, request, deadline, priority).await?;
        let result = reply.as_ref().unwrap_or(&Value::Null);
        let digested = details::digest(result, &query.target, validate);
        self.count(&digested.dropped);
        ids.iter().map(|id| kept_product(&digested.data, *id)).collect()
    }
}

/// What is asked at each place of the list of ids.
fn details_question(query: &DetailsQuery) -> KeptQuestion {
    let query = query.clone();
    Arc::new(move |place| {
        let product_id = *query.product_ids.get(place)?;
        Question::Details { product_id, target: query.target.clone() }.to_json()
    })
}
