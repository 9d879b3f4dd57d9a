//! Details of products by id.
//!
//! Owns: one product, and up to 20 at once. Each product is cached by itself, so that both share
//! entries; those that no tier holds are asked for in one call. That a product is absent is stored
//! for a short time. Refuses: none at all, and more than 20. What is no id is named and costs the others
//! nothing. Ids whose answer failed, or came and cannot be used, are named, not passed off as absent; the
//! last resort fills in what it can.

use std::collections::HashMap;

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, Schema};

use crate::failure::Failure;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, ID_ALLOWED, InvalidField, digits_of};
use crate::http::openapi::NOT_FOUND;
use crate::http::served::{Served, Source};
use crate::http::service::{Route, fingerprint};
use crate::limits::Class;
use crate::limits::abuse::Seen;
use crate::services::products::aliexpress::records::Records;
use crate::services::products::aliexpress::{Method, Request, Target, read};
use crate::services::products::ask::{DEGRADED_UPSTREAM, Products};
use crate::services::products::forms::{TargetForm, count_of, id_in, id_schema};
use crate::services::products::last_resort::LastResort;
use crate::services::products::product::{DropReason, Product};
use crate::services::products::question::{
    Kind, Question, Read, loaded, parsed, product_tag, reads, replaced, tags_of,
};
use crate::services::products::reading;

/// Most products of one request.
const MAX_PRODUCTS: usize = 20;

pub const METHOD: Method = Method {
    name: "aliexpress.affiliate.productdetail.get",
    records: Records::PRODUCTS,
    is_search: false,
};

pub(super) const ROUTES: &[Route] = &[
    Route::at("/api/products/details", Class::General).post(|| to(several)).says(|doc| {
        let details = "Answers in the order asked for; ids without a product are listed as \
             `missing`, what is no id as `invalid`, ids that could not be asked for, or whose answer cannot be used, \
             as `unavailable`.";
        doc.says("Products", "getProducts", "Gets the details of several products.", details)
            .for_gpt()
            .form::<DetailsForm>()
            .fetches::<DetailsData>("The products that were found, and which were not.");
    }),
    Route::at("/api/products/details/{product_id}", Class::General).get(|| to(one)).says(|doc| {
        let details = "A product that does not exist, or earns no commission, is not found. One of which \
             the upstream sent what cannot be used is 503, and may be there the next time.";
        doc.says("Products", "getProduct", "Gets the details of one product.", details)
            .for_gpt()
            .path("product_id", &format!("Product id, {ID_ALLOWED}."), Some("^0*[1-9][0-9]{0,19}$"))
            .example("3256800527853119")
            .query::<TargetForm>()
            .fetches::<Product>("The product.")
            .fails(NOT_FOUND);
    }),
];

/// A request for details as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DetailsRequest)]
struct DetailsForm {
    #[schema(schema_with = product_ids_schema, required = true)]
    product_ids: Option<Value>,
    #[serde(flatten)]
    target: TargetForm,
}

fn product_ids_schema() -> Schema {
    let what = "Product ids, as texts or numbers; texts, because they exceed 2^53. One text with commas is \
         taken, too. What is no id stands in `invalid` beside the others, an empty place of the list as an empty \
         text; where nothing is an id that is a 400.";
    let ids = ArrayBuilder::new()
        .description(Some(what))
        .items(id_schema())
        .min_items(Some(1))
        .max_items(Some(MAX_PRODUCTS))
        .examples([json!(["3256800527853119"])]);
    Schema::Array(ids.build())
}

/// Distinct ids in the order asked for, and for whom.
type Wanted = (Vec<u64>, Target);

impl DetailsForm {
    /// What is wanted, and what is no id.
    fn validate(&self, defaults: &Target) -> Result<(Wanted, Vec<String>), Vec<InvalidField>> {
        let mut check = Check::default();
        let given = self.product_ids.as_ref();
        let (ids, mut invalid) = check.ids_and_others("product_ids", given, MAX_PRODUCTS);
        // A place of the list that holds nothing was meant to hold an id.
        let places = given.and_then(Value::as_array).into_iter().flatten();
        let is_blank = |place: &&Value| {
            place.is_null() || place.as_str().is_some_and(|text| text.trim().is_empty())
        };
        invalid.extend(places.filter(is_blank).take(MAX_PRODUCTS).map(|_| String::new()));
        if ids.is_empty() && check.is_fine() {
            check.refuse("product_ids", "is missing or empty", "1 to 20 product ids");
        }
        let target = self.target.read(&mut check, defaults);
        check.finish(((ids, target), invalid))
    }
}

fn validate_one(
    id: &str,
    form: &TargetForm,
    defaults: &Target,
) -> Result<Wanted, Vec<InvalidField>> {
    let mut check = Check::default();
    let id = id_in(&mut check, "product_id", id);
    let target = form.read(&mut check, defaults);
    check.finish((id.into_iter().collect(), target))
}

