//! Addresses of products: what counts as one, what a link is asked for, and the id in one.
//!
//! Owns: the source of a link, by which links are kept and joined to answers, and the known forms of
//! a product's address (`/item/ID.html`, `/item/slug/ID.html`, `/i/ID.html`, `productId=ID` and its
//! like). Refuses: addresses that are not http(s), too long, or carry a name and password. Has no
//! neighbour.

use serde_json::Value;
use url::Url;

use crate::http::forms::{Check, digits_of, shown};

/// Longest address, in bytes.
const MAX_URL: usize = 2048;
/// Query parameters that carry a product id.
const ID_PARAMETERS: [&str; 4] = ["productId", "product_id", "itemId", "item_id"];

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

/// An address that a link is wanted for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LinkTarget {
    /// As the client sent it, trimmed.
    pub(super) url: String,
    /// What the upstream is asked for: the same without query string.
    pub(super) source: String,
}

impl LinkTarget {
    pub(super) fn of(url: &str) -> Option<Self> {
        link_source(url).map(|source| Self { url: url.to_owned(), source })
    }
}

/// The address to ask a link for, and to join answers on: without query string and fragment,
/// host in lower case, commas escaped because the parameter is a comma-separated list.
/// `None` when `url` is no http(s) address with a host, or carries a name and password.
pub(super) fn link_source(url: &str) -> Option<String> {
    let mut parsed = Url::parse(url.trim()).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https") && parsed.has_host();
    if !is_web || !parsed.username().is_empty() || parsed.password().is_some() {
        return None;
    }
    parsed.set_query(None);
    parsed.set_fragment(None);
    Some(String::from(parsed).replace(',', "%2C"))
}

/// Reads one address, noting a mistake in `check`.
pub(super) fn address(check: &mut Check, field: &str, url: Option<&Value>) -> Option<LinkTarget> {
    const ALLOWED: &str = "an http or https address of at most 2048 bytes";
    let Some(url) = url.and_then(Value::as_str).map(str::trim).filter(|url| !url.is_empty()) else {
        check.refuse(field, "is missing or not a text", ALLOWED);
        return None;
    };
    let target = if url.len() > MAX_URL { None } else { LinkTarget::of(url) };
    if target.is_none() {
        let problem = format!("`{}` is not such an address", shown(url));
        check.refuse(field, problem, ALLOWED);
    }
    target
}

/// The product id in an address, if it holds one.
pub(super) fn product_id_of(url: &str) -> Option<u64> {
    let url = Url::parse(url.trim()).ok()?;
    in_path(&url).or_else(|| in_query(&url))
}

fn in_path(url: &Url) -> Option<u64> {
    let mut segments = url.path_segments()?.rev().filter(|segment| !segment.is_empty());
    let last = segments.next()?;
    let name = last.strip_suffix(".html").or_else(|| last.strip_suffix(".htm")).unwrap_or(last);
    let id = digits_of(name.rsplit('_').next().unwrap_or(name)).filter(|id| *id > 0);
    let is_page =
        name.len() < last.len() || segments.any(|segment| matches!(segment, "item" | "i"));
    if is_page { id } else { None }
}

fn in_query(url: &Url) -> Option<u64> {
    url.query_pairs()
        .filter(|(name, _)| ID_PARAMETERS.contains(&name.as_ref()))
        .find_map(|(_, value)| digits_of(&value).filter(|id| *id > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_lose_query_fragment_and_commas() {
        let source = |url| link_source(url);
        assert_eq!(
            source(" https://WWW.AliExpress.com/item/1.html?a=1,2#x ").as_deref(),
            Some("https://www.aliexpress.com/item/1.html")
        );
        assert_eq!(source("http://shop.test/a,b").as_deref(), Some("http://shop.test/a%2Cb"));
        assert_eq!(source("ftp://shop.test/a"), None);
        assert_eq!(source("https://me:secret@shop.test/a"), None);
        assert_eq!(source("not an address"), None);
    }

    #[test]
    fn an_id_is_found_in_every_known_form() {
        for url in [
            "https://www.aliexpress.com/item/3256812497109248.html",
            "https://pt.aliexpress.com/item/3256812497109248.html?spm=1#x",
            "https://www.aliexpress.com/item/Some-Earbuds/3256812497109248.html",
            "https://m.aliexpress.com/i/3256812497109248.html",
            "https://www.aliexpress.com/item/3256812497109248",
            "https://www.aliexpress.com/store/product/slug/5_3256812497109248.html",
            "https://www.aliexpress.com/p/page?productId=3256812497109248",
        ] {
            assert_eq!(product_id_of(url), Some(3_256_812_497_109_248), "{url}");
        }
    }

    #[test]
    fn other_addresses_hold_none() {
        for url in [
            "https://s.click.aliexpress.com/e/_abc",
            "https://www.aliexpress.com/",
            "https://www.aliexpress.com/store/1105550285",
            "https://www.aliexpress.com/item/abc.html",
            "https://www.aliexpress.com/item/99999999999999999999.html",
            "nonsense",
        ] {
            assert_eq!(product_id_of(url), None, "{url}");
        }
    }
}
