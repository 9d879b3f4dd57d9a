//! Details of one product or of several, each cached by itself.
//!
//! Owns: asking the cache for every id and the upstream, in one call, for those it does not have.
//! That a product is absent is kept as a short-lived result. Ids whose answer failed are named, not
//! passed off as absent.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::load::{kept_product, no_question, priority};
use super::{
    DEGRADED_UPSTREAM, Origin, ProductService, Scope, Served, degraded, found, parsed, serialised,
    served,
};
use crate::cache::{Answer, CacheKey, Loaded, Loader, Question as KeptQuestion};
use crate::clock;
use crate::failure::Failure;
use crate::products::details::{self, DetailsQuery};
use crate::products::key::{self, Operation};
use crate::products::product::Product;
use crate::products::question::Question;
use crate::upstream::Priority;

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
        let answer = answer?;
        Ok((!answer.entry.negative).then(|| served(&answer, validate)))
    }

    /// The details of several products.
    ///
    /// # Errors
    /// Nothing could be answered for any of them, because of this failure.
    pub async fn products(&self, scope: &Scope, query: DetailsQuery) -> Result<Served, Failure> {
        let validate = self.validates(scope);
        let answers = self.details_of(scope, &query, validate).await;
        let (mut products, mut origin, mut failed) = (HashMap::new(), None, Vec::new());
        let mut failure = None;
        for (id, answer) in query.product_ids.iter().zip(answers) {
            match answer {
                Ok(answer) => {
                    let own = Origin::of(&answer);
                    origin = Some(origin.map_or(own, |all: Origin| all.join(own)));
                    if !answer.entry.negative {
                        products.insert(*id, parsed::<Product>(&answer.entry.body)?);
                    }
                }
                Err(error) => {
                    failed.push(*id);
                    failure = Some(error);
                }
            }
        }
        if let (Some(failure), None) = (failure, origin) {
            return Err(failure);
        }
        let data = details::assemble(&query.product_ids, products).unavailable(&failed);
        let mut degraded = degraded(origin.is_some_and(|origin| origin.stale), validate);
        if !failed.is_empty() {
            degraded.push(DEGRADED_UPSTREAM);
        }
        let empty = data.products.is_empty();
        Ok(Served { body: serialised(&data)?, origin, degraded, empty })
    }

    async fn details_of(
        &self,
        scope: &Scope,
        query: &DetailsQuery,
        validate: bool,
    ) -> Vec<Result<Answer, Failure>> {
        let lifetimes = self.lifetimes(Operation::Details);
        let keys: Vec<_> = query
            .product_ids
            .iter()
            .map(|id| CacheKey::new(key::details_key(*id, &query.target, validate)))
            .collect();
        let loader = self.details_loader(scope, query, validate);
        let question = if validate { details_question(query) } else { no_question() };
        let plan = self.plan(lifetimes, !self.caches(scope), loader, question);
        self.cache.get_many(lifetimes.kind, &keys, scope.deadline, &plan).await
    }

    fn details_loader(&self, scope: &Scope, query: &DetailsQuery, validate: bool) -> Loader {
        let (service, scope, query) = (self.clone(), scope.clone(), Arc::new(query.clone()));
        Arc::new(move |places, urgency| {
            let priority = priority(urgency);
            let (service, scope, query) = (service.clone(), scope.clone(), Arc::clone(&query));
            let ids = places.iter().filter_map(|place| query.product_ids.get(*place).copied());
            let ids: Vec<u64> = ids.collect();
            Box::pin(async move {
                service.load_details(&scope, priority, &ids, (&query, validate)).await
            })
        })
    }

    async fn load_details(
        &self,
        scope: &Scope,
        priority: Priority,
        ids: &[u64],
        (query, validate): (&DetailsQuery, bool),
    ) -> Result<Vec<Loaded>, Failure> {
        let deadline = clock::monotonic() + self.settings.within;
        let request = details::request(ids, &query.target);
        let reply = self.ask(scope, request, deadline, priority).await?;
        let result = found(&reply).unwrap_or(&Value::Null);
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
