//! A product as it stands in an answer.
//!
//! Owns: field names and their odd shapes: `lastest_volume` is spelled so and is a number or a
//! text, rates are texts with a percent sign, `target_*` prices follow the currency asked for while
//! the plain ones are in yuan, the main image is often repeated among the small ones, and the
//! promotion link is one for the whole answer. Refuses: nothing; what is unknown is left out.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::super::refusal::Refusal;
use super::{Call, links};
use crate::services::products::catalogue::money::{Currency, Money};
use crate::services::products::catalogue::{Categories, Price, Product};

/// What is the same for every product of an answer.
#[derive(Debug)]
pub(crate) struct Presentation<'a> {
    categories: &'a Categories,
    currency: Currency,
    country: &'a str,
    fields: Option<Vec<&'a str>>,
    promotion_link: Option<String>,
}

impl<'a> Presentation<'a> {
    /// Reads currency, country and fields; the link is shared by all `products` of the answer.
    pub(crate) fn of(
        call: &'a Call<'_>,
        country: &str,
        products: &[&Product],
    ) -> Result<Self, Refusal> {
        call.check_language()?;
        let fields = call.parameters.list("fields");
        let shared = products.first().map(|first| format!("shared:{}", first.id));
        Ok(Self {
            categories: call.catalogue.categories(),
            currency: call.parameters.currency()?,
            country: call.country(country)?,
            fields: (!fields.is_empty()).then_some(fields),
            promotion_link: shared
                .filter(|_| call.parameters.get("tracking_id").is_some())
                .map(|shared| links::short_link('s', &shared, call.tracking_id)),
        })
    }

    /// One product, presented so.
    pub(crate) const fn show(&'a self, product: &'a Product) -> ProductView<'a> {
        ProductView { product, with: self }
    }
}

/// A product and how to present it; writes itself as JSON.
#[derive(Debug)]
pub(crate) struct ProductView<'a> {
    product: &'a Product,
    with: &'a Presentation<'a>,
}

/// Writes the fields that are asked for and known.
struct Fields<'a, M> {
    map: M,
    wanted: Option<&'a [&'a str]>,
}

impl<M: SerializeMap> Fields<'_, M> {
    fn put(&mut self, name: &'static str, value: &impl Serialize) -> Result<(), M::Error> {
        // The id is sent whether asked for or not: without it nothing could be joined.
        let wanted = self.wanted.is_none_or(|names| name == "product_id" || names.contains(&name));
        if wanted { self.map.serialize_entry(name, value) } else { Ok(()) }
    }

    fn put_known(
        &mut self,
        name: &'static str,
        value: Option<&impl Serialize>,
    ) -> Result<(), M::Error> {
        value.map_or(Ok(()), |value| self.put(name, value))
    }
}

impl Serialize for ProductView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let map = serializer.serialize_map(None)?;
        let mut fields = Fields { map, wanted: self.with.fields.as_deref() };
        self.put_identity(&mut fields)?;
        self.put_images(&mut fields)?;
        self.put_prices(&mut fields)?;
        self.put_rates(&mut fields)?;
        self.put_categories(&mut fields)?;
        self.put_shop(&mut fields)?;
        fields.map.end()
    }
}

impl ProductView<'_> {
    fn put_identity<M: SerializeMap>(&self, fields: &mut Fields<'_, M>) -> Result<(), M::Error> {
        let id = self.product.id;
        fields.put("product_id", &id)?;
        fields.put("product_title", &self.product.title)?;
        let url = format!("https://www.aliexpress.com/item/{id}.html?pdp_npi=4%40dis%21simulated");
        fields.put("product_detail_url", &url)?;
        fields.put_known("promotion_link", self.with.promotion_link.as_ref())
    }

    fn put_images<M: SerializeMap>(&self, fields: &mut Fields<'_, M>) -> Result<(), M::Error> {
        let Product { id, image_url, images, .. } = self.product;
        let repeated = image_url.iter().filter(|_| !id.is_multiple_of(3));
        let small: Vec<&String> = repeated.chain(images).collect();
        fields.put_known("product_main_image_url", image_url.as_ref())?;
        fields.put(
            "product_small_image_urls",
            &std::collections::BTreeMap::from([("string", small)]),
        )?;
        fields.put("product_video_url", &"")
    }

    fn put_prices<M: SerializeMap>(&self, fields: &mut Fields<'_, M>) -> Result<(), M::Error> {
        match &self.product.price {
            Price::Missing => Ok(()),
            Price::Odd { amount, currency } => {
                fields.put("target_sale_price", amount)?;
                fields.put("target_sale_price_currency", currency)
            }
            Price::Known(price) => {
                let list = price.before_discount(self.product.discount_percent);
                let (target, yuan) = (self.with.currency, Currency::yuan());
                let mut put = |amount, currency, money: Money| {
                    fields.put(amount, &money.text())?;
                    fields.put(currency, &money.currency.code)
                };
                put("target_sale_price", "target_sale_price_currency", price.to(target))?;
                put("target_original_price", "target_original_price_currency", list.to(target))?;
                put("sale_price", "sale_price_currency", price.to(yuan))?;
                put("original_price", "original_price_currency", list.to(yuan))
            }
        }
    }

    fn put_rates<M: SerializeMap>(&self, fields: &mut Fields<'_, M>) -> Result<(), M::Error> {
        let product = self.product;
        fields.put("discount", &format!("{}%", product.discount_percent))?;
        let commission = product.commission_permille.map(percent);
        fields.put_known("commission_rate", commission.as_ref())?;
        fields.put("evaluate_rate", &percent(product.evaluate_permille))?;
        if product.id.is_multiple_of(2) {
            fields.put("lastest_volume", &product.volume)
        } else {
            fields.put("lastest_volume", &product.volume.to_string())
        }
    }

    fn put_categories<M: SerializeMap>(&self, fields: &mut Fields<'_, M>) -> Result<(), M::Error> {
        const LEVELS: [(&str, &str); 2] = [
            ("first_level_category_id", "first_level_category_name"),
            ("second_level_category_id", "second_level_category_name"),
        ];
        for (id, (id_field, name_field)) in self.product.categories.iter().zip(LEVELS) {
            fields.put(id_field, id)?;
            fields.put_known(name_field, self.with.categories.name(*id).as_ref())?;
        }
        Ok(())
    }

    fn put_shop<M: SerializeMap>(&self, fields: &mut Fields<'_, M>) -> Result<(), M::Error> {
        let Product { shop_id, sku_id, delivery_days, .. } = self.product;
        fields.put("shop_id", shop_id)?;
        fields.put("shop_url", &format!("https://www.aliexpress.com/store/{shop_id}"))?;
        fields.put("sku_id", sku_id)?;
        let parcel = format!("ship to {} in {delivery_days} days", self.with.country);
        fields.put("ship_to_days", &parcel)
    }
}

fn percent(permille: u64) -> String {
    format!("{}.{}%", permille / 10, permille % 10)
}
