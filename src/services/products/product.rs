//! A product as clients see it, and how one is made of what the upstream wrote.
//!
//! Owns: validation (what makes a product unfit to be shown) and sanitising (white space, exact
//! prices, addresses). Refuses: products that fail, each with a reason that is counted. With
//! validation switched off only what cannot be represented is left out: no id, or no price.

use std::collections::{HashMap, HashSet};

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::dropped::{DropReason, Dropped};
use super::quality;
use crate::http::forms::{decimal, fold_white_space};
use crate::services::products::aliexpress::methods::Target;
use crate::services::products::aliexpress::terms::Currency;
use crate::services::products::aliexpress::wire::{self, Money, read};

/// Shortest title, in characters.
const MIN_TITLE: usize = 5;
/// Highest believable price, in major units of any currency.
const MAX_PRICE: i64 = 1_000_000;
/// Decimals of a price in a currency that is not known (validation off).
const DEFAULT_DECIMALS: u32 = 2;

/// A product as clients see it. Ids are texts because they exceed 2^53.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// Id, digits.
    #[schema(example = "3256812497109248")]
    pub product_id: String,
    /// Title in the language asked for.
    pub product_title: String,
    /// Address of the product page.
    pub product_url: String,
    /// Address that earns a commission; the plain product address when making one failed.
    pub affiliate_url: Option<String>,
    /// How the affiliate address came about.
    pub affiliate_status: AffiliateStatus,
    /// Exact price with the currency's own number of decimals.
    #[schema(example = "4.69")]
    pub price: String,
    /// ISO 4217 code of both prices.
    #[schema(example = "USD")]
    pub currency: String,
    /// Price before the discount.
    pub original_price: Option<String>,
    /// Discount with a percent sign.
    #[schema(example = "55%")]
    pub discount: Option<String>,
    /// Main image.
    pub image_url: Option<String>,
    /// Further images; the main one is not repeated.
    pub gallery_images: Vec<String>,
    /// Commission with a percent sign.
    #[schema(example = "7.0%")]
    pub commission_rate: Option<String>,
    /// Share of good ratings with a percent sign.
    #[schema(example = "96.5%")]
    pub evaluate_rate: Option<String>,
    /// Recent orders.
    pub orders_count: Option<u64>,
    /// Id of the most particular category.
    pub category_id: Option<String>,
    /// Name of that category.
    pub category_name: Option<String>,
    /// Id of the shop.
    pub shop_id: Option<String>,
    /// Address of the shop.
    pub shop_url: Option<String>,
    /// How good an offer this is, from 0 to 1.
    pub quality_score: f64,
}

/// How a product's affiliate address came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AffiliateStatus {
    /// Made earlier and kept.
    Cached,
    /// Made for this answer.
    Generated,
    /// None could be made; the plain address stands in its place.
    Failed,
    /// Not asked for; an address that stands there all the same is the upstream's own.
    NotRequested,
}

/// Makes products of a page. `validate` is the `ENABLE_DATA_VALIDATION` decision for this request.
#[must_use]
pub fn products(
    page: Vec<wire::Product>,
    target: &Target,
    validate: bool,
) -> (Vec<Product>, Dropped) {
    let shared = shared_links(&page);
    let mut seen = HashSet::new();
    let mut dropped = Dropped::default();
    let mut kept = Vec::with_capacity(page.len());
    for mut raw in page {
        raw.promotion_link = raw.promotion_link.filter(|link| !shared.contains(link));
        match product(raw, target, validate) {
            Ok(product) if seen.insert(product.product_id.clone()) => kept.push(product),
            Ok(_) => dropped.count(DropReason::IdRepeated),
            Err(reason) => dropped.count(reason),
        }
    }
    (kept, dropped)
}

/// Links that stand at more than one product lead to none of them.
fn shared_links(page: &[wire::Product]) -> HashSet<String> {
    let mut uses: HashMap<&str, u32> = HashMap::new();
    for link in page.iter().filter_map(|product| product.promotion_link.as_deref()) {
        let count = uses.entry(link).or_default();
        *count = count.saturating_add(1);
    }
    uses.into_iter().filter(|(_, count)| *count > 1).map(|(link, _)| link.to_owned()).collect()
}

