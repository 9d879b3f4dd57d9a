//! The id of a product in an address.
//!
//! Owns: the known forms: `/item/ID.html`, `/item/slug/ID.html`, `/i/ID.html`, `/ID.html`, and
//! parameters such as `productIds=ID:SKU,ID`, of which the first counts. Has no neighbour.

use url::Url;

use crate::http::forms::digits_of;

/// Parts of a path below which the page of a product lies.
const PAGES: [&str; 5] = ["item", "i", "product", "item-desc", "item-detail"];
/// Parameters that carry product ids, in lower case.
const PARAMETERS: [&str; 9] = [
    "productid",
    "productids",
    "product_id",
    "product_ids",
    "itemid",
    "itemids",
    "item_id",
    "item_ids",
    "x_object_id",
];

pub(super) fn in_path(url: &Url) -> Option<u64> {
    let mut segments = url.path_segments()?.rev().filter(|segment| !segment.is_empty());
    let last = segments.next()?;
    let name = last.strip_suffix(".html").or_else(|| last.strip_suffix(".htm")).unwrap_or(last);
    let id = id_of(name.rsplit('_').next().unwrap_or(name))?;
    let mut above = segments.peekable();
    let is_alone = above.peek().is_none() && name.len() < last.len();
    (is_alone || above.any(|segment| PAGES.contains(&segment))).then_some(id)
}

pub(super) fn in_query(url: &Url) -> Option<u64> {
    url.query_pairs()
        .filter(|(name, _)| PARAMETERS.contains(&name.to_ascii_lowercase().as_str()))
        .find_map(|(_, ids)| ids.split(|c: char| !c.is_ascii_alphanumeric()).find_map(id_of))
}

fn id_of(text: &str) -> Option<u64> {
    digits_of(text).filter(|id| *id > 0)
}
