//! From the records of an answer to products.
//!
//! Owns: validation (what makes a product unfit to be shown) and sanitising (white space, character
//! references, exact prices, ratings, addresses). Refuses: products that fail, each with a reason that is counted. With
//! validation switched off only what cannot be represented is left out: no id, or no price.

use std::collections::{HashMap, HashSet};

use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

use super::address::web_url;
use super::aliexpress::records::Records;
use super::aliexpress::terms::Currency;
use super::aliexpress::{Target, read};
use super::product::{AffiliateStatus, DropReason, Dropped, Product};
use crate::http::forms::decimal;

/// Shortest title, in characters.
const MIN_TITLE: usize = 5;
/// Most stars of a rating.
const MOST_STARS: Decimal = Decimal::from_parts(5, 0, 0, false, 0);
/// Decimals of a price in a currency that is not known (validation off).
const DEFAULT_DECIMALS: u32 = 2;

/// Makes products of a `result`. `validate` is the `ENABLE_DATA_VALIDATION` decision for this request.
#[must_use]
pub fn products(result: &Value, target: &Target, validate: bool) -> (Vec<Product>, Dropped) {
    let records = Records::PRODUCTS.list(result);
    let shared = shared_links(&records);
    let (mut seen, mut dropped) = (HashSet::new(), Dropped::default());
    let mut kept = Vec::with_capacity(records.len());
    for record in records {
        match product(record, target, validate) {
            Ok(mut product) if seen.insert(product.product_id.clone()) => {
                if link(record).is_some_and(|link| shared.contains(&link)) {
                    product.provide(None);
                }
                kept.push(product);
            }
            Ok(_) => dropped.count(DropReason::IdRepeated),
            Err(reason) => dropped.count(reason),
        }
    }
    (kept, dropped)
}

/// Links that stand at more than one product lead to none of them.
fn shared_links(records: &[&Value]) -> HashSet<String> {
    let mut uses: HashMap<String, usize> = HashMap::new();
    for link in records.iter().filter_map(|record| link(record)) {
        *uses.entry(link).or_default() += 1;
    }
    uses.into_iter().filter(|(_, count)| *count > 1).map(|(link, _)| link).collect()
}

fn link(record: &Value) -> Option<String> {
    read::text(record, "promotion_link")
}

/// Makes one product.
///
/// # Errors
/// Why it is unfit to be shown.
pub fn product(record: &Value, target: &Target, validate: bool) -> Result<Product, DropReason> {
    let text = |name| read::text(record, name);
    let id = |name| read::id(record, name).map(|id| id.to_string());
    let rate = |name| rate(&text(name)?);
    let product_id = id("product_id").ok_or(DropReason::IdMissing)?;
    let product_title = title(text("product_title"), validate)?;
    let product_url = page_url(text("product_detail_url"), validate)?;
    let prices = Money::prices(record, target).ok_or(DropReason::PriceInvalid)?;
    let (price, currency) = prices.sale.price(validate)?;
    let small = read::texts(record, "product_small_image_urls", "string");
    let (image_url, gallery_images) = images(text("product_main_image_url"), small);
    let category = CATEGORIES.into_iter().find_map(|(known, name)| Some((id(known)?, text(name))));
    let (category_id, category_name) = category.unzip();
    let mut product = Product {
        product_id,
        product_title,
        product_url,
        affiliate_url: None,
        affiliate_status: AffiliateStatus::NotRequested,
        price,
        original_price: prices.original.and_then(|original| original.original(&currency)),
        currency,
        discount: rate("discount"),
        image_url,
        gallery_images,
        commission_rate: rate("commission_rate"),
        evaluate_rate: text("evaluate_rate").and_then(|rate| rating(&rate)),
        orders_count: read::count(record, "lastest_volume")
            .or_else(|| read::count(record, "latest_volume")),
        category_id,
        category_name: category_name.flatten().map(|name| read::prose(&name)),
        shop_id: id("shop_id"),
        shop_url: text("shop_url").and_then(|url| web_url(&url)),
        quality_score: 0.0,
    };
    product.provide(link(record).and_then(|link| web_url(&link)));
    product.quality_score = product.score();
    Ok(product)
}

