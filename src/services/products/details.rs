//! Details of products by id.
//!
//! Owns: the forms, the call for those ids that no cache holds, and putting kept and fetched
//! products together in the order asked for. Each product is cached by itself, so that single and
//! bulk requests share entries. Refuses: ids that are no ids, none at all, and more than 20.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answer::{DetailsData, Digested, count_of};
use super::check::Check;
use super::input::RawForm;
use super::invalid::{InvalidField, shown};
use super::product::{self, Product};
use super::query::{Place, target};
use super::search::degraded;
use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::methods::{self, Target};
use crate::services::products::aliexpress::terms::{Currency, Language};
use crate::services::products::aliexpress::wire::{self, read};

/// Most products of one request.
pub const MAX_PRODUCTS: usize = 20;

/// A request for details as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DetailsRequest)]
#[serde(deny_unknown_fields)]
pub struct RawDetails {
    /// Product ids, as texts or numbers; texts, because they exceed 2^53.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 20, example = json!(["3256812497109248"]))]
    pub product_ids: Option<Value>,
    /// Country shipped to, two letters.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z]{2}$", example = "US")]
    pub ship_to_country: Option<Value>,
    /// Currency of prices.
    #[schema(value_type = Option<Currency>)]
    pub currency: Option<Value>,
    /// Language of titles and category names.
    #[schema(value_type = Option<Language>)]
    pub language: Option<Value>,
}

impl RawForm for RawDetails {}

/// For whom the details of one product, or its like, are wanted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RawPlace {
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

impl RawForm for RawPlace {}

/// A valid request for details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetailsQuery {
    /// Distinct ids in the order asked for, 1..=20.
    pub product_ids: Vec<u64>,
    /// Currency, language, destination, tracking id.
    pub target: Target,
}

/// Checks a request for several products. Repeated ids count once.
///
/// # Errors
/// Every field that is not as allowed.
pub fn validate(raw: &RawDetails, defaults: &Target) -> Result<DetailsQuery, Vec<InvalidField>> {
    let mut check = Check::default();
    let product_ids = check.ids("product_ids", raw.product_ids.as_ref(), MAX_PRODUCTS);
    if product_ids.is_empty() && check.mistakes() == 0 {
        check.refuse("product_ids", "is missing or empty", "1 to 20 product ids");
    }
    let place = Place {
        currency: raw.currency.as_ref(),
        language: raw.language.as_ref(),
        ship_to_country: raw.ship_to_country.as_ref(),
    };
    let target = target(&mut check, &place, defaults);
    check.finish(DetailsQuery { product_ids, target })
}

/// Checks a request for one product, whose id stands in the path.
///
/// # Errors
/// Every field that is not as allowed.
pub fn validate_one(
    product_id: &str,
    raw: &RawPlace,
    defaults: &Target,
) -> Result<DetailsQuery, Vec<InvalidField>> {
    let mut check = Check::default();
    let id = product_id_in(&mut check, "product_id", product_id);
    let target = target(&mut check, &raw.place(), defaults);
    check.finish(DetailsQuery { product_ids: id.into_iter().collect(), target })
}

/// Reads one id, noting a mistake in `check`.
pub(super) fn product_id_in(check: &mut Check, field: &str, text: &str) -> Option<u64> {
    let id = read::digits_of(text).filter(|id| *id > 0);
    if id.is_none() {
        let problem = format!("`{}` is not an id", shown(text));
        check.refuse(field, problem, "1 to 20 digits, at most 18446744073709551615, not 0");
    }
    id
}

impl RawPlace {
    /// The same, as a search reads it.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            currency: self.currency.as_ref(),
            language: self.language.as_ref(),
            ship_to_country: self.ship_to_country.as_ref(),
        }
    }
}

/// The call for `product_ids`; of one id for a cache key, of all missing ones for the upstream.
#[must_use]
pub fn request(product_ids: &[u64], target: &Target) -> Request {
    methods::product_detail(product_ids, target)
}

/// The products of the call's `result`, by id. What was asked for and is not in it does not
/// exist, or earns no commission.
#[must_use]
pub fn digest(result: &Value, target: &Target, validate: bool) -> Digested<HashMap<u64, Product>> {
    let (products, dropped) =
        product::products(wire::product_page(result).products, target, validate);
    let data: HashMap<_, _> = products
        .into_iter()
        .filter_map(|product| Some((read::digits_of(&product.product_id)?, product)))
        .collect();
    let empty = data.is_empty();
    Digested { data, dropped, empty, degraded: degraded(validate) }
}

/// The answer to a request for several products, from all that were found in cache and upstream.
#[must_use]
pub fn assemble(product_ids: &[u64], mut found: HashMap<u64, Box<RawValue>>) -> DetailsData {
    let mut data =
        DetailsData { requested_count: count_of(product_ids.len()), ..DetailsData::default() };
    for id in product_ids {
        match found.remove(id) {
            Some(product) => data.products.push(product),
            None => data.missing.push(id.to_string()),
        }
    }
    data.returned_count = count_of(data.products.len());
    data
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::services::products::fixtures::{defaults, wire_product};

    fn checked(ids: Value) -> Result<DetailsQuery, Vec<InvalidField>> {
        validate(&RawDetails { product_ids: Some(ids), ..RawDetails::default() }, &defaults())
    }

    #[test]
    fn one_to_twenty_distinct_ids_are_allowed() {
        assert_eq!(checked(json!(["3", 1, "3"])).unwrap().product_ids, [3, 1]);
        let ids = |n: u64| Value::from((1..=n).collect::<Vec<_>>());
        assert!(checked(ids(20)).is_ok());
        for wrong in [ids(21), json!([]), json!(null), json!(["abc"]), json!([1.5]), json!({})] {
            let mistakes = checked(wrong.clone()).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{wrong}");
            assert_eq!(mistakes[0].field, "product_ids");
        }
    }

    #[test]
    fn an_id_in_a_path_fits_64_bits() {
        let one = |id| validate_one(id, &RawPlace::default(), &defaults());
        assert_eq!(one("18446744073709551615").unwrap().product_ids, [u64::MAX]);
        for wrong in ["", "0", "-1", "+1", "1 ", "18446744073709551616", "١٢", "1e3"] {
            assert_eq!(one(wrong).unwrap_err()[0].field, "product_id", "{wrong}");
        }
    }

    #[test]
    fn products_come_in_the_order_asked_for() {
        let result = json!({"products": [wire_product(1), wire_product(2), wire_product(9)]});
        let found = digest(&result, &defaults(), true).data;
        let kept = |product| to_raw_value(product).unwrap();
        let data = assemble(&[2, 5, 1], found.iter().map(|(id, p)| (*id, kept(p))).collect());
        let wanted: Vec<_> = [2, 1].iter().map(|id| kept(&found[id]).to_string()).collect();
        assert_eq!(data.products.iter().map(ToString::to_string).collect::<Vec<_>>(), wanted);
        assert_eq!((data.requested_count, data.returned_count), (3, 2));
        assert_eq!(data.missing, ["5"]);
    }
}
