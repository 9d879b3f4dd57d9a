//! Whether a `result` holds what its method is asked for.
//!
//! Owns: which list belongs to which method, and the difference between "there is nothing" and an
//! answer that lost its list. Refuses: to take the latter for the former; a search whose products
//! are missing would otherwise be kept as one that finds none.

use serde_json::Value;

use super::read;
use crate::services::products::aliexpress::methods;

/// What a `result` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// At least one record that can be told from others, and used.
    Records,
    /// It says that there are none.
    Nothing,
    /// Neither; why, for the log.
    Hollow(String),
}

/// Where a method's records lie, and what makes one.
#[derive(Debug, Clone, Copy)]
struct Shape {
    outer: &'static str,
    inner: &'static str,
    is_record: fn(&Value) -> bool,
}

const PRODUCTS: Shape = Shape { outer: "products", inner: "product", is_record: is_product };
const LINKS: Shape = Shape {
    outer: "promotion_links",
    inner: "promotion_link",
    is_record: |item| read::text(item, "source_value").is_some(),
};
const CATEGORIES: Shape = Shape {
    outer: "categories",
    inner: "category",
    is_record: |item| {
        read::id(item, "category_id").is_some() && read::text(item, "category_name").is_some()
    },
};
const ORDERS: Shape = Shape {
    outer: "orders",
    inner: "order",
    is_record: |item| read::id(item, "order_id").is_some(),
};

/// What nobody can buy without; whatever else is missing is missing.
fn is_product(item: &Value) -> bool {
    let has = |name| read::text(item, name).is_some();
    read::id(item, "product_id").is_some()
        && has("product_title")
        && (has("target_sale_price") || has("sale_price"))
}

const SHAPES: [(&str, Shape); 7] = [
    (methods::PRODUCT_QUERY, PRODUCTS),
    (methods::HOT_PRODUCT_QUERY, PRODUCTS),
    (methods::PRODUCT_DETAIL, PRODUCTS),
    (methods::SMART_MATCH, PRODUCTS),
    (methods::LINK_GENERATE, LINKS),
    (methods::CATEGORY_GET, CATEGORIES),
    (methods::ORDER_LIST, ORDERS),
];

/// The counts beside a list, any of which says how many there should be.
const COUNTS: [&str; 3] = ["total_record_count", "total_result_count", "current_record_count"];

/// What the `result` of `method` holds. Of a method that is not known, anything is a record.
pub fn contents(method: &str, result: &Value) -> Contents {
    let Some((_, shape)) = SHAPES.iter().find(|(known, _)| *known == method) else {
        return Contents::Records;
    };
    let items = read::list(result, shape.outer, shape.inner);
    if items.iter().any(|item| (shape.is_record)(item)) {
        return Contents::Records;
    }
    if !items.is_empty() {
        let count = items.len();
        return Contents::Hollow(format!("none of {count} {} can be read", shape.outer));
    }
    match COUNTS.iter().filter_map(|count| read::count(result, count)).max() {
        Some(promised) if promised > 0 && !is_past_the_end(result) => {
            Contents::Hollow(format!("{promised} {} promised, none there", shape.outer))
        }
        Some(_) => Contents::Nothing,
        None if shape.is_there(result) => Contents::Nothing,
        None => Contents::Hollow(format!("a result without {}", shape.outer)),
    }
}

impl Shape {
    /// Whether the list is there, be it empty, in any form that [`read::list`] reads.
    fn is_there(self, result: &Value) -> bool {
        if result.is_array() {
            return true;
        }
        let Some(outer) = result.get(self.outer).or_else(|| result.get(self.inner)) else {
            return false;
        };
        let list = outer.get(self.inner).unwrap_or(outer);
        list.is_array() || list.is_object()
    }
}

/// A page behind the last is empty whatever the counts say.
fn is_past_the_end(result: &Value) -> bool {
    let page = read::id(result, "current_page_no");
    let last = read::id(result, "total_page_no");
    page.zip(last).is_some_and(|(page, last)| page > last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn is_hollow(method: &str, result: &Value) -> bool {
        matches!(contents(method, result), Contents::Hollow(_))
    }

    #[test]
    fn every_method_has_its_list_in_every_form() {
        for (method, shape) in SHAPES {
            let record = json!({"product_id": 7, "product_title": "A kettle", "sale_price": 4.5,
                "category_id": "7", "category_name": "Kettles", "order_id": 7,
                "source_value": "https://shop.test/"});
            for form in [
                json!({shape.outer: {shape.inner: [record]}}),
                json!({shape.outer: {shape.inner: record}}),
                json!({shape.outer: [record]}),
                json!({shape.outer: record}),
                json!({shape.inner: [record]}),
                json!([record]),
                json!({shape.outer: {shape.inner: [record]}, "new_field": {"x": [1]}}),
                // One of which nothing is known does not spoil the others.
                json!({shape.outer: [{"other": 1}, null, 5, record]}),
            ] {
                assert_eq!(contents(method, &form), Contents::Records, "{method} {form}");
            }
            for nothing in [
                json!({shape.outer: {shape.inner: []}}),
                json!({shape.outer: {}}),
                json!({shape.outer: []}),
                json!({shape.outer: [], "total_record_count": 0}),
                json!({"total_result_count": "0"}),
                json!({shape.outer: null, "current_record_count": 0}),
                json!({shape.outer: [], "total_record_count": 41, "total_page_no": 3, "current_page_no": 4}),
            ] {
                assert_eq!(contents(method, &nothing), Contents::Nothing, "{method} {nothing}");
            }
            for hollow in [
                json!({"x": 1}),
                json!({shape.outer: null}),
                json!({shape.outer: {shape.inner: null}}),
                json!({shape.outer: 3}),
                json!({shape.outer: ""}),
                json!({shape.outer: [], "total_record_count": 41}),
                json!({shape.outer: [], "current_record_count": "2", "total_record_count": 0}),
                json!({shape.outer: [], "total_record_count": 41, "total_page_no": 3, "current_page_no": 3}),
                json!({"total_record_count": 41}),
                json!({shape.outer: [{}, {"other": 1}]}),
                json!({shape.outer: ["x", 3]}),
                json!({shape.outer: {"other": 1}}),
            ] {
                assert!(is_hollow(method, &hollow), "{method} {hollow}");
            }
        }
    }

    #[test]
    fn an_id_that_lost_digits_is_none() {
        for id in ["18446744073709551616", "1.2e16", "-0", "0", "-7", "\"x\""] {
            let product = format!(
                "{{\"product_id\":{id},\"product_title\":\"A kettle\",\"sale_price\":\"4.50\"}}"
            );
            let text = format!("{{\"products\":{{\"product\":[{product}]}}}}");
            let result: Value = serde_json::from_str(&text).expect(id);
            assert!(is_hollow(methods::PRODUCT_QUERY, &result), "{id}");
        }
        let product = json!({"product_id": 9_007_199_254_740_993_u64,
            "product_title": "A kettle", "target_sale_price": 4});
        let result = json!({"products": [product]});
        assert_eq!(contents(methods::PRODUCT_QUERY, &result), Contents::Records);
    }

    #[test]
    fn of_a_method_nobody_knows_anything_is_a_record() {
        assert_eq!(contents("test.method", &json!({"x": 1})), Contents::Records);
    }
}
