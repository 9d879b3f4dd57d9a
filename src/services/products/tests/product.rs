//! Products: every reason for leaving one out, and every form that is put right.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::services::products::fixtures::{defaults, product_of, wire_product};
use crate::services::products::product::{AffiliateStatus, DropReason, Product};
use crate::services::products::reading::products;

fn changed(name: &str, value: Value) -> Value {
    let mut product = wire_product(1);
    product[name] = value;
    product
}

fn page(
    values: Vec<Value>,
    validate: bool,
) -> (Vec<Product>, crate::services::products::product::Dropped) {
    products(&json!({"products": values}), &defaults(), validate)
}

#[test]
fn a_good_product_is_mapped_in_full() {
    let product = product_of(&wire_product(3_256_812_497_109_248)).unwrap();
    assert_eq!(product.product_id, "3256812497109248");
    assert_eq!((product.price.as_str(), product.currency.as_str()), ("4.69", "USD"));
    assert_eq!(product.original_price.as_deref(), Some("10.43"));
    assert_eq!(product.gallery_images, ["https://img.test/3256812497109248-2.jpg"]);
    assert_eq!(
        (product.category_id.as_deref(), product.category_name.as_deref()),
        (Some("26"), Some("Toys"))
    );
    assert_eq!(product.affiliate_status, AffiliateStatus::NotRequested);
    assert_eq!((product.orders_count, product.shop_id.as_deref()), (Some(2000), Some("5")));
}

#[test]
fn every_reason_drops() {
    for (name, value, reason) in [
        ("product_id", json!(null), DropReason::IdMissing),
        ("product_id", json!("abc"), DropReason::IdMissing),
        ("product_title", json!(" abcd "), DropReason::TitleTooShort),
        ("product_title", json!(null), DropReason::TitleTooShort),
        ("product_detail_url", json!("javascript:alert(1)"), DropReason::UrlInvalid),
        ("product_detail_url", json!(null), DropReason::UrlInvalid),
        ("target_sale_price", json!("free"), DropReason::PriceInvalid),
        ("target_sale_price", json!(null), DropReason::PriceInvalid),
        ("target_sale_price", json!("NaN"), DropReason::PriceInvalid),
        ("target_sale_price", json!(0), DropReason::PriceNotPositive),
        ("target_sale_price", json!("-4.69"), DropReason::PriceNotPositive),
        ("target_sale_price", json!("0.004"), DropReason::PriceNotPositive),
        ("target_sale_price", json!("1000000.01"), DropReason::PriceTooHigh),
        ("target_sale_price_currency", json!("XYZ"), DropReason::CurrencyUnknown),
    ] {
        assert_eq!(
            product_of(&changed(name, value.clone())).unwrap_err(),
            reason,
            "{name} {value}"
        );
    }
    assert!(product_of(&changed("target_sale_price", json!("1000000"))).is_ok());
}

#[test]
fn values_are_put_right() {
    let title = product_of(&changed("product_title", json!("  USB \n\t cable  2m "))).unwrap();
    assert_eq!(title.product_title, "USB cable 2m");
    let currency = product_of(&changed("target_sale_price_currency", json!(" usd "))).unwrap();
    assert_eq!(currency.currency, "USD");
    let number = product_of(&changed("target_sale_price", json!(4.7))).unwrap();
    assert_eq!(number.price, "4.70");
    let url = product_of(&changed("product_detail_url", json!("//www.aliexpress.com/item/1.html")))
        .unwrap();
    assert_eq!(url.product_url, "https://www.aliexpress.com/item/1.html");
    let broken =
        product_of(&changed("product_main_image_url", json!("https://img.test/a b\n.jpg")));
    assert_eq!(broken.unwrap().image_url.as_deref(), Some("https://img.test/a%20b.jpg"));
    let rate = product_of(&changed("evaluate_rate", json!("many"))).unwrap();
    assert_eq!(rate.evaluate_rate, None);
}

#[test]
fn the_highest_price_follows_the_currency() {
    let priced = |amount: &str, currency: &str| {
        let mut product = changed("target_sale_price", json!(amount));
        product["target_sale_price_currency"] = json!(currency);
        product_of(&product).map(|product| product.price)
    };
    for (amount, currency) in
        [("5500000.00", "IDR"), ("6200000", "VND"), ("1350000", "KRW"), ("1000000000", "CLP")]
    {
        assert_eq!(priced(amount, currency).as_deref(), Ok(amount));
    }
    for (amount, currency) in [("1000000001", "VND"), ("1000001", "JPY"), ("1000000.01", "EUR")] {
        assert_eq!(priced(amount, currency), Err(DropReason::PriceTooHigh), "{currency}");
    }
}

#[test]
fn character_references_are_decoded_once() {
    let mut product =
        changed("product_title", json!("Men&#39;s T-Shirt &amp; &quot;Sport&quot; 2&nbsp;pcs"));
    product["first_level_category_name"] = json!("Toys &amp;amp; Hobbies");
    let product = product_of(&product).unwrap();
    assert_eq!(product.product_title, "Men's T-Shirt & \"Sport\" 2 pcs");
    assert_eq!(product.category_name.as_deref(), Some("Toys &amp; Hobbies"));
    let short = product_of(&changed("product_title", json!("&#39;&#39;")));
    assert_eq!(short.unwrap_err(), DropReason::TitleTooShort);
}

