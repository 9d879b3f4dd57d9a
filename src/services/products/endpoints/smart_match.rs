//! Smart match: products like the one at an address.
//!
//! Owns: the form and the call that follows. The upstream requires a device id; clients of the gateway
//! have none, so one constant stands for all of them and they share the cached answer. Refuses: addresses
//! without a product id, short links among them, because following them would mean a call to an address
//! that a client chose.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField, shown};
use crate::http::service::{Route, fingerprint};
use crate::limits::Class;
use crate::limits::abuse::Seen;
use crate::services::products::address::address;
use crate::services::products::aliexpress::records::Records;
use crate::services::products::aliexpress::{Method, Request, Target};
use crate::services::products::ask::Products;
use crate::services::products::forms::{TargetForm, count_of};
use crate::services::products::product::{Dropped, Product};
use crate::services::products::question::{
    Kind, Question, Read, loaded, product_tag, reads, tags_of,
};
use crate::services::products::reading;

/// The device that the upstream is told about.
const DEVICE_ID: &str = "breakwater";

pub const METHOD: Method = Method {
    name: "aliexpress.affiliate.product.smartmatch",
    records: Records::PRODUCTS,
    is_search: true,
};

pub(super) const ROUTES: &[Route] =
    &[Route::at("/api/smart-match", Class::General).get(|| to(handle)).says(|doc| {
        let summary = "Finds products like the one at an address.";
        let details = "The address must hold the product id; short links are not followed.";
        doc.says("Products", "matchProducts", summary, details)
            .form::<SmartMatchForm>()
            .fetches::<SmartMatchData>("Products like the given one.");
    })];

/// A smart match as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
struct SmartMatchForm {
    /// Address of a product page, or of a page of the shop that names the product.
    #[schema(value_type = String, example = "https://www.aliexpress.com/item/3256800527853119.html")]
    product_url: Option<Value>,
    #[serde(flatten)]
    target: TargetForm,
}

impl SmartMatchForm {
    fn validate(&self, defaults: &Target) -> Result<SmartMatch, Vec<InvalidField>> {
        let mut check = Check::default();
        let product_id = product_id(&mut check, self.product_url.as_ref());
        let target = self.target.read(&mut check, defaults);
        check.finish(SmartMatch { product_id: product_id.unwrap_or_default(), target })
    }
}

fn product_id(check: &mut Check, url: Option<&Value>) -> Option<u64> {
    let target = address(check, "product_url", url)?;
    let id = target.product_id();
    if let Err(unfit) = target.source {
        check.note(unfit.mistake("product_url", &target.url));
    } else if id.is_none() {
        check.refuse(
            "product_url",
            format!("`{}` holds no product id", shown(&target.url)),
            "the address of a product page, such as https://www.aliexpress.com/item/ID.html",
        );
    }
    id
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
    /// Products of the answer that were left out, by reason.
    #[serde(default, skip_serializing_if = "Dropped::is_empty")]
    dropped: Dropped,
}

/// Products like one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct SmartMatch {
    product_id: u64,
    target: Target,
}

impl Question for SmartMatch {
    const KIND: Kind = Kind {
        operation: "smart-match",
        label: "smart_match",
        is_answer: reads::<SmartMatchData>,
        fresh: |ttls| ttls.cache.default_ttl,
        is_validated: true,
        is_tracked: true,
        at_once: 1,
    };

    fn request(&self, _: &[Self]) -> Request {
        Request::of(&METHOD)
            .set("device_id", DEVICE_ID)
            .set("product_id", self.product_id)
            .set("page_no", 1)
            .optional("country", self.target.ship_to.as_deref())
            .target(&self.target)
    }

    fn read(&self, _: &[Self], result: &Value, validate: bool) -> Read {
        let (products, dropped) = reading::products(result, &self.target, validate);
        let tags = std::iter::once(product_tag(self.product_id)).chain(tags_of(&products));
        let tags: Vec<_> = tags.collect();
        let product_id = self.product_id.to_string();
        let total_count = count_of(products.len());
        let data = SmartMatchData { product_id, total_count, products, dropped };
        let is_empty = METHOD.records.list(result).is_empty();
        (vec![loaded(self, &data, is_empty, tags)], data.dropped)
    }
}

async fn handle(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let form = call.form::<SmartMatchForm>().await?;
    let query = form.read(|form| form.validate(products.defaults()))?;
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
    fn the_address_is_checked() {
        let checked = |query: &str| {
            from_query::<SmartMatchForm>(query).read(|form| form.validate(&defaults()))
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
        let read = |result| query.read(&[], &result, true).0.remove(0).unwrap();
        let found = read(json!({"products": [wire_product(1)]}));
        let data: SmartMatchData = serde_json::from_slice(&found.representation.body).unwrap();
        assert_eq!((data.total_count, data.product_id.as_str()), (1, "7"));
        assert!(!found.empty && read(json!({})).empty);
    }
}
