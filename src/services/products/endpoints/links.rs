//! Affiliate links, each cached by itself.
//!
//! Owns: one link per source (see `address`); joining answers, which come in another order, to what was
//! asked; the state of each link. Refuses: too many addresses or none, and an address that no link can
//! be asked for, each by itself and before a call is spent. A link that could not be made has a
//! reason and no address; alone it is an error. Without a tracking id none can be made, which is a fault
//! of the configuration.

use std::collections::{BTreeSet, HashMap};

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::cache::Tier;
use crate::failure::{Failure, FailureKind};
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField};
use crate::http::openapi::UNPROCESSABLE;
use crate::http::served::{DEGRADED_STALE, Served, Source};
use crate::http::service::{Route, fingerprint};
use crate::limits::Class;
use crate::limits::abuse::Seen;
use crate::services::products::address::{
    LinkTarget, Unfit, address, link_source, product_id_of, web_url,
};
use crate::services::products::aliexpress::records::Records;
use crate::services::products::aliexpress::{Method, Request, read};
use crate::services::products::ask::{DEGRADED_UPSTREAM, Products};
use crate::services::products::forms::count_of;
use crate::services::products::product::{AffiliateStatus, Dropped, Product};
use crate::services::products::question::{
    Kind, Question, Read, loaded, parsed, product_tag, reads, replaced, same_as,
};

/// In `degraded`: some links could not be made.
pub(super) const DEGRADED_LINKS: &str = "affiliate_links";
/// Most links of one call.
const MAX_LINKS: usize = 50;
/// Why there is no link: the upstream says so.
const NO_LINK: &str = "url: the upstream makes no affiliate link for this address; allowed: a page of the \
     shop that earns commission";
/// The same of an address that hides where it leads.
const NO_SHORT_LINK: &str = "url: the upstream makes no affiliate link for this short address, and it is not \
     followed; allowed: the address of the page that it opens";
const SHORT: [&str; 2] = ["https://a.aliexpress.com/", "https://s.click.aliexpress.com/"];
/// Why there is no link: nobody could say.
const NOT_NOW: &str = "the upstream gave no answer; try again later";

pub const METHOD: Method = Method {
    name: "aliexpress.affiliate.link.generate",
    records: Records {
        outer: "promotion_links",
        inner: "promotion_link",
        ids: &[],
        texts: &[&["source_value"]],
    },
    is_search: false,
};

pub(super) const ROUTES: &[Route] = &[
    Route::at("/api/affiliate/link", Class::General).get(|| to(one)).says(|doc| {
        let summary = "Makes the affiliate link of one address.";
        let details = "The address may be any of the shop: a product, a promotion page, a search. \
             What only tracks is left out of it.";
        doc.says("Affiliate links", "getAffiliateLink", summary, details)
            .for_gpt()
            .form::<LinkForm>()
            .fetches::<LinksData>("A list with one link.")
            .fails(UNPROCESSABLE);
    }),
    Route::at("/api/affiliate/links", Class::General).post(|| to(several)).says(|doc| {
        let summary = "Makes the affiliate links of several addresses.";
        let details = "Answers in the order asked for, each with its own status. Where none can be \
             made, `status` is `failed`, `reason` says why, and there is no address.";
        doc.says("Affiliate links", "getAffiliateLinks", summary, details)
            .for_gpt()
            .form::<LinksForm>()
            .fetches::<LinksData>("One link for each address.");
    }),
];

/// A request for links as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = LinksRequest)]
struct LinksForm {
    /// Addresses of pages of the shop. One text with one address is taken, too.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 50, example = json!(["https://www.aliexpress.com/item/3256800527853119.html"]))]
    urls: Option<Value>,
}

/// A request for one link as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
struct LinkForm {
    /// Address of a page of the shop.
    #[schema(value_type = String, example = "https://www.aliexpress.com/item/3256800527853119.html")]
    url: Option<Value>,
}

impl LinksForm {
    /// Order and repetitions are kept.
    fn validate(&self) -> Result<Vec<LinkTarget>, Vec<InvalidField>> {
        let mut check = Check::default();
        let single;
        let urls: &[Value] = match &self.urls {
            Some(Value::Array(urls)) => urls,
            Some(Value::Null) | None => &[],
            Some(other) => {
                single = [other.clone()];
                &single
            }
        };
        if urls.is_empty() || urls.len() > MAX_LINKS {
            check.refuse("urls", format!("has {} addresses", urls.len()), "1 to 50 addresses");
            return check.finish(Vec::new());
        }
        let text = |(index, url): (usize, &Value)| {
            let text = url.as_str().map(str::trim);
            if text.is_none() {
                check.refuse(&format!("urls[{index}]"), "is not a text", Unfit::ALLOWED);
            }
            text.map(LinkTarget::of)
        };
        let targets = urls.iter().enumerate().filter_map(text).collect();
        check.finish(targets)
    }
}