/// Details of several products.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct DetailsData {
    /// The products found, in the order asked for; each as it is kept.
    #[schema(value_type = Vec<Product>)]
    products: Vec<Box<RawValue>>,
    /// Distinct ids asked for.
    requested_count: u64,
    /// Products found.
    returned_count: u64,
    /// Ids for which there is no product, in the order asked for.
    missing: Vec<String>,
    /// What is no id at all, as it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    invalid: Vec<String>,
    /// Ids that could not be asked for, or whose answer cannot be used; they may exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Details {
    product_id: u64,
    target: Target,
}

impl Question for Details {
    const KIND: Kind = Kind {
        operation: "details",
        label: "product",
        is_answer: reads::<Option<Product>>,
        fresh: |ttls| ttls.kinds.product_ttl,
        is_validated: true,
        is_tracked: true,
        at_once: MAX_PRODUCTS,
    };

    fn request(&self, all: &[Self]) -> Request {
        let ids: Vec<_> = all.iter().map(|one| one.product_id).collect();
        Request::of(&METHOD)
            .list("product_ids", &ids)
            .optional("country", self.target.ship_to.as_deref())
            .target(&self.target)
    }

    /// What was asked for and is not in the result does not exist, or earns no commission. What is in
    /// it and is unfit to be shown has failed, as has what a record without an id may be about.
    fn read(&self, all: &[Self], result: &Value, validate: bool) -> Read {
        let (products, dropped) = reading::products(result, &self.target, validate);
        let by_id = |product: Product| Some((digits_of(&product.product_id)?, product));
        let found: HashMap<_, _> = products.into_iter().filter_map(by_id).collect();
        let of_one = |one: &Self| {
            let product = found.get(&one.product_id);
            if product.is_none()
                && let Some(reason) = one.dropped(result, validate)
            {
                return Err(Failure::unusable(reason.label()));
            }
            let tags = std::iter::once(product_tag(one.product_id)).chain(tags_of(product));
            loaded(one, &product, product.is_none(), tags)
        };
        (all.iter().map(of_one).collect(), dropped)
    }

    fn last_resort(&self, last: &LastResort, _: bool) -> Option<Value> {
        last.product(self.product_id)
    }
}

impl Details {
    /// Why a record that is about this product, or may be, was left out.
    fn dropped(&self, result: &Value, validate: bool) -> Option<DropReason> {
        let records = METHOD.records.list(result).into_iter();
        let id_of = |record: &&Value| read::id(record, "product_id");
        let mut about = records.filter(|one| id_of(one).is_none_or(|id| id == self.product_id));
        about.find_map(|one| reading::product(one, &self.target, validate).err())
    }
}

async fn one(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let id = call.path::<String>()?;
    let form = call.form::<TargetForm>().await?;
    let wanted = form.read(|form| validate_one(&id, &form, products.defaults()))?;
    watch(&call, &wanted)?;
    let found = products.details(&call, &wanted).await.pop().transpose()?;
    let none = || ApiError::with_message(ErrorCode::NotFound, "There is no such product.");
    Ok(call.answer(found.filter(|found| !found.empty).ok_or_else(none)?))
}

async fn several(call: Call) -> Answer {
    let products: &Products = call.service()?;
    let form = call.form::<DetailsForm>().await?;
    let (wanted, invalid) = form.read(|form| form.validate(products.defaults()))?;
    watch(&call, &wanted)?;
    let answers = products.details(&call, &wanted).await;
    Ok(call.answer(assemble(&wanted.0, invalid, answers)?))
}

fn watch(call: &Call, wanted: &Wanted) -> Result<(), ApiError> {
    call.watch(|| Seen {
        query: Some(fingerprint(&("details", wanted))),
        ids: &wanted.0,
        ..Seen::default()
    })
}

impl Products {
    /// The details of each product, in the order asked for.
    async fn details(&self, call: &Call, (ids, target): &Wanted) -> Vec<Result<Served, Failure>> {
        let asked = ids.iter().map(|id| Details { product_id: *id, target: target.clone() });
        let asked: Vec<_> = asked.collect();
        let answers = self.ask_all(call, asked.clone()).await;
        let answers = asked.iter().zip(answers);
        answers.map(|(one, answer)| self.or_last_resort(call, one, answer)).collect()
    }
}