#[test]
fn a_rating_of_at_most_five_is_in_stars() {
    let rated = |rate: Value| product_of(&changed("evaluate_rate", rate)).unwrap();
    for (stars, percent) in [
        (json!("4.8"), "96.0%"),
        (json!(4.8), "96.0%"),
        (json!("5"), "100%"),
        (json!("4.8%"), "4.8%"),
        (json!("96.5"), "96.5%"),
        (json!("5.1"), "5.1%"),
    ] {
        assert_eq!(rated(stars.clone()).evaluate_rate.as_deref(), Some(percent), "{stars}");
    }
    assert_eq!(rated(json!("4.8")).quality_score, rated(json!("96.0%")).quality_score);
    let discount = product_of(&changed("discount", json!("5"))).unwrap();
    assert_eq!(discount.discount.as_deref(), Some("5%"), "no other rate is in stars");
}

#[test]
fn a_currency_without_smaller_unit_has_no_decimals() {
    let mut yen = changed("target_sale_price", json!("1500.00"));
    yen["target_sale_price_currency"] = json!("JPY");
    let product = product_of(&yen).unwrap();
    assert_eq!((product.price.as_str(), product.currency.as_str()), ("1500", "JPY"));
    assert_eq!(product.original_price, None, "it is in another currency");
}

#[test]
fn a_target_price_without_currency_is_in_the_one_asked_for() {
    let product = product_of(&changed("target_sale_price_currency", json!(null))).unwrap();
    assert_eq!(product.currency, "USD");
}

#[test]
fn a_plain_price_keeps_its_own_currency_or_is_dropped() {
    let mut plain = changed("target_sale_price", json!(null));
    plain["sale_price"] = json!("31.30");
    assert_eq!(product_of(&plain.clone()).unwrap_err(), DropReason::CurrencyUnknown);
    plain["sale_price_currency"] = json!("cny");
    let product = product_of(&plain).unwrap();
    assert_eq!((product.price.as_str(), product.currency.as_str()), ("31.30", "CNY"));
}

#[test]
fn a_link_shared_by_a_page_belongs_to_none_of_its_products() {
    let link = |id: u64, url: &str| {
        let mut product = wire_product(id);
        product["promotion_link"] = json!(url);
        product
    };
    let (products, _) = page(
        vec![
            link(1, "https://s.test/all"),
            link(2, "https://s.test/all"),
            link(3, "https://s.test/3"),
        ],
        true,
    );
    let urls: Vec<_> = products.iter().map(|product| product.affiliate_url.as_deref()).collect();
    assert_eq!(urls, [None, None, Some("https://s.test/3")]);
    let states: Vec<_> = products.iter().map(|product| product.affiliate_status).collect();
    let [none, own] = [AffiliateStatus::NotRequested, AffiliateStatus::Provided];
    assert_eq!(states, [none, none, own]);
}

#[test]
fn repeated_ids_are_dropped() {
    let (products, dropped) = page(vec![wire_product(1), wire_product(1)], true);
    assert_eq!((products.len(), dropped.total()), (1, 1));
}

#[test]
fn without_validation_only_the_impossible_is_dropped() {
    let values = vec![
        changed("product_title", json!("x")),
        {
            let mut p = wire_product(2);
            p["target_sale_price_currency"] = json!("XYZ");
            p["product_detail_url"] = json!("");
            p
        },
        changed("product_id", json!(null)),
        {
            let mut p = wire_product(3);
            p["target_sale_price"] = json!("free");
            p
        },
    ];
    let (products, dropped) = page(values, false);
    assert_eq!((products.len(), dropped.total()), (2, 2));
    assert_eq!((products[1].currency.as_str(), products[1].price.as_str()), ("XYZ", "4.69"));
}

#[test]
fn an_image_serves_when_the_main_one_is_missing() {
    let product = product_of(&changed("product_main_image_url", json!(""))).unwrap();
    assert_eq!(product.image_url.as_deref(), Some("https://img.test/1.jpg"));
    assert_eq!(product.gallery_images.len(), 1);
}

proptest! {
    #[test]
    fn prices_stay_exact(cents in 1_i64..=100_000_000) {
        let written = rust_decimal::Decimal::new(cents, 2).to_string();
        let product = product_of(&changed("target_sale_price", json!(written))).unwrap();
        prop_assert_eq!(product.price, written);
    }

    #[test]
    fn any_text_in_any_field_is_mapped_or_dropped(
        name in prop::sample::select(vec!["product_id", "product_title", "product_detail_url",
            "target_sale_price", "target_sale_price_currency", "discount", "evaluate_rate",
            "lastest_volume", "product_main_image_url", "shop_url"]),
        text in ".{0,24}",
        digits in "-?[0-9]{0,40}(\\.[0-9]{0,40})?(e[0-9]{1,3})?",
    ) {
        for value in [json!(text), json!(digits)] {
            if let Ok(product) = product_of(&changed(name, value)) {
                let price: rust_decimal::Decimal = product.price.parse().unwrap();
                prop_assert!(price > rust_decimal::Decimal::ZERO);
                prop_assert!((0.0..=1.0).contains(&product.quality_score));
                prop_assert!(product.product_url.starts_with("http") || product.product_url.to_lowercase().starts_with("http"));
                let stored = serde_json::to_string(&product).unwrap();
                prop_assert_eq!(serde_json::from_str::<Product>(&stored).unwrap(), product);
            }
        }
    }
}
