//! Affiliate links, each cached by itself.
//!
//! Owns: asking the cache for every source and the upstream for those it does not have, fifty a
//! call. A source that gets no link is kept so for a short while. Without a tracking id no link can
//! be made, which is a fault of configuration and told as one.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::load::{kept_link, priority};
use super::{
    Body, DEGRADED_UPSTREAM, Origin, ProductService, Scope, Served, degraded, parsed, serialised,
};
use crate::cache::{CacheKey, Loaded, Loader, Question as KeptQuestion, Tier};
use crate::failure::{Failure, FailureKind};
use crate::origin::Priority;
use crate::services::products::answer::DEGRADED_LINKS;
use crate::services::products::key::{self, Operation};
use crate::services::products::links::{self, LinkMap, LinkTarget};
use crate::services::products::question::Question;

/// The links found for a list of sources.
#[derive(Debug, Default)]
pub(super) struct FoundLinks {
    /// Made earlier.
    pub(super) cached: LinkMap,
    /// Made for this answer.
    pub(super) generated: LinkMap,
    /// Where they came from in all.
    pub(super) origin: Option<Origin>,
    /// Why some are missing.
    pub(super) failure: Option<Failure>,
}

impl ProductService {
    /// Links for addresses, in the order asked.
    ///
    /// # Errors
    /// Not one link could be had because of a failure.
    pub async fn links(&self, scope: &Scope, targets: &[LinkTarget]) -> Result<Served, Failure> {
        let ship_to = self.settings.target.ship_to.as_deref();
        let found = self.links_of(scope, targets, ship_to).await;
        if let (Some(failure), true) = (&found.failure, found.is_empty()) {
            return Err(failure.clone());
        }
        let data = links::assemble(targets, &found.cached, &found.generated);
        let mut degraded = degraded(found.origin.is_some_and(|origin| origin.stale), true);
        if data.failed_count > 0 {
            degraded.push(DEGRADED_LINKS);
        }
        if found.failure.is_some() {
            degraded.push(DEGRADED_UPSTREAM);
        }
        let body = Body::Own(serialised(&data)?);
        Ok(Served { body, origin: found.origin, degraded, empty: false, last_resort: false })
    }

    /// The links of `targets`, as far as they can be had.
    pub(super) async fn links_of(
        &self,
        scope: &Scope,
        targets: &[LinkTarget],
        ship_to: Option<&str>,
    ) -> FoundLinks {
        let Some(tracking_id) = self.settings.target.tracking_id.as_deref() else {
            let reason = "no tracking id is configured (ALIEXPRESS_TRACKING_ID)";
            let failure = Some(Failure::new(FailureKind::UpstreamRejected, reason));
            return FoundLinks { failure, ..FoundLinks::default() };
        };
        let sources = links::missing(targets, &LinkMap::new());
        if !self.caches(scope) {
            let _wait = self.cache.waiting().begin();
            let loaded = self
                .load_links(
                    scope,
                    (Priority::Client, scope.deadline),
                    &sources,
                    (tracking_id, ship_to),
                )
                .await;
            return FoundLinks::live(sources, loaded);
        }
        let keys: Vec<_> = sources
            .iter()
            .map(|source| CacheKey::new(key::link_key(source, tracking_id, ship_to)))
            .collect();
        let lifetimes = self.lifetimes(Operation::Link);
        let plan = || {
            let loader = self.link_loader(scope, &sources, tracking_id, ship_to);
            let question = link_question(&sources, tracking_id, ship_to);
            self.plan(lifetimes, false, loader, question)
        };
        let answers = self.cache.get_many(lifetimes.kind, &keys, scope.deadline, plan).await;
        let mut links = FoundLinks::default();
        for (source, answer) in sources.into_iter().zip(answers) {
            links.add(source, answer);
        }
        links
    }

    fn link_loader(
        &self,
        scope: &Scope,
        sources: &[String],
        tracking_id: &str,
        ship_to: Option<&str>,
    ) -> Loader {
        let (service, scope) = (self.clone(), scope.clone());
        let sources: Arc<[String]> = sources.into();
        let tracking_id: Arc<str> = tracking_id.into();
        let ship_to: Option<Arc<str>> = ship_to.map(Arc::from);
        Arc::new(move |places, urgency, deadline| {
            let when = (priority(urgency), deadline);
            let (service, scope) = (service.clone(), scope.clone());
            let (tracking_id, ship_to) = (Arc::clone(&tracking_id), ship_to.clone());
            let asked: Vec<String> =
                places.iter().filter_map(|place| sources.get(*place).cloned()).collect();
            Box::pin(async move {
                let whose = (&*tracking_id, ship_to.as_deref());
                service.load_links(&scope, when, &asked, whose).await
            })
        })
    }

    async fn load_links(
        &self,
        scope: &Scope,
        (priority, deadline): (Priority, Instant),
        asked: &[String],
        (tracking_id, ship_to): (&str, Option<&str>),
    ) -> Result<Vec<Loaded>, Failure> {
        let mut made = LinkMap::new();
        for request in links::requests(asked, tracking_id, ship_to) {
            let reply = self.ask(scope, request, deadline, priority).await?;
            made.extend(
                links::digest(reply.as_ref().unwrap_or(&Value::Null), asked)
                    .into_iter()
                    .filter(|(_, link)| link.is_some()),
            );
        }
        asked.iter().map(|source| kept_link(&made, source)).collect()
    }
}

/// What is asked at each place of the list of sources.
fn link_question(sources: &[String], tracking_id: &str, ship_to: Option<&str>) -> KeptQuestion {
    let (sources, tracking_id) = (sources.to_vec(), tracking_id.to_owned());
    let ship_to = ship_to.map(str::to_owned);
    Arc::new(move |place| {
        let (source, tracking_id) = (sources.get(place)?.clone(), tracking_id.clone());
        Question::Link { source, tracking_id, ship_to: ship_to.clone() }.to_json()
    })
}

impl FoundLinks {
    /// What was loaded past every tier.
    fn live(sources: Vec<String>, loaded: Result<Vec<Loaded>, Failure>) -> Self {
        match loaded {
            Err(failure) => Self { failure: Some(failure), ..Self::default() },
            Ok(loaded) => {
                let links = loaded.iter().map(|one| parsed(&one.body).unwrap_or_default());
                Self { generated: sources.into_iter().zip(links).collect(), ..Self::default() }
            }
        }
    }

    /// Whether nothing is known of any source.
    fn is_empty(&self) -> bool {
        self.cached.is_empty() && self.generated.is_empty()
    }

    fn add(&mut self, source: String, answer: Result<crate::cache::Answer, Failure>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        let own = Origin::of(&answer);
        self.origin = Some(self.origin.map_or(own, |all| all.join(own)));
        let link: Option<String> = parsed(&answer.entry.body).unwrap_or_default();
        let made_now = answer.tier == Tier::Upstream;
        let map = if made_now { &mut self.generated } else { &mut self.cached };
        map.insert(source, link);
    }
}