/// The answer to a request for several products.
///
/// # Errors
/// Nothing could be answered for any of them, because of this failure.
fn assemble(
    ids: &[u64],
    invalid: Vec<String>,
    answers: Vec<Result<Served, Failure>>,
) -> Result<Served, Failure> {
    let requested_count = count_of(ids.len().saturating_add(invalid.len()));
    let mut data = DetailsData { requested_count, invalid, ..DetailsData::default() };
    let (mut whole, mut failure): (Option<Served>, _) = (None, None);
    for (id, answer) in ids.iter().zip(answers) {
        let part = match answer {
            Ok(part) => part,
            Err(error) => {
                data.unavailable.push(id.to_string());
                failure = Some(error);
                continue;
            }
        };
        if part.empty {
            data.missing.push(id.to_string());
        } else {
            data.products.push(parsed(&part)?);
        }
        whole = Some(match whole {
            None => part,
            Some(whole) => joined(whole, part),
        });
    }
    data.returned_count = count_of(data.products.len());
    let Some(mut whole) = whole else {
        return Err(failure.unwrap_or_else(|| {
            Failure::new(crate::failure::FailureKind::Internal, "no product was asked for")
        }));
    };
    if failure.is_some() {
        whole.degraded.push(DEGRADED_UPSTREAM);
    }
    replaced(whole, &data, data.products.is_empty())
}

fn joined(mut whole: Served, part: Served) -> Served {
    whole.source = match (whole.source, part.source) {
        (Some(one), Some(other)) => Some(Source::join(one, other)),
        (one, other) => one.or(other),
    };
    for word in part.degraded {
        if !whole.degraded.contains(&word) {
            whole.degraded.push(word);
        }
    }
    Served { last_resort: whole.last_resort || part.last_resort, ..whole }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::products::fixtures::{defaults, wire_product};

    fn checked(ids: Value) -> Result<Vec<u64>, Vec<InvalidField>> {
        let form = DetailsForm { product_ids: Some(ids), ..DetailsForm::default() };
        form.validate(&defaults()).map(|((ids, _), _)| ids)
    }

    #[test]
    fn one_to_twenty_distinct_ids_are_allowed() {
        assert_eq!(checked(json!(["3", 1, "3"])).unwrap(), [3, 1]);
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
        let one = |id| validate_one(id, &TargetForm::default(), &defaults());
        assert_eq!(one("18446744073709551615").unwrap().0, [u64::MAX]);
        for wrong in ["", "0", "-1", "+1", "1 ", "18446744073709551616", "١٢", "1e3"] {
            assert_eq!(one(wrong).unwrap_err()[0].field, "product_id", "{wrong}");
        }
    }

    #[test]
    fn products_come_in_the_order_asked_for() {
        let result = json!({"products": [wire_product(1), wire_product(2), wire_product(9)]});
        let ids = [2, 5, 1];
        let asked = ids.map(|product_id| Details { product_id, target: defaults() });
        let (found, dropped) = asked[0].read(&asked, &result, true);
        assert_eq!(dropped.total(), 0);
        let mut answers: Vec<_> = found
            .into_iter()
            .map(|one| one.map(|one| Served::live(one.representation.body, one.empty)))
            .collect();
        answers.push(Err(Failure::new(crate::failure::FailureKind::CircuitOpen, "")));
        let whole = assemble(&[2, 5, 1, 7], vec!["x".to_owned()], answers).unwrap();
        assert_eq!(whole.degraded, [DEGRADED_UPSTREAM]);
        let data: Value = parsed(&whole).unwrap();
        let shown = |place: usize| data["products"][place]["product_id"].clone();
        assert_eq!([shown(0), shown(1)], ["2", "1"]);
        assert_eq!((&data["requested_count"], &data["returned_count"]), (&json!(5), &json!(2)));
        assert_eq!(data["invalid"], json!(["x"]));
        assert_eq!((&data["missing"], &data["unavailable"]), (&json!(["5"]), &json!(["7"])));
    }

    #[test]
    fn what_came_and_cannot_be_used_is_not_absent() {
        let read = |records: Value| {
            let asked = [1, 2, 3].map(|product_id| Details { product_id, target: defaults() });
            let (read, _) = asked[0].read(&asked, &json!({ "products": records }), true);
            read.into_iter().map(|one| one.map(|one| one.empty)).collect::<Vec<_>>()
        };
        let unfit = |id: u64, name: &str, value: Value| {
            let mut record = wire_product(id);
            record[name] = value;
            record
        };
        for (name, value, reason) in [
            ("target_sale_price_currency", json!("XXX"), "currency_unknown"),
            ("product_title", json!(null), "title_too_short"),
            ("target_sale_price", json!("99999999999"), "price_too_high"),
            ("target_sale_price", json!(null), "price_invalid"),
        ] {
            let found = read(json!([wire_product(1), unfit(2, name, value)]));
            assert_eq!(found, [Ok(false), Err(Failure::unusable(reason)), Ok(true)], "{reason}");
        }
        // Whose record lost its id is not known.
        let found = read(json!([wire_product(1), unfit(2, "product_id", json!(null))]));
        let lost = || Err(Failure::unusable("id_missing"));
        assert_eq!(found, [Ok(false), lost(), lost()]);
    }
}
