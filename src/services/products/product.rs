//! A product as clients see it, how good an offer it is, as one number from 0 to 1, and why products are
//! left out.
//!
//! Owns: the fields, and the formula of the score. Pure, and monotonic: a better rating, more orders, a
//! larger discount, a higher commission or one more filled field (a rating worse than none apart) never
//! lower it. Has no neighbour.
//!
//! score = 0.35 rating + 0.25 orders + 0.20 completeness + 0.10 discount + 0.10 commission
//!
//! - rating: share of good ratings; half of it when there are no ratings.
//! - orders: ln(1 + orders) / ln(1 + 10,000), at most 1. The logarithm, because the tenth order
//!   says more than the thousand-and-tenth.
//! - completeness: filled share of main image, further images, rating, orders, category, shop.
//! - discount: share of the original price, full marks from 50 %.
//! - commission: full marks from 10 %.

use std::collections::BTreeMap;

use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::aliexpress::read;

const RATING: f64 = 0.35;
const ORDERS: f64 = 0.25;
const COMPLETENESS: f64 = 0.20;
const DISCOUNT: f64 = 0.10;
const COMMISSION: f64 = 0.10;

/// What an unrated product counts as.
const UNRATED: f64 = 0.5;
/// Orders that get full marks.
const MANY_ORDERS: f64 = 10_000.0;
/// Discount that gets full marks.
const LARGE_DISCOUNT: f64 = 0.5;
/// Commission that gets full marks.
const HIGH_COMMISSION: f64 = 0.1;
/// Scores are rounded to this many steps, so that they read well and compare exactly.
const STEPS: f64 = 1000.0;

/// A product as clients see it. Ids are texts because they exceed 2^53.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// Id, digits.
    #[schema(example = "3256800527853119")]
    pub product_id: String,
    /// Title in the language asked for.
    pub product_title: String,
    /// Address of the product page.
    pub product_url: String,
    /// Address that earns a commission, if there is one.
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
    /// Came with the product from the upstream.
    Provided,
    /// None could be made.
    Failed,
    /// Not asked for, and none came with the product.
    NotRequested,
}

impl Product {
    /// Takes the upstream's own affiliate address, or that there is none.
    pub(super) fn provide(&mut self, link: Option<String>) {
        self.affiliate_status = match link {
            Some(_) => AffiliateStatus::Provided,
            None => AffiliateStatus::NotRequested,
        };
        self.affiliate_url = link;
    }

    /// The score, in thousandths.
    #[must_use]
    pub fn score(&self) -> f64 {
        let rating = share(self.evaluate_rate.as_deref()).unwrap_or(UNRATED);
        let discount = share(self.discount.as_deref()).unwrap_or(0.0) / LARGE_DISCOUNT;
        let commission = share(self.commission_rate.as_deref()).unwrap_or(0.0) / HIGH_COMMISSION;
        let sum = RATING * rating
            + ORDERS * popularity(self.orders_count.unwrap_or(0))
            + COMPLETENESS * self.completeness()
            + DISCOUNT * discount.min(1.0)
            + COMMISSION * commission.min(1.0);
        ((sum * STEPS).round() / STEPS).clamp(0.0, 1.0)
    }

    fn completeness(&self) -> f64 {
        let filled = [
            self.image_url.is_some(),
            !self.gallery_images.is_empty(),
            self.evaluate_rate.is_some(),
            self.orders_count.is_some(),
            self.category_id.is_some(),
            self.shop_id.is_some(),
        ];
        let present = filled.map(|is_filled| if is_filled { 1.0 } else { 0.0 });
        present.iter().sum::<f64>() / f64::from(u32::try_from(present.len()).unwrap_or(1))
    }
}

fn share(rate: Option<&str>) -> Option<f64> {
    let percent = read::percent(rate?)?.to_f64()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

fn popularity(orders: u64) -> f64 {
    let orders = f64::from(u32::try_from(orders).unwrap_or(u32::MAX));
    (orders.ln_1p() / MANY_ORDERS.ln_1p()).min(1.0)
}

/// Why a product was left out.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// No id, or one that is no whole number above 0.
    IdMissing,
    /// The same id stood earlier on the page.
    IdRepeated,
    /// Title shorter than five characters.
    TitleTooShort,
    /// Address missing or not http(s).
    UrlInvalid,
    /// Price missing or no number.
    PriceInvalid,
    /// Price zero or below.
    PriceNotPositive,
    /// Price above what the currency lets one believe.
    PriceTooHigh,
    /// Currency missing or not known.
    CurrencyUnknown,
    /// Quality score below what was asked for (smart search).
    BelowMinQuality,
    /// Nearly the same as a better product of the page (smart search).
    Similar,
    /// A category or an order without an id or a name.
    Unreadable,
}

impl DropReason {
    pub const ALL: [Self; 11] = [
        Self::IdMissing,
        Self::IdRepeated,
        Self::TitleTooShort,
        Self::UrlInvalid,
        Self::PriceInvalid,
        Self::PriceNotPositive,
        Self::PriceTooHigh,
        Self::CurrencyUnknown,
        Self::BelowMinQuality,
        Self::Similar,
        Self::Unreadable,
    ];

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::IdMissing => "id_missing",
            Self::IdRepeated => "id_repeated",
            Self::TitleTooShort => "title_too_short",
            Self::UrlInvalid => "url_invalid",
            Self::PriceInvalid => "price_invalid",
            Self::PriceNotPositive => "price_not_positive",
            Self::PriceTooHigh => "price_too_high",
            Self::CurrencyUnknown => "currency_unknown",
            Self::BelowMinQuality => "below_min_quality",
            Self::Similar => "similar",
            Self::Unreadable => "unreadable",
        }
    }
}

/// How many were left out, by reason; reasons that did not occur are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Dropped(BTreeMap<DropReason, u64>);

impl Dropped {
    pub fn count(&mut self, reason: DropReason) {
        let count = self.0.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds what another stage left out.
    pub fn add(&mut self, other: &Self) {
        for (reason, more) in other.iter() {
            let count = self.0.entry(reason).or_default();
            *count = count.saturating_add(more);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each reason that occurred, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_are_named() {
        let mut dropped = Dropped::default();
        dropped.count(DropReason::PriceTooHigh);
        let mut sum = dropped.clone();
        sum.add(&dropped);
        sum.count(DropReason::IdMissing);
        assert_eq!(sum.total(), 3);
        assert_eq!(serde_json::to_string(&sum).unwrap(), r#"{"id_missing":1,"price_too_high":2}"#);
    }

    #[test]
    fn labels_are_what_is_serialised() {
        for reason in DropReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.label());
        }
    }
}