impl LinkForm {
    fn validate(&self) -> Result<Vec<LinkTarget>, Vec<InvalidField>> {
        let mut check = Check::default();
        let target = address(&mut check, "url", self.url.as_ref());
        // What is no address is a mistake; one of another shop is one that gets no link.
        if let Some(target) = &target
            && let Err(unfit @ (Unfit::NotAnAddress | Unfit::Several | Unfit::TooLong)) =
                target.source
        {
            check.note(unfit.mistake("url", &target.url));
        }
        check.finish(target.into_iter().collect())
    }
}

/// Affiliate links, in the order asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct LinksData {
    /// One item for every address asked for.
    links: Vec<LinkData>,
    /// Addresses asked for.
    requested_count: u64,
    /// Links made earlier.
    cached_count: u64,
    /// Links made for this answer.
    generated_count: u64,
    /// Addresses without a link.
    failed_count: u64,
}

/// One affiliate link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct LinkData {
    /// The address asked for, as it was sent.
    url: String,
    /// The affiliate link, if there is one.
    affiliate_url: Option<String>,
    /// How the link came about.
    status: AffiliateStatus,
    /// Why there is none.
    reason: Option<String>,
}

/// The affiliate link of one source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Link {
    /// As [`link_source`] makes it, which made it without any query until edition 2.
    source: String,
    tracking_id: String,
    ship_to: Option<String>,
}

impl Question for Link {
    const KIND: Kind = Kind {
        operation: "link",
        label: "link",
        is_answer: reads::<Option<String>>,
        fresh: |ttls| ttls.kinds.link_ttl,
        is_validated: false,
        is_tracked: true,
        at_once: MAX_LINKS,
    };
    const EDITION: Option<&'static str> = Some("2");

    fn request(&self, all: &[Self]) -> Request {
        let sources: Vec<_> = all.iter().map(|one| one.source.as_str()).collect();
        Request::of(&METHOD)
            .set("promotion_link_type", 0)
            .list("source_values", &sources)
            .set("tracking_id", &self.tracking_id)
            .optional("ship_to_country", self.ship_to.as_deref())
    }

    /// Links come in an order of their own; those without a source can be joined on nothing.
    fn read(&self, all: &[Self], result: &Value, _: bool) -> Read {
        let mut made: HashMap<&str, String> = HashMap::new();
        for record in METHOD.records.list(result) {
            let asked = read::text(record, "source_value").and_then(|told| asked(all, &told));
            let link = read::text(record, "promotion_link").and_then(|link| web_url(&link));
            if let (Some(source), Some(link)) = (asked, link) {
                made.entry(source).or_insert(link);
            }
        }
        let of_one = |one: &Self| {
            let link = made.get(one.source.as_str());
            loaded(one, &link, link.is_none(), product_id_of(&one.source).map(product_tag))
        };
        (all.iter().map(of_one).collect(), Dropped::default())
    }
}

/// The source that was asked for and is told in the answer, which may have lost its query there: then
/// the only one of that page.
fn asked<'a>(all: &'a [Link], told: &str) -> Option<&'a str> {
    let told = link_source(told).ok()?;
    let sources = || all.iter().map(|one| one.source.as_str());
    let mut of_page = sources().filter(|source| page(source) == page(&told));
    let only = of_page.next().filter(|_| of_page.next().is_none());
    sources().find(|source| *source == told).or(only)
}

fn page(source: &str) -> &str {
    source.split('?').next().unwrap_or(source)
}

/// The links found for a list of addresses.
#[derive(Debug, Default)]
pub(super) struct FoundLinks {
    /// By source; `None` where the upstream is known to have none.
    links: HashMap<String, (Option<String>, AffiliateStatus)>,
    /// Where they came from in all.
    source: Option<Source>,
    /// Why some are missing.
    pub(super) failure: Option<Failure>,
}

impl FoundLinks {
    fn add(&mut self, source: String, answer: Result<Served, Failure>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                self.failure = Some(failure);
                return;
            }
        };
        if let Some(own) = answer.source {
            self.source = Some(self.source.map_or(own, |all| all.join(own)));
        }
        let is_cached = answer.source.is_some_and(|source| source.tier != Tier::Upstream);
        let status = if is_cached { AffiliateStatus::Cached } else { AffiliateStatus::Generated };
        self.links.insert(source, (parsed(&answer).unwrap_or_default(), status));
    }

    /// Whether the cache alone answered.
    pub(super) fn are_all_cached(&self) -> bool {
        let mut states = self.links.values().map(|(_, status)| *status);
        !self.links.is_empty() && states.all(|status| status == AffiliateStatus::Cached)
    }

    /// The affiliate address of `target` and its state, or why there is none.
    fn resolve(&self, target: LinkTarget) -> LinkData {
        let found = match &target.source {
            Ok(source) => self.links.get(source).ok_or_else(|| NOT_NOW.to_owned()),
            Err(unfit) => Err(unfit.mistake("url", &target.url).to_string()),
        };
        let found = found.and_then(|(link, status)| {
            let is_short = SHORT.iter().any(|short| target.url.starts_with(short));
            let why = if is_short { NO_SHORT_LINK } else { NO_LINK };
            Ok((link.clone().ok_or_else(|| why.to_owned())?, *status))
        });
        let (affiliate_url, status, reason) = match found {
            Ok((link, status)) => (Some(link), status, None),
            Err(reason) => (None, AffiliateStatus::Failed, Some(reason)),
        };
        LinkData { url: target.url, affiliate_url, status, reason }
    }

    /// Puts a link on every product; `targets` are theirs. True when any has none: the answer is then degraded by
    /// `affiliate_links`.
    pub(super) fn attach(&self, products: &mut [Product], targets: Vec<LinkTarget>) -> bool {
        let mut degraded = false;
        for (product, target) in products.iter_mut().zip(targets) {
            let link = self.resolve(target);
            degraded |= link.status == AffiliateStatus::Failed;
            product.affiliate_url = link.affiliate_url;
            product.affiliate_status = link.status;
        }
        degraded
    }
}