/// Id and name of a category, the most particular one first.
const CATEGORIES: [(&str, &str); 2] = [
    ("second_level_category_id", "second_level_category_name"),
    ("first_level_category_id", "first_level_category_name"),
];

fn title(raw: Option<String>, validate: bool) -> Result<String, DropReason> {
    let title = read::prose(&raw.unwrap_or_default());
    let long_enough = title.chars().count() >= MIN_TITLE;
    if long_enough || !validate { Ok(title) } else { Err(DropReason::TitleTooShort) }
}

fn page_url(raw: Option<String>, validate: bool) -> Result<String, DropReason> {
    let raw = raw.unwrap_or_default();
    match web_url(&raw) {
        Some(url) => Ok(url),
        None if validate => Err(DropReason::UrlInvalid),
        None => Ok(raw),
    }
}

/// An amount as it is written, and the code of its currency.
struct Money {
    amount: String,
    currency: String,
}

struct Prices {
    sale: Money,
    original: Option<Money>,
}

impl Money {
    /// The prices in the currency that was asked for, or else the plain ones.
    fn prices(record: &Value, target: &Target) -> Option<Prices> {
        // A target price without a currency is in the one that was asked for; a plain one is in no
        // particular currency.
        let asked = target.currency.code();
        let targeted = |name| Self::read(record, name, asked);
        let plain = |name| Self::read(record, name, "");
        match targeted("target_sale_price") {
            Some(sale) => Some(Prices { sale, original: targeted("target_original_price") }),
            None => Some(Prices { sale: plain("sale_price")?, original: plain("original_price") }),
        }
    }

    fn read(record: &Value, name: &str, default: &str) -> Option<Self> {
        let currency = read::text(record, &format!("{name}_currency"));
        let currency = currency.map_or_else(|| default.to_owned(), |code| code.to_uppercase());
        Some(Self { amount: read::text(record, name)?, currency })
    }

    fn price(self, validate: bool) -> Result<(String, String), DropReason> {
        let amount = decimal(&self.amount).ok_or(DropReason::PriceInvalid)?;
        let known = Currency::parse(&self.currency);
        let price = exact(amount, known);
        if validate {
            check_price(price, known)?;
        }
        Ok((price.to_string(), self.currency))
    }

    /// Shown only in the same currency as the price, and only when it is an amount.
    fn original(self, currency: &str) -> Option<String> {
        let amount = exact(decimal(&self.amount)?, Currency::parse(currency));
        (self.currency == currency && amount > Decimal::ZERO).then(|| amount.to_string())
    }
}

fn check_price(price: Decimal, currency: Option<Currency>) -> Result<(), DropReason> {
    if price <= Decimal::ZERO {
        return Err(DropReason::PriceNotPositive);
    }
    let currency = currency.ok_or(DropReason::CurrencyUnknown)?;
    if price > currency.ceiling() { Err(DropReason::PriceTooHigh) } else { Ok(()) }
}

/// The amount with exactly the currency's number of decimals.
fn exact(amount: Decimal, currency: Option<Currency>) -> Decimal {
    let decimals = currency.map_or(DEFAULT_DECIMALS, Currency::decimals);
    let mut rounded =
        amount.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(decimals);
    rounded
}

/// A rate between 0 and 100 with a percent sign.
fn rate(text: &str) -> Option<String> {
    let rate = read::percent(text)?;
    (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&rate).then(|| format!("{rate}%"))
}

/// The share of good ratings; without a percent sign at most five are stars.
fn rating(text: &str) -> Option<String> {
    let stars = if text.ends_with('%') { None } else { read::percent(text) };
    match stars.filter(|stars| (Decimal::ZERO..=MOST_STARS).contains(stars)) {
        Some(stars) => Some(format!("{}%", stars * Decimal::from(20))),
        None => rate(text),
    }
}

/// The main image, and the others without it, each once. Without a main one the first serves.
fn images(main: Option<String>, small: Vec<String>) -> (Option<String>, Vec<String>) {
    let mut seen = HashSet::new();
    let mut all = main
        .into_iter()
        .chain(small)
        .filter_map(|url| web_url(&url))
        .filter(|url| seen.insert(url.clone()));
    (all.next(), all.collect())
}
