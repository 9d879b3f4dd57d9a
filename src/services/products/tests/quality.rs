//! The quality score: bounds, monotony, and that it tells offers apart.

use proptest::prelude::*;

use crate::services::products::fixtures;
use crate::services::products::product::Product;

fn with(change: impl FnOnce(&mut Product)) -> f64 {
    let mut product = fixtures::product(1);
    change(&mut product);
    product.score()
}

fn percent(value: u32) -> Option<String> {
    Some(format!("{value}%"))
}

#[test]
fn the_ends_of_the_scale_are_reached() {
    let best = with(|p| {
        p.evaluate_rate = percent(100);
        p.orders_count = Some(50_000);
        p.discount = percent(60);
        p.commission_rate = percent(12);
    });
    assert!((best - 1.0).abs() < 1e-9, "{best}");
    let worst = with(|p| {
        p.evaluate_rate = percent(0);
        (p.orders_count, p.discount, p.commission_rate) = (None, None, None);
        (p.image_url, p.category_id, p.shop_id) = (None, None, None);
        p.gallery_images.clear();
    });
    assert!(worst < 0.04, "{worst}");
}

#[test]
fn a_mapped_product_carries_its_score() {
    let product = fixtures::product(1);
    assert!((product.quality_score - product.score()).abs() < 1e-9);
}

proptest! {
    #[test]
    fn better_is_never_worse(low in 0_u32..=100, more in 0_u32..=100, orders in any::<u64>(), extra in any::<u64>()) {
        let high = (low + more).min(100);
        prop_assert!(with(|p| p.evaluate_rate = percent(low)) <= with(|p| p.evaluate_rate = percent(high)));
        prop_assert!(with(|p| p.discount = percent(low)) <= with(|p| p.discount = percent(high)));
        prop_assert!(with(|p| p.commission_rate = percent(low)) <= with(|p| p.commission_rate = percent(high)));
        let many = orders.saturating_add(extra);
        prop_assert!(with(|p| p.orders_count = Some(orders)) <= with(|p| p.orders_count = Some(many)));
    }

    #[test]
    fn one_more_filled_field_is_never_worse(field in 0_usize..5) {
        let without = with(|p| match field {
            0 => p.image_url = None,
            1 => p.gallery_images.clear(),
            2 => p.category_id = None,
            3 => p.shop_id = None,
            _ => p.orders_count = None,
        });
        prop_assert!(without < with(|_| ()));
    }
}