/// Makes one product.
///
/// # Errors
/// Why it is unfit to be shown.
pub fn product(raw: wire::Product, target: &Target, validate: bool) -> Result<Product, DropReason> {
    let product_id = raw.product_id.ok_or(DropReason::IdMissing)?.to_string();
    let product_title = title(raw.title.as_deref(), validate)?;
    let product_url = page_url(raw.detail_url, validate)?;
    let (price, currency) = price(raw.sale_price.as_ref(), target, validate)?;
    let original_price = original_price(raw.original_price.as_ref(), &currency, target);
    let (image_url, gallery_images) = images(raw.main_image_url, raw.small_image_urls);
    let category = [raw.second_level, raw.first_level].into_iter().find(|level| level.id.is_some());
    let (category_id, category_name) =
        category.map_or((None, None), |level| (level.id, level.name));
    let mut product = Product {
        product_id,
        product_title,
        product_url,
        affiliate_url: raw.promotion_link.and_then(|link| web_url(&link)),
        affiliate_status: AffiliateStatus::NotRequested,
        price,
        currency,
        original_price,
        discount: rate(raw.discount.as_deref()),
        image_url,
        gallery_images,
        commission_rate: rate(raw.commission_rate.as_deref()),
        evaluate_rate: rate(raw.evaluate_rate.as_deref()),
        orders_count: raw.latest_volume,
        category_id: category_id.map(|id| id.to_string()),
        category_name: category_name.map(|name| fold_white_space(&name)),
        shop_id: raw.shop_id.map(|id| id.to_string()),
        shop_url: raw.shop_url.and_then(|url| web_url(&url)),
        quality_score: 0.0,
    };
    product.quality_score = quality::score(&product);
    Ok(product)
}

fn title(raw: Option<&str>, validate: bool) -> Result<String, DropReason> {
    let title = fold_white_space(raw.unwrap_or_default());
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

/// An http(s) address with a host, as written; `//host/…` is https, and what an address may not
/// hold (blanks, control characters) is escaped or removed.
#[must_use]
pub fn web_url(text: &str) -> Option<String> {
    let text = text.trim();
    let text = if text.starts_with("//") { format!("https:{text}") } else { text.to_owned() };
    let parsed = url::Url::parse(&text).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https") && parsed.has_host();
    let is_clean = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_web.then(|| if is_clean { text } else { String::from(parsed) })
}

fn price(
    raw: Option<&Money>,
    target: &Target,
    validate: bool,
) -> Result<(String, String), DropReason> {
    let raw = raw.ok_or(DropReason::PriceInvalid)?;
    let amount = decimal(&raw.amount).ok_or(DropReason::PriceInvalid)?;
    let code = currency_code(raw, target);
    let known = Currency::parse(&code);
    let price = exact(amount, known);
    if validate {
        check_price(price)?;
        known.ok_or(DropReason::CurrencyUnknown)?;
    }
    Ok((price.to_string(), code))
}

fn check_price(price: Decimal) -> Result<(), DropReason> {
    if price <= Decimal::ZERO {
        Err(DropReason::PriceNotPositive)
    } else if price > Decimal::from(MAX_PRICE) {
        Err(DropReason::PriceTooHigh)
    } else {
        Ok(())
    }
}

/// A target price without a currency is in the one that was asked for; a plain one is in no
/// particular currency.
fn currency_code(money: &Money, target: &Target) -> String {
    match &money.currency {
        Some(code) => code.trim().to_uppercase(),
        None if money.targeted => target.currency.code().to_owned(),
        None => String::new(),
    }
}

/// The amount with exactly the currency's number of decimals.
fn exact(amount: Decimal, currency: Option<Currency>) -> Decimal {
    let decimals = currency.map_or(DEFAULT_DECIMALS, Currency::decimals);
    let mut rounded =
        amount.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
    rounded.rescale(decimals);
    rounded
}

/// Shown only in the same currency as the price, and only when it is an amount.
fn original_price(raw: Option<&Money>, currency: &str, target: &Target) -> Option<String> {
    let raw = raw.filter(|raw| currency_code(raw, target) == currency)?;
    let amount = exact(decimal(&raw.amount)?, Currency::parse(currency));
    (amount > Decimal::ZERO).then(|| amount.to_string())
}

/// A rate between 0 and 100 with a percent sign.
fn rate(raw: Option<&str>) -> Option<String> {
    let rate = read::percent(raw?)?;
    (Decimal::ZERO..=Decimal::ONE_HUNDRED).contains(&rate).then(|| format!("{rate}%"))
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
