//! Addresses of the shop: what counts as one, what a link is asked for, and the id in one.
//!
//! Owns: the source of a link, which is the question, the cache key, and what answers are joined on. Two
//! addresses of one page have one source: the page of a product under any host of the shop is the same
//! page, names that only track are gone, the rest of the query is sorted, and an address that holds
//! another is that other. Nothing is looked up in the network. Refuses: what is no http(s) address,
//! several in one text, addresses of other shops, and sources that are too long. Has no neighbour.

mod product_id;
mod query;

use serde_json::Value;
use url::Url;

use crate::http::forms::{Check, InvalidField, digits_of, shown};

/// Longest source, in bytes.
const MAX_SOURCE: usize = 2048;
/// Addresses within addresses that are followed.
const MAX_DEPTH: usize = 4;
/// Where the pages of products lie.
const ITEM: &str = "https://www.aliexpress.com/item/";
/// The shop; names below these are the shop, too.
const SHOP: [&str; 3] = ["aliexpress.com", "aliexpress.us", "aliexpress.ru"];

/// An http(s) address with a host, as written; `//host/…` is https, and what an address may not
/// hold (blanks, control characters) is escaped or removed.
#[must_use]
pub(super) fn web_url(text: &str) -> Option<String> {
    let text = text.trim();
    let text = if text.starts_with("//") { format!("https:{text}") } else { text.to_owned() };
    let parsed = Url::parse(&text).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https") && parsed.has_host();
    let is_clean = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_web.then(|| if is_clean { text } else { String::from(parsed) })
}

/// Why no link can be asked for at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Unfit {
    NotAnAddress,
    Several,
    OtherShop,
    TooLong,
}

impl Unfit {
    pub(super) const ALLOWED: &str = "an http or https address at aliexpress.com, aliexpress.us or \
                                      aliexpress.ru, at most 2048 bytes without tracking parameters";

    /// The mistake, for whoever sent `url` in `field`.
    pub(super) fn mistake(self, field: &str, url: &str) -> InvalidField {
        let problem = match self {
            Self::NotAnAddress => "is no address",
            Self::Several => "holds a second address; one address each",
            Self::OtherShop => "is not at this shop",
            Self::TooLong => "is too long",
        };
        InvalidField::new(field, format!("`{}` {problem}", shown(url)), Self::ALLOWED)
    }
}

/// An address that a link is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LinkTarget {
    /// As the client sent it, trimmed.
    pub(super) url: String,
    /// What the upstream is asked for.
    pub(super) source: Result<String, Unfit>,
}

impl LinkTarget {
    pub(super) fn of(url: &str) -> Self {
        Self { url: url.to_owned(), source: link_source(url) }
    }

    /// What tells it from others: its source, or what was sent in place of one.
    pub(super) fn identity(&self) -> &str {
        self.source.as_ref().unwrap_or(&self.url)
    }

    pub(super) fn product_id(&self) -> Option<u64> {
        product_id_of(self.source.as_ref().ok()?)
    }
}

/// Reads an address of any kind, noting in `check` when there is none.
pub(super) fn address(check: &mut Check, field: &str, url: Option<&Value>) -> Option<LinkTarget> {
    let text = |check: &mut Check| check.scalar(field, url, Unfit::ALLOWED);
    check.required(field, Unfit::ALLOWED, text).map(|url| LinkTarget::of(&url))
}

/// The source of the address. Commas are escaped, because sources travel in a comma-separated list.
pub(super) fn link_source(text: &str) -> Result<String, Unfit> {
    plain_page(text).map_or_else(|| read_source(text), |page| Ok(page.to_owned()))
}

/// The source of a page of a product as the upstream writes it, which needs no reading: a page of
/// search results has fifty of them, and they would be most of what a hit costs.
fn plain_page(text: &str) -> Option<&str> {
    let (id, rest) = text.strip_prefix(ITEM)?.split_once(".html")?;
    digits_of(id).filter(|_| !id.starts_with('0'))?;
    let only_tracks = |query: &str| query.split('&').all(query::plainly_tracks);
    let is_plain = rest.is_empty() || rest.strip_prefix('?').is_some_and(only_tracks);
    is_plain.then(|| text.strip_suffix(rest)).flatten()
}

fn read_source(text: &str) -> Result<String, Unfit> {
    let mut url = shop_url(text)?;
    for _ in 0..MAX_DEPTH {
        let is_product = product_id::in_path(&url).is_some();
        let Some(inner) = query::target_of(&url).filter(|_| !is_product) else { break };
        url = shop_url(&inner)?;
    }
    let kept = query::without_tracking(&url);
    url.set_query(kept.as_deref());
    url.set_fragment(None);
    if let Some(id) = product_id::in_path(&url) {
        url = page_of(id, url);
    }
    let source = String::from(url).replace(',', "%2C");
    if source.len() > MAX_SOURCE { Err(Unfit::TooLong) } else { Ok(source) }
}

/// The page of a product with the query of `url`.
fn page_of(id: u64, url: Url) -> Url {
    let Ok(mut page) = Url::parse(&format!("{ITEM}{id}.html")) else {
        return url;
    };
    page.set_query(url.query());
    page
}

/// An address of the shop, which is https at the usual port; a host may stand without a scheme.
fn shop_url(text: &str) -> Result<Url, Unfit> {
    let text = text.trim();
    if query::holds_second(text) {
        // Read as one, it would be an address of something that nobody asked for.
        return Err(Unfit::Several);
    }
    let parsed = match Url::parse(text) {
        Ok(parsed) if parsed.has_host() => parsed,
        // `shop.test:443/item` reads as an address of the scheme `shop.test`.
        Ok(_) | Err(_) => Url::parse(&format!("https://{}", text.trim_start_matches('/')))
            .map_err(|_| Unfit::NotAnAddress)?,
    };
    let host = parsed.host_str().unwrap_or_default().trim_end_matches('.');
    let is_web = matches!(parsed.scheme(), "http" | "https") && host.contains(['.', ':']);
    if !is_web || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(Unfit::NotAnAddress);
    }
    if !is_shop(host) {
        return Err(Unfit::OtherShop);
    }
    let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
    Url::parse(&format!("https://{host}{}{query}", parsed.path())).map_err(|_| Unfit::NotAnAddress)
}

fn is_shop(host: &str) -> bool {
    let is_below = |name: &str| {
        host.strip_suffix(name).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
    };
    SHOP.into_iter().any(is_below)
}

/// The product id in a source, if it holds one.
pub(super) fn product_id_of(source: &str) -> Option<u64> {
    let url = Url::parse(source).ok()?;
    product_id::in_path(&url).or_else(|| product_id::in_query(&url))
}

#[cfg(test)]
mod tests;
