//! Smart match: products like the one at an address.
//!
//! Owns: finding the product id in an address (`/item/ID.html`, `/item/slug/ID.html`, `/i/ID.html`,
//! `productId=ID` and its like) and the call that follows. The upstream requires a device id;
//! clients of the gateway have none, so one constant stands for all of them and they share the
//! cached answer. Refuses: addresses without a product id, short links among them, because
//! following them would mean a call to an address that a client chose.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::IntoParams;

use super::answer::{Digested, SmartMatchData, count_of};
use super::check::Check;
use super::details::RawPlace;
use super::input::RawForm;
use super::invalid::{InvalidField, shown};
use super::links;
use super::product;
use super::query::target;
use super::search::degraded;
use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::methods::{self, Target};
use crate::services::products::aliexpress::terms::{Currency, Language};
use crate::services::products::aliexpress::wire::{self, read};

/// The device that the upstream is told about.
pub const DEVICE_ID: &str = "breakwater";

/// Query parameters that carry a product id.
const ID_PARAMETERS: [&str; 4] = ["productId", "product_id", "itemId", "item_id"];

/// A smart match as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RawSmartMatch {
    /// Address of a product page.
    #[param(value_type = String, max_length = 2048, example = "https://www.aliexpress.com/item/3256812497109248.html")]
    pub product_url: Option<Value>,
    /// Country shipped to, two letters.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z]{2}$", example = "US")]
    pub ship_to_country: Option<Value>,
    /// Currency of prices.
    #[param(value_type = Option<Currency>, inline)]
    pub currency: Option<Value>,
    /// Language of titles and category names.
    #[param(value_type = Option<Language>, inline)]
    pub language: Option<Value>,
}

impl RawForm for RawSmartMatch {}

/// A valid smart match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmartMatchQuery {
    /// The product at the address.
    pub product_id: u64,
    /// Currency, language, destination, tracking id.
    pub target: Target,
}

/// Checks a smart match.
///
/// # Errors
/// Every field that is not as allowed.
pub fn validate(
    raw: RawSmartMatch,
    defaults: &Target,
) -> Result<SmartMatchQuery, Vec<InvalidField>> {
    let mut check = Check::default();
    let product_id = product_id(&mut check, raw.product_url.as_ref());
    let place = RawPlace {
        ship_to_country: raw.ship_to_country,
        currency: raw.currency,
        language: raw.language,
    };
    let target = target(&mut check, &place.place(), defaults);
    check.finish(SmartMatchQuery { product_id: product_id.unwrap_or_default(), target })
}

fn product_id(check: &mut Check, url: Option<&Value>) -> Option<u64> {
    let address = links::address(check, "product_url", url)?;
    let id = product_id_of(&address.url);
    if id.is_none() {
        check.refuse(
            "product_url",
            format!("`{}` holds no product id", shown(&address.url)),
            "the address of a product page, such as https://www.aliexpress.com/item/ID.html",
        );
    }
    id
}

/// The product id in an address, if it holds one.
#[must_use]
pub fn product_id_of(url: &str) -> Option<u64> {
    let url = Url::parse(url.trim()).ok()?;
    in_path(&url).or_else(|| in_query(&url))
}

fn in_path(url: &Url) -> Option<u64> {
    let mut segments = url.path_segments()?.rev().filter(|segment| !segment.is_empty());
    let last = segments.next()?;
    let name = last.strip_suffix(".html").or_else(|| last.strip_suffix(".htm")).unwrap_or(last);
    let id = read::digits_of(name.rsplit('_').next().unwrap_or(name)).filter(|id| *id > 0);
    let is_page =
        name.len() < last.len() || segments.any(|segment| matches!(segment, "item" | "i"));
    if is_page { id } else { None }
}

fn in_query(url: &Url) -> Option<u64> {
    url.query_pairs()
        .filter(|(name, _)| ID_PARAMETERS.contains(&name.as_ref()))
        .find_map(|(_, value)| read::digits_of(&value).filter(|id| *id > 0))
}

/// The call for products like the query's.
#[must_use]
pub fn request(query: &SmartMatchQuery) -> Request {
    methods::smart_match(query.product_id, DEVICE_ID, 1, &query.target)
}

/// What the call's `result` says.
#[must_use]
pub fn digest(result: &Value, query: &SmartMatchQuery, validate: bool) -> Digested<SmartMatchData> {
    let page = wire::product_page(result);
    let empty = page.products.is_empty();
    let (products, dropped) = product::products(page.products, &query.target, validate);
    let data = SmartMatchData {
        product_id: query.product_id.to_string(),
        total_count: count_of(products.len()),
        products,
    };
    Digested { data, dropped, empty, degraded: degraded(validate) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::products::fixtures::{defaults, wire_product};
    use crate::services::products::input::from_query;

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

    #[test]
    fn the_address_is_checked() {
        let checked = |query: &str| validate(from_query(query).unwrap(), &defaults());
        let query =
            checked("product_url=https://www.aliexpress.com/item/7.html&currency=eur").unwrap();
        assert_eq!((query.product_id, query.target.currency.code()), (7, "EUR"));
        assert_eq!(request(&query).params["device_id"], DEVICE_ID);
        for wrong in [
            "",
            "product_url=",
            "product_url=x",
            "product_url=https://a.test/",
            "product_url=ftp://a.test/item/1.html",
        ] {
            let mistakes = checked(wrong).unwrap_err();
            assert_eq!((mistakes.len(), mistakes[0].field.as_str()), (1, "product_url"), "{wrong}");
        }
    }

    #[test]
    fn matches_are_products() {
        let query = SmartMatchQuery { product_id: 7, target: defaults() };
        let digested = digest(&json!({"products": [wire_product(1)]}), &query, true);
        assert_eq!((digested.data.total_count, digested.data.product_id.as_str()), (1, "7"));
        assert!(digest(&json!({}), &query, true).empty);
    }
}
