//! A product as AliExpress writes it, in searches, details and matches.

use serde_json::Value;

use super::read;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductPage {
    /// The products, in the upstream's order; some may lack everything.
    pub products: Vec<Product>,
    /// Matches in all; may be huge.
    pub total_record_count: Option<u64>,
    pub current_page_no: Option<u64>,
}

/// One product; every field may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub product_id: Option<u64>,
    pub title: Option<String>,
    pub detail_url: Option<String>,
    pub main_image_url: Option<String>,
    /// `product_small_image_urls`; the main image is often first in it again.
    pub small_image_urls: Vec<String>,
    /// `promotion_link`; may be one link for all products of an answer.
    pub promotion_link: Option<String>,
    /// `target_sale_price`, or `sale_price` when that is missing.
    pub sale_price: Option<Money>,
    /// The original price of the same kind as the sale price.
    pub original_price: Option<Money>,
    /// `discount`, for example `55%`.
    pub discount: Option<String>,
    /// `commission_rate`, for example `7.0%`.
    pub commission_rate: Option<String>,
    /// `evaluate_rate`, for example `96.5%`.
    pub evaluate_rate: Option<String>,
    /// Orders: `lastest_volume` (spelled so).
    pub latest_volume: Option<u64>,
    pub first_level: CategoryName,
    pub second_level: CategoryName,
    pub shop_id: Option<u64>,
    pub shop_url: Option<String>,
}

/// A category as a product names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CategoryName {
    pub id: Option<u64>,
    /// Name in the language asked for.
    pub name: Option<String>,
}

/// An amount as it is written, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// Decimal text in major units.
    pub amount: String,
    /// Currency code, if named.
    pub currency: Option<String>,
    /// Whether this is a `target_*` price, in the currency that was asked for.
    pub targeted: bool,
}

/// Reads a page of products from the `result` of a search, details or match.
pub fn product_page(result: &Value) -> ProductPage {
    ProductPage {
        products: read::list(result, "products", "product").into_iter().map(product).collect(),
        total_record_count: read::count(result, "total_record_count"),
        current_page_no: read::id(result, "current_page_no"),
    }
}

fn product(value: &Value) -> Product {
    let text = |name| read::text(value, name);
    let sale_price =
        target_price(value, "target_sale_price").or_else(|| plain_price(value, "sale_price"));
    let original_price = if sale_price.as_ref().is_some_and(|price| price.targeted) {
        target_price(value, "target_original_price")
    } else {
        plain_price(value, "original_price")
    };
    Product {
        product_id: read::id(value, "product_id"),
        title: text("product_title"),
        detail_url: text("product_detail_url"),
        main_image_url: text("product_main_image_url"),
        small_image_urls: read::texts(value, "product_small_image_urls", "string"),
        promotion_link: text("promotion_link"),
        sale_price,
        original_price,
        discount: text("discount"),
        commission_rate: text("commission_rate"),
        evaluate_rate: text("evaluate_rate"),
        latest_volume: read::count(value, "lastest_volume")
            .or_else(|| read::count(value, "latest_volume")),
        first_level: category(value, "first_level_category_id", "first_level_category_name"),
        second_level: category(value, "second_level_category_id", "second_level_category_name"),
        shop_id: read::id(value, "shop_id"),
        shop_url: text("shop_url"),
    }
}

fn category(value: &Value, id: &str, name: &str) -> CategoryName {
    CategoryName { id: read::id(value, id), name: read::text(value, name) }
}

fn target_price(value: &Value, name: &str) -> Option<Money> {
    money(value, name, true)
}

fn plain_price(value: &Value, name: &str) -> Option<Money> {
    money(value, name, false)
}

fn money(value: &Value, name: &str, targeted: bool) -> Option<Money> {
    Some(Money {
        amount: read::text(value, name)?,
        currency: read::text(value, &format!("{name}_currency")),
        targeted,
    })
}
