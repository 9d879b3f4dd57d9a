//! Smart match: products like the one at an address.
//!
//! Owns: finding the product id in an address (`/item/ID.html`, `/item/slug/ID.html`, `/i/ID.html`,
//! `productId=ID` and its like) and the call that follows. The upstream requires a device id;
//! clients of the gateway have none, so one constant stands for all of them and they share the
//! cached answer. Refuses: addresses without a product id, short links among them, because
//! following them would mean a call to an address that a client chose.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use super::links;
use crate::failure::Failure;
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField, RawForm, digits_of, shown};
use crate::http::openapi::failures::{BAD_INPUT, UPSTREAM};
use crate::http::service::{Operation, Route, fingerprint};
use crate::limits::Class;
use crate::limits::abuse::Seen;
use crate::services::products::aliexpress::methods::{self, Request, Target};
use crate::services::products::aliexpress::wire;
use crate::services::products::ask::{Kind, Question, Read, Reading};
use crate::services::products::product::{self, Product};
use crate::services::products::target::TargetForm;
use crate::services::products::{Products, count_of, tags};

/// The device that the upstream is told about.
const DEVICE_ID: &str = "breakwater";
/// Query parameters that carry a product id.
const ID_PARAMETERS: [&str; 4] = ["productId", "product_id", "itemId", "item_id"];

pub(super) const ROUTES: &[Route] = &[Route::new(
    "/api/smart-match",
    Class::General,
    &[Operation::get(
        || to(handle),
        |doc| {
            let summary = "Finds products like the one at an address.";
            let details = "The address must hold the product id; short links are not followed.";
            doc.says("Products", "matchProducts", summary, details)
                .form::<SmartMatchForm>()
                .fetches::<SmartMatchData>("Products like the given one.")
                .fails(BAD_INPUT)
                .fails(UPSTREAM);
        },
    )],
)];

/// A smart match as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
struct SmartMatchForm {
    /// Address of a product page.
    #[schema(value_type = String, max_length = 2048, example = "https://www.aliexpress.com/item/3256812497109248.html")]
    product_url: Option<Value>,
    #[serde(flatten)]
    target: TargetForm,
}

impl RawForm for SmartMatchForm {}

impl SmartMatchForm {
    fn validate(&self, defaults: &Target) -> Result<SmartMatch, Vec<InvalidField>> {
        let mut check = Check::default();
        let product_id = product_id(&mut check, self.product_url.as_ref());
        let target = self.target.read(&mut check, defaults);
        check.finish(SmartMatch { product_id: product_id.unwrap_or_default(), target })
    }
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

/// Products like a given one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct SmartMatchData {
    /// The product they are like.
    product_id: String,
    /// The products.
    products: Vec<Product>,
    /// How many.
    total_count: u64,
}

/// Products like one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SmartMatch {
    product_id: u64,
    target: Target,
}

impl SmartMatch {
    fn digest(&self, result: &Value, validate: bool) -> Reading<SmartMatchData> {
        let page = wire::product_page(result);
        let is_empty = page.products.is_empty();
        let (products, dropped) = product::products(page.products, &self.target, validate);
        let data = SmartMatchData {
            product_id: self.product_id.to_string(),
            total_count: count_of(products.len()),
            products,
        };
        Reading { data, dropped, is_empty }
    }
}

impl Question for SmartMatch {
    const KIND: Kind = Kind {
        operation: "smart-match",
        label: "smart_match",
        fresh: |setup| setup.cache.default_ttl,
        is_validated: true,
        at_once: 1,
    };

    fn request(&self, _: &[Self]) -> Request {
        methods::smart_match(self.product_id, DEVICE_ID, 1, &self.target)
    }

    fn read(&self, _: &[Self], result: &Value, validate: bool) -> Result<Read, Failure> {
        self.digest(result, validate).loaded(|data| {
            let like = tags::products(&data.products);
            std::iter::once(tags::product(self.product_id)).chain(like).collect()
        })
    }

    fn form(&self) -> Option<Value> {
        let url = format!("https://www.aliexpress.com/item/{}.html", self.product_id);
        let form = SmartMatchForm { product_url: Some(url.into()), target: (&self.target).into() };
        serde_json::to_value(form).ok()
    }

    fn from_form(form: Value, defaults: &Target) -> Option<Self> {
        let form: SmartMatchForm = serde_json::from_value(form).ok()?;
        form.validate(defaults).ok()
    }
}

async fn handle(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let form: SmartMatchForm = call.form().await?;
    let query = form.validate(products.defaults())?;
    let ids = [query.product_id];
    call.watch(|| Seen {
        query: Some(fingerprint(&("smart-match", &query))),
        ids: &ids,
        ..Seen::default()
    })?;
    Ok(call.answer(products.ask(&call, query).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::forms::from_query;
    use crate::services::products::fixtures::{defaults, wire_product};

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
        let checked = |query: &str| {
            let form: SmartMatchForm = from_query(query).unwrap();
            form.validate(&defaults())
        };
        let query =
            checked("product_url=https://www.aliexpress.com/item/7.html&currency=eur").unwrap();
        assert_eq!((query.product_id, query.target.currency.code()), (7, "EUR"));
        assert_eq!(query.request(&[]).params["device_id"], DEVICE_ID);
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
        let query = SmartMatch { product_id: 7, target: defaults() };
        let read = query.digest(&json!({"products": [wire_product(1)]}), true);
        assert_eq!((read.data.total_count, read.data.product_id.as_str()), (1, "7"));
        assert!(query.digest(&json!({}), true).is_empty);
    }
}
