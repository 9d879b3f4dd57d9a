//! Searches: plain, hot, smart, and products like one.
//!
//! Owns: their way through cache and upstream. A smart search stands on the plain one beneath it,
//! which is cached by itself and shared with plain searches; choosing and ranking is done each time
//! on its page, links come from their own cache. A link that cannot be had leaves the plain address.

use std::sync::Arc;

use super::links::FoundLinks;
use super::load::brought;
use super::{Body, DEGRADED_UPSTREAM, ProductService, Scope, Served, parsed, serialised};
use crate::cache::{CacheKey, Tier};
use crate::failure::Failure;
use crate::services::products::answer::{DEGRADED_LINKS, SearchData};
use crate::services::products::key::{self, Operation};
use crate::services::products::links;
use crate::services::products::product::Product;
use crate::services::products::query::SearchQuery;
use crate::services::products::question::Question;
use crate::services::products::search::{Among, Prepared};
use crate::services::products::smart;
use crate::services::products::smart_match::{self, SmartMatchQuery};
use crate::services::products::smart_query::SmartQuery;

impl ProductService {
    /// One page of a search.
    ///
    /// # Errors
    /// No usable answer anywhere.
    pub async fn search(&self, scope: &Scope, search: &Prepared) -> Result<Served, Failure> {
        self.page(scope, search, false).await
    }

    /// One page of a search, past every tier; nothing is stored.
    ///
    /// # Errors
    /// The upstream call failed.
    pub async fn search_uncached(
        &self,
        scope: &Scope,
        query: SearchQuery,
    ) -> Result<Served, Failure> {
        let question = Question::Search { query: Arc::new(query), among: Among::All };
        let validate = self.validates(scope);
        let request = question.request();
        self.uncached(scope, request, |result| brought(&question, result, validate)).await
    }

    async fn page(
        &self,
        scope: &Scope,
        search: &Prepared,
        reload: bool,
    ) -> Result<Served, Failure> {
        let validate = self.validates(scope);
        let key = if validate { &search.key } else { &search.unvalidated };
        let question = Question::Search { query: Arc::clone(&search.query), among: search.among };
        let answer = self.one(scope, question, key.clone(), reload).await;
        answer.or_else(|failure| {
            self.resort(scope, failure, |last| last.search(&search.query, search.among, validate))
        })
    }

    /// One page of a search, chosen, ranked and with links.
    ///
    /// # Errors
    /// No usable page anywhere. Links that fail are no error.
    pub async fn smart_search(&self, scope: &Scope, query: SmartQuery) -> Result<Served, Failure> {
        let reload = query.force_refresh;
        let search = Prepared::new(query.search.clone(), Among::All);
        let mut page = self.page(scope, &search, reload).await?;
        let found: SearchData = parsed(page.body.bytes())?;
        let (mut products, left_out) = smart::select(found.products.clone(), &query);
        self.count(&left_out);
        let mut saved = u64::from(page.origin.is_some_and(|origin| origin.tier != Tier::Upstream));
        if query.generate_affiliate_links && !products.is_empty() {
            let spared = self.link(scope, &query, &mut products, &mut page).await;
            saved = saved.saturating_add(spared);
        }
        let data = smart::assemble(&found, products, &left_out, saved);
        Ok(Served { body: Body::Own(serialised(&data)?), empty: data.products.is_empty(), ..page })
    }

    /// Gives every product its link; says how many upstream calls the cache spared. For products of
    /// the last resort no link is asked for: the upstream has just failed.
    async fn link(
        &self,
        scope: &Scope,
        query: &SmartQuery,
        products: &mut [Product],
        page: &mut Served,
    ) -> u64 {
        let ship_to = query.search.target.ship_to.as_deref();
        let found = if page.last_resort {
            FoundLinks::default()
        } else {
            self.links_of(scope, &links::targets_of(products), ship_to).await
        };
        if links::attach(products, &found.cached, &found.generated) {
            page.degraded.push(DEGRADED_LINKS);
        }
        if found.failure.is_some() {
            page.degraded.push(DEGRADED_UPSTREAM);
        }
        u64::from(found.generated.is_empty() && !found.cached.is_empty())
    }

    /// Products like the one at an address.
    ///
    /// # Errors
    /// No usable answer anywhere.
    pub async fn smart_match(
        &self,
        scope: &Scope,
        query: SmartMatchQuery,
    ) -> Result<Served, Failure> {
        let validate = self.validates(scope);
        let request = smart_match::request(&query);
        let key = CacheKey::new(key::key(Operation::SmartMatch, &request, validate));
        self.one(scope, Question::SmartMatch(query), key, false).await
    }
}
