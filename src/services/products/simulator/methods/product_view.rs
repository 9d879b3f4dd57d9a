//! A product as it stands in an answer.
//!
//! Owns: field names and their odd shapes: `lastest_volume` is spelled so and is a number or a
//! text, rates are texts with a percent sign, `target_*` prices follow the currency asked for while
//! the plain ones are in yuan, the main image is often repeated among the small ones, and the
//! promotion link is one for the whole answer. Refuses: nothing; what is unknown is left out.

use serde_json::{Value, json};

use super::super::parameters::Parameters;
use super::super::pictures::PICTURES;
use super::super::refusal::Refusal;
use super::{Call, links};
use crate::services::products::catalogue::money::{Currency, Money};
use crate::services::products::catalogue::{Categories, Price, Product};

const LANGUAGES: [&str; 21] = [
    "EN", "RU", "PT", "ES", "FR", "ID", "IT", "TH", "JA", "AR", "VI", "TR", "DE", "HE", "KO", "NL",
    "PL", "MX", "CL", "IW", "IN",
];

/// What is the same for every product of an answer.
#[derive(Debug)]
pub(super) struct Presentation<'a> {
    categories: &'a Categories,
    currency: Currency,
    country: &'a str,
    /// Names of the fields that are asked for; none: all.
    fields: Vec<&'a str>,
    promotion_link: Option<String>,
    pictures: &'a str,
}

impl<'a> Presentation<'a> {
    /// Reads currency, country (sent as `country`) and fields. Titles stay in the catalogue's
    /// language; the language asked for is only checked.
    pub(super) fn of(
        call: &'a Call<'_>,
        country: &str,
        products: &[&Product],
    ) -> Result<Self, Refusal> {
        let parameters = call.parameters;
        parameters.one_of("target_language", &LANGUAGES)?;
        let shared = products.first().map(|first| format!("shared:{}", first.id));
        Ok(Self {
            categories: call.catalogue.categories(),
            currency: parameters.currency()?,
            country: destination(parameters, country)?,
            fields: parameters.list("fields"),
            promotion_link: shared
                .filter(|_| parameters.get("tracking_id").is_some())
                .map(|shared| links::short_link('s', &shared, call.tracking_id)),
            pictures: call.pictures,
        })
    }

    /// The fields that are asked for and known.
    pub(super) fn show(&self, product: &Product) -> Value {
        let fields = [self.identity(product), self.rates(product), self.prices(product)];
        fields
            .into_iter()
            .flatten()
            .filter(|(name, value)| self.wants(name) && !value.is_null())
            .collect()
    }

    /// The id is sent whether asked for or not: without it nothing could be joined.
    fn wants(&self, name: &str) -> bool {
        self.fields.is_empty() || name == "product_id" || self.fields.contains(&name)
    }

    fn identity(&self, product: &Product) -> Vec<(&'static str, Value)> {
        let Product { id, shop_id, image_url, .. } = product;
        let main = image_url.as_ref().map(|image| self.image(image));
        let repeated = main.clone().into_iter().filter(|_| !id.is_multiple_of(3));
        let others = product.images.iter().map(|image| self.image(image));
        let small: Vec<String> = repeated.chain(others).collect();
        let category = |level: usize| product.categories.get(level);
        let name = |level| category(level).and_then(|id| self.categories.name(*id));
        let page = format!("https://www.aliexpress.com/item/{id}.html?pdp_npi=4%40dis%21simulated");
        vec![
            ("product_id", json!(id)),
            ("product_title", json!(product.title)),
            ("product_detail_url", json!(page)),
            ("promotion_link", json!(self.promotion_link)),
            ("product_main_image_url", json!(main)),
            ("product_small_image_urls", json!({"string": small})),
            ("product_video_url", json!("")),
            ("first_level_category_id", json!(category(0))),
            ("first_level_category_name", json!(name(0))),
            ("second_level_category_id", json!(category(1))),
            ("second_level_category_name", json!(name(1))),
            ("shop_id", json!(shop_id)),
            ("shop_url", json!(format!("https://www.aliexpress.com/store/{shop_id}"))),
            ("sku_id", json!(product.sku_id)),
        ]
    }

    /// The address of an image: one of the built-in catalogue is a path.
    fn image(&self, image: &str) -> String {
        let own = if image.starts_with(PICTURES) { self.pictures } else { "" };
        format!("{own}{image}")
    }

    fn rates(&self, product: &Product) -> Vec<(&'static str, Value)> {
        let Product { volume, delivery_days, .. } = product;
        let is_number = product.id.is_multiple_of(2);
        let volume = if is_number { json!(volume) } else { json!(volume.to_string()) };
        vec![
            ("discount", json!(format!("{}%", product.discount_percent))),
            ("commission_rate", json!(product.commission_permille.map(percent))),
            ("evaluate_rate", json!(percent(product.evaluate_permille))),
            ("lastest_volume", volume),
            ("ship_to_days", json!(format!("ship to {} in {delivery_days} days", self.country))),
        ]
    }

    fn prices(&self, product: &Product) -> Vec<(&'static str, Value)> {
        let price = match &product.price {
            Price::Missing => return Vec::new(),
            Price::Odd { amount, currency } => {
                return vec![
                    ("target_sale_price", json!(amount)),
                    ("target_sale_price_currency", json!(currency)),
                ];
            }
            Price::Known(price) => price,
        };
        let text = |money: Money| json!(money.text());
        let list = price.before_discount(product.discount_percent);
        let (target, yuan) = (self.currency, Currency::YUAN);
        vec![
            ("target_sale_price", text(price.to(target))),
            ("target_sale_price_currency", json!(target.code)),
            ("target_original_price", text(list.to(target))),
            ("target_original_price_currency", json!(target.code)),
            ("sale_price", text(price.to(yuan))),
            ("sale_price_currency", json!(yuan.code)),
            ("original_price", text(list.to(yuan))),
            ("original_price_currency", json!(yuan.code)),
        ]
    }
}

/// The country parcels go to, under either of its two names.
fn destination<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, Refusal> {
    let country = parameters.get(name).unwrap_or("US");
    let is_known = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    is_known.then_some(country).ok_or_else(|| Refusal::invalid(name, "two capital letters"))
}

pub(super) fn percent(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}
