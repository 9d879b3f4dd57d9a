//! Smart search: what is the same, which one stays, in which order.

use proptest::prelude::*;

use super::*;
use crate::services::products::fixtures;

const TITLE: &str =
    "Wireless Bluetooth Earbuds with Noise Cancelling and Charging Case for Sport and Travel";

fn chosen(products: Vec<Product>) -> (Vec<Product>, Dropped) {
    select(products, 0.0, true)
}

fn offer(id: u64, title: &str, price: &str, quality: f64) -> Product {
    Product {
        product_title: title.into(),
        price: price.into(),
        quality_score: quality,
        ..fixtures::product(id)
    }
}

fn ids(products: &[Product]) -> Vec<&str> {
    products.iter().map(|product| product.product_id.as_str()).collect()
}

#[test]
fn the_better_of_two_similar_products_stays() {
    let reordered =
        "Earbuds Wireless Bluetooth, with noise cancelling and charging case for travel and SPORT";
    let (kept, dropped) =
        chosen(vec![offer(1, TITLE, "10.00", 0.4), offer(2, reordered, "9.50", 0.8)]);
    assert_eq!(ids(&kept), ["2"]);
    assert_eq!(dropped.iter().collect::<Vec<_>>(), [(DropReason::Similar, 1)]);
}

#[test]
fn of_equals_the_cheaper_and_then_the_earlier_stays() {
    let (kept, _) = chosen(vec![offer(1, TITLE, "10.00", 0.5), offer(2, TITLE, "9.50", 0.5)]);
    assert_eq!(ids(&kept), ["2"]);
    let (kept, _) = chosen(vec![offer(1, TITLE, "10.00", 0.5), offer(2, TITLE, "10.00", 0.5)]);
    assert_eq!(ids(&kept), ["1"]);
}

#[test]
fn different_products_stay() {
    let numbered = |size: &str| format!("{TITLE} {size}");
    for other in [
        offer(2, TITLE, "8.90", 0.5),
        offer(2, "Garden hose with brass fittings", "10.00", 0.5),
        Product { currency: "EUR".into(), ..offer(2, TITLE, "10.00", 0.5) },
        offer(2, &numbered("128GB"), "10.00", 0.5),
    ] {
        let first =
            if other.product_title.ends_with("GB") { numbered("256GB") } else { TITLE.into() };
        let (kept, _) = chosen(vec![offer(1, &first, "10.00", 0.5), other.clone()]);
        assert_eq!(kept.len(), 2, "{} {}", other.product_title, other.price);
    }
}

#[test]
fn the_same_main_image_is_the_same_product() {
    let mut other = offer(2, "Garden hose with brass fittings", "99.00", 0.9);
    other.image_url = Some("https://img.test/1.jpg?size=small".into());
    let (kept, _) = chosen(vec![offer(1, TITLE, "10.00", 0.5), other]);
    assert_eq!(ids(&kept), ["2"]);
}

#[test]
fn quality_ranks_unless_an_order_was_asked_for() {
    let page = || {
        vec![
            offer(1, "Garden hose with fittings", "1.00", 0.2),
            offer(2, "Leather wallet for men", "2.00", 0.9),
            offer(3, "Ceramic tea pot, blue", "3.00", 0.5),
        ]
    };
    assert_eq!(ids(&chosen(page()).0), ["2", "3", "1"]);
    assert_eq!(ids(&select(page(), 0.0, false).0), ["1", "2", "3"]);
    let (kept, dropped) = select(page(), 0.5, true);
    assert_eq!(ids(&kept), ["2", "3"]);
    assert_eq!(dropped.iter().collect::<Vec<_>>(), [(DropReason::BelowMinQuality, 1)]);
}

proptest! {
    #[test]
    fn choosing_is_a_fixed_point_and_loses_nothing_uncounted(
        offers in prop::collection::vec(("[a-c ]{5,9}", 100_u32..130, 0_u32..=1000), 0..30),
    ) {
        let page: Vec<_> = offers.iter().enumerate().map(|(index, (title, cents, quality))| {
            let price = rust_decimal::Decimal::new(i64::from(*cents), 2).to_string();
            offer(u64::try_from(index).unwrap() + 1, title, &price, f64::from(*quality) / 1000.0)
        }).collect();
        let (kept, dropped) = select(page.clone(), 0.3, true);
        prop_assert_eq!(kept.len() + usize::try_from(dropped.total()).unwrap(), page.len());
        let (again, none) = select(kept.clone(), 0.3, true);
        prop_assert!(none.is_empty());
        prop_assert_eq!(ids(&again), ids(&kept));
        prop_assert!(kept.is_sorted_by(|a, b| a.quality_score >= b.quality_score));
    }
}
