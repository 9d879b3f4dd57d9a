//! Categories and orders.
//!
//! Owns: their way through cache and upstream. All categories are one answer, kept long; children
//! are read out of it; the last resort may stand in for it. Orders are asked for each time: they are money, and change.

use serde_json::Value;

use super::load::Brought;
use super::{Body, ProductService, Scope, Served, parsed, serialised};
use crate::failure::Failure;
use crate::services::products::answer::CategoriesData;
use crate::services::products::categories;
use crate::services::products::last_resort::LastResort;
use crate::services::products::orders::{self, OrdersQuery};
use crate::services::products::question::Question;

impl ProductService {
    /// All categories.
    ///
    /// # Errors
    /// No usable answer anywhere.
    pub async fn categories(&self, scope: &Scope) -> Result<Served, Failure> {
        let all = self.all_categories(scope).await;
        all.or_else(|failure| self.resort(scope, failure, LastResort::categories))
    }

    async fn all_categories(&self, scope: &Scope) -> Result<Served, Failure> {
        self.one(scope, Question::Categories, Question::Categories.key(), false).await
    }

    /// The children of one category; `None` when there is no such category.
    ///
    /// # Errors
    /// No usable answer anywhere.
    pub async fn children(&self, scope: &Scope, parent: u64) -> Result<Option<Served>, Failure> {
        match self.all_categories(scope).await {
            Ok(all) => children_in(all, parent),
            // A category that the last resort does not know may exist all the same.
            Err(failure) => {
                let all = self.resort(scope, failure.clone(), LastResort::categories)?;
                children_in(all, parent)?.map(Some).ok_or(failure)
            }
        }
    }

    /// One page of orders.
    ///
    /// # Errors
    /// The upstream call failed.
    pub async fn orders(&self, scope: &Scope, query: OrdersQuery) -> Result<Served, Failure> {
        let request = orders::request(&query);
        let digest = |result: Option<&Value>| {
            Brought::of(orders::digest(result.unwrap_or(&Value::Null), &query), |_| Vec::new())
        };
        self.uncached(scope, request, digest).await
    }
}

fn children_in(all: Served, parent: u64) -> Result<Option<Served>, Failure> {
    let tree: CategoriesData = parsed(all.body.bytes())?;
    let Some(children) = categories::children(&tree, parent) else { return Ok(None) };
    Ok(Some(Served { body: Body::Own(serialised(&children)?), empty: false, ..all }))
}