/// The address of every product.
pub(super) fn targets_of(products: &[Product]) -> Vec<LinkTarget> {
    products.iter().map(|product| LinkTarget::of(&product.product_url)).collect()
}

/// The answer: one item for every target, in the order asked for.
fn assemble(targets: Vec<LinkTarget>, found: &FoundLinks) -> LinksData {
    let links: Vec<_> = targets.into_iter().map(|target| found.resolve(target)).collect();
    let with = |status| count_of(links.iter().filter(|link| link.status == status).count());
    LinksData {
        requested_count: count_of(links.len()),
        cached_count: with(AffiliateStatus::Cached),
        generated_count: with(AffiliateStatus::Generated),
        failed_count: with(AffiliateStatus::Failed),
        links,
    }
}

/// A link that cannot be made is an error here: it is all that was asked for.
async fn one(call: Call) -> Answer {
    let target = call.form::<LinkForm>().await?.read(|form| form.validate())?;
    let (data, served) = found(&call, target).await?;
    match data.links.first().and_then(|link| link.reason.clone()) {
        Some(reason) => Err(ApiError::with_message(ErrorCode::Unprocessable, reason)),
        None => Ok(call.answer(answered(served, &data)?)),
    }
}

/// A link is the same whether it was made now or earlier.
fn answered(served: Served, data: &LinksData) -> Result<Served, Failure> {
    let links = data.links.iter().map(|link| (&link.url, &link.affiliate_url, &link.reason));
    same_as(replaced(served, data, false)?, &links.collect::<Vec<_>>())
}

async fn several(call: Call) -> Answer {
    let targets = call.form::<LinksForm>().await?.read(|form| form.validate())?;
    let (data, served) = found(&call, targets).await?;
    Ok(call.answer(answered(served, &data)?))
}

/// Fails only if not one link could be had because of a failure.
async fn found(call: &Call, targets: Vec<LinkTarget>) -> Result<(LinksData, Served), ApiError> {
    let products: &Products = call.service()?;
    let ids: Vec<_> = targets.iter().filter_map(LinkTarget::product_id).collect();
    call.watch(|| {
        let asked: Vec<_> = targets.iter().map(LinkTarget::identity).collect();
        let query = Some(fingerprint(&("links", asked)));
        Seen { query, ids: &ids, ..Seen::default() }
    })?;
    let ship_to = products.defaults().ship_to.as_deref();
    let found = products.links(call, &targets, ship_to).await;
    if let Some(failure) = found.failure.as_ref().filter(|_| found.links.is_empty()) {
        return Err(failure.clone().into());
    }
    let data = assemble(targets, &found);
    let mut served = Served { source: found.source, ..Served::live(Default::default(), false) };
    let degraded = [
        (found.source.is_some_and(|source| source.stale), DEGRADED_STALE),
        (data.failed_count > 0, DEGRADED_LINKS),
        (found.failure.is_some(), DEGRADED_UPSTREAM),
    ];
    served.degraded.extend(degraded.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word));
    Ok((data, served))
}

impl Products {
    /// The links of `targets`, as far as they can be had; each source is asked for once.
    pub(super) async fn links(
        &self,
        call: &Call,
        targets: &[LinkTarget],
        ship_to: Option<&str>,
    ) -> FoundLinks {
        let mut found = FoundLinks::default();
        let sources: BTreeSet<_> =
            targets.iter().filter_map(|target| target.source.as_ref().ok()).collect();
        if sources.is_empty() {
            return found;
        }
        let Some(tracking_id) = &self.defaults().tracking_id else {
            let reason = "no tracking id is configured (ALIEXPRESS_TRACKING_ID)";
            found.failure = Some(Failure::new(FailureKind::UpstreamRejected, reason));
            return found;
        };
        let link = |source: &&String| Link {
            source: (*source).clone(),
            tracking_id: tracking_id.clone(),
            ship_to: ship_to.map(str::to_owned),
        };
        let questions: Vec<_> = sources.iter().map(link).collect();
        let answers = self.ask_all(call, questions).await;
        for (source, answer) in sources.into_iter().zip(answers) {
            found.add(source.clone(), answer);
        }
        found
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
