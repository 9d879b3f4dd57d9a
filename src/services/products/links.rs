//! Affiliate links: which to ask for, and how answers are joined to what was asked.
//!
//! Owns: one link per source, where a source is an address without its query string; asking in
//! chunks; joining on the source, because answers come in another order; the state of each link.
//! Refuses: addresses that are not http(s), too long, too many or none. A link that could not be
//! made degrades to the plain address and says so.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::answer::{LinkData, LinksData, count_of};
use super::check::Check;
use super::input::RawForm;
use super::invalid::{InvalidField, shown};
use super::product::{AffiliateStatus, Product, web_url};
use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::methods::{self, MAX_LINKS, link_source};
use crate::services::products::aliexpress::wire;

/// Longest address, in bytes.
pub const MAX_URL: usize = 2048;

/// A request for links as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = LinksRequest)]
#[serde(deny_unknown_fields)]
pub struct RawLinks {
    /// Addresses of products.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 50, example = json!(["https://www.aliexpress.com/item/3256812497109248.html"]))]
    pub urls: Option<Value>,
}

impl RawForm for RawLinks {}

/// A request for one link as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RawLink {
    /// Address of a product.
    #[param(value_type = String, max_length = 2048, example = "https://www.aliexpress.com/item/3256812497109248.html")]
    pub url: Option<Value>,
}

impl RawForm for RawLink {}

/// An address that a link is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkTarget {
    /// As the client sent it, trimmed.
    pub url: String,
    /// What the upstream is asked for: the same without query string.
    pub source: String,
}

/// Affiliate links by source; `None` where the upstream is known to have none.
pub type LinkMap = HashMap<String, Option<String>>;

/// Checks a request for several links. Order and repetitions are kept.
///
/// # Errors
/// Every address that is not as allowed.
pub fn validate(raw: &RawLinks) -> Result<Vec<LinkTarget>, Vec<InvalidField>> {
    let mut check = Check::default();
    let single;
    let urls: &[Value] = match &raw.urls {
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
    let targets = urls
        .iter()
        .enumerate()
        .filter_map(|(index, url)| address(&mut check, &format!("urls[{index}]"), Some(url)))
        .collect();
    check.finish(targets)
}

/// Checks a request for one link.
///
/// # Errors
/// The address is missing or not as allowed.
pub fn validate_one(raw: &RawLink) -> Result<Vec<LinkTarget>, Vec<InvalidField>> {
    let mut check = Check::default();
    let target = address(&mut check, "url", raw.url.as_ref());
    check.finish(target.into_iter().collect())
}

/// Reads one address, noting a mistake in `check`.
pub(super) fn address(check: &mut Check, field: &str, url: Option<&Value>) -> Option<LinkTarget> {
    const ALLOWED: &str = "an http or https address of at most 2048 bytes";
    let Some(url) = url.and_then(Value::as_str).map(str::trim).filter(|url| !url.is_empty()) else {
        check.refuse(field, "is missing or not a text", ALLOWED);
        return None;
    };
    let source = if url.len() > MAX_URL { None } else { link_source(url) };
    if source.is_none() {
        let problem = format!("`{}` is not such an address", shown(url));
        check.refuse(field, problem, ALLOWED);
    }
    Some(LinkTarget { url: url.to_owned(), source: source? })
}

/// The address of every product that has one, for [`attach`].
#[must_use]
pub fn targets_of(products: &[Product]) -> Vec<LinkTarget> {
    products.iter().filter_map(|product| target_of(&product.product_url)).collect()
}

fn target_of(url: &str) -> Option<LinkTarget> {
    link_source(url).map(|source| LinkTarget { url: url.to_owned(), source })
}

/// The sources of `targets` that `known` does not answer, each once, in the order asked for.
#[must_use]
pub fn missing(targets: &[LinkTarget], known: &LinkMap) -> Vec<String> {
    let mut seen = HashSet::new();
    targets
        .iter()
        .map(|target| &target.source)
        .filter(|source| !known.contains_key(*source) && seen.insert((*source).clone()))
        .cloned()
        .collect()
}

/// The calls for `sources`, at most 50 in each. A call of one source serves as a cache key.
#[must_use]
pub fn requests(sources: &[String], tracking_id: &str, ship_to: Option<&str>) -> Vec<Request> {
    sources
        .chunks(MAX_LINKS)
        .map(|chunk| methods::link_generate(chunk, tracking_id, ship_to))
        .collect()
}

/// What a call's `result` says about each of the `asked` sources: `None` where it gave no link.
#[must_use]
pub fn digest(result: &Value, asked: &[String]) -> LinkMap {
    let mut found: HashMap<String, String> = HashMap::new();
    for link in wire::link_list(result).links {
        let source = link_source(&link.source_value).unwrap_or(link.source_value);
        if let Some(url) = link.promotion_link.and_then(|url| web_url(&url)) {
            found.entry(source).or_insert(url);
        }
    }
    asked.iter().map(|source| (source.clone(), found.get(source).cloned())).collect()
}

/// The affiliate address of `target` and its state. Links in `cached` win; an address in neither
/// map failed.
fn resolve(target: &LinkTarget, cached: &LinkMap, generated: &LinkMap) -> LinkData {
    let find = |map: &LinkMap| map.get(&target.source).cloned().flatten();
    let (affiliate_url, status) = match (find(cached), find(generated)) {
        (Some(link), _) => (link, AffiliateStatus::Cached),
        (None, Some(link)) => (link, AffiliateStatus::Generated),
        (None, None) => (target.url.clone(), AffiliateStatus::Failed),
    };
    LinkData { url: target.url.clone(), affiliate_url, status }
}

/// The answer: one item for every target, in the order asked for.
#[must_use]
pub fn assemble(targets: &[LinkTarget], cached: &LinkMap, generated: &LinkMap) -> LinksData {
    let links: Vec<_> = targets.iter().map(|target| resolve(target, cached, generated)).collect();
    let with = |status| count_of(links.iter().filter(|link| link.status == status).count());
    LinksData {
        requested_count: count_of(links.len()),
        cached_count: with(AffiliateStatus::Cached),
        generated_count: with(AffiliateStatus::Generated),
        failed_count: with(AffiliateStatus::Failed),
        links,
    }
}

/// Puts a link on every product. True when any had to keep its plain address: the answer is then
/// degraded by `affiliate_links`.
pub fn attach(products: &mut [Product], cached: &LinkMap, generated: &LinkMap) -> bool {
    let mut degraded = false;
    for product in products {
        let link = target_of(&product.product_url)
            .map(|target| resolve(&target, cached, generated))
            .unwrap_or_else(|| LinkData {
                url: product.product_url.clone(),
                affiliate_url: product.product_url.clone(),
                status: AffiliateStatus::Failed,
            });
        degraded |= link.status == AffiliateStatus::Failed;
        product.affiliate_url = Some(link.affiliate_url);
        product.affiliate_status = link.status;
    }
    degraded
}
