//! How good an offer a product is, as one number from 0 to 1.
//!
//! Owns: the formula. Pure, and monotonic: a better rating, more orders, a larger discount, a
//! higher commission or one more filled field (a rating worse than none apart) never lower it.
//!
//! score = 0.35 rating + 0.25 orders + 0.20 completeness + 0.10 discount + 0.10 commission
//!
//! - rating: share of good ratings; half of it when there are no ratings.
//! - orders: ln(1 + orders) / ln(1 + 10,000), at most 1. The logarithm, because the tenth order
//!   says more than the thousand-and-tenth.
//! - completeness: filled share of main image, further images, rating, orders, category, shop.
//! - discount: share of the original price, full marks from 50 %.
//! - commission: full marks from 10 %.

use rust_decimal::prelude::ToPrimitive;

use super::product::Product;
use crate::services::products::aliexpress::wire::read;

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

/// The score of a product, 0..=1, in thousandths.
#[must_use]
pub(super) fn score(product: &Product) -> f64 {
    let rating = share(product.evaluate_rate.as_deref()).unwrap_or(UNRATED);
    let discount = share(product.discount.as_deref()).unwrap_or(0.0) / LARGE_DISCOUNT;
    let commission = share(product.commission_rate.as_deref()).unwrap_or(0.0) / HIGH_COMMISSION;
    let sum = RATING * rating
        + ORDERS * popularity(product.orders_count.unwrap_or(0))
        + COMPLETENESS * completeness(product)
        + DISCOUNT * discount.min(1.0)
        + COMMISSION * commission.min(1.0);
    ((sum * STEPS).round() / STEPS).clamp(0.0, 1.0)
}

/// A percent text as a share of 1.
fn share(rate: Option<&str>) -> Option<f64> {
    let percent = read::percent(rate?)?.to_f64()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

fn popularity(orders: u64) -> f64 {
    let orders = f64::from(u32::try_from(orders).unwrap_or(u32::MAX));
    (orders.ln_1p() / MANY_ORDERS.ln_1p()).min(1.0)
}

fn completeness(product: &Product) -> f64 {
    let filled = [
        product.image_url.is_some(),
        !product.gallery_images.is_empty(),
        product.evaluate_rate.is_some(),
        product.orders_count.is_some(),
        product.category_id.is_some(),
        product.shop_id.is_some(),
    ];
    let present = filled.map(|is_filled| if is_filled { 1.0 } else { 0.0 });
    present.iter().sum::<f64>() / f64::from(u32::try_from(present.len()).unwrap_or(1))
}
