//! Links, categories and orders as AliExpress writes them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::read;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The address asked for; what answers are joined on.
    pub source_value: String,
    /// The affiliate link; some items come back without.
    pub promotion_link: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    pub id: Option<u64>,
    pub name: Option<String>,
    /// Id of the category above; `None` for a top one, also when it was written as 0.
    pub parent: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    pub orders: Vec<Order>,
    pub total_record_count: Option<u64>,
    pub current_page_no: Option<u64>,
}

/// One order. Amounts and rates are as the upstream wrote them; times are in GMT+8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Id, digits.
    #[schema(value_type = String)]
    pub order_id: Option<String>,
    /// Id of the part of the order for one product.
    pub sub_order_id: Option<String>,
    pub order_number: Option<String>,
    pub order_status: Option<String>,
    /// Tracking id that earned it.
    pub tracking_id: Option<String>,
    /// Product bought.
    pub product_id: Option<String>,
    pub product_title: Option<String>,
    pub product_count: Option<u64>,
    /// Amount paid, in the upstream's unit.
    pub paid_amount: Option<String>,
    pub commission_rate: Option<String>,
    /// Commission expected at payment.
    pub estimated_paid_commission: Option<String>,
    /// Commission expected at completion.
    pub estimated_finished_commission: Option<String>,
    pub created_time: Option<String>,
    pub paid_time: Option<String>,
    pub finished_time: Option<String>,
    pub ship_to_country: Option<String>,
    /// Currency of the settlement.
    pub settled_currency: Option<String>,
}

/// Reads the `result` of a request for links, in an order of its own. Items without a source can be
/// joined on nothing and are left out.
pub fn link_list(result: &Value) -> Vec<Link> {
    let items = read::list(result, "promotion_links", "promotion_link").into_iter();
    let link = |item| {
        Some(Link {
            source_value: read::text(item, "source_value")?,
            promotion_link: read::text(item, "promotion_link"),
        })
    };
    items.filter_map(link).collect()
}

/// Reads all categories of all levels, in the upstream's order.
pub fn category_list(result: &Value) -> Vec<Category> {
    let category = |item| Category {
        id: read::id(item, "category_id"),
        name: read::text(item, "category_name"),
        parent: read::id(item, "parent_category_id"),
    };
    read::list(result, "categories", "category").into_iter().map(category).collect()
}

pub fn order_page(result: &Value) -> OrderPage {
    OrderPage {
        orders: read::list(result, "orders", "order").into_iter().map(order).collect(),
        total_record_count: read::count(result, "total_record_count"),
        current_page_no: read::id(result, "current_page_no"),
    }
}

fn order(value: &Value) -> Order {
    let text = |name| read::text(value, name);
    let id = |name| read::id(value, name).map(|id| id.to_string());
    Order {
        order_id: id("order_id"),
        sub_order_id: id("sub_order_id"),
        order_number: text("order_number"),
        order_status: text("order_status"),
        tracking_id: text("tracking_id"),
        product_id: id("product_id"),
        product_title: text("product_title"),
        product_count: read::count(value, "product_count"),
        paid_amount: text("paid_amount"),
        commission_rate: text("commission_rate"),
        estimated_paid_commission: text("estimated_paid_commission"),
        estimated_finished_commission: text("estimated_finished_commission"),
        created_time: text("created_time"),
        paid_time: text("paid_time"),
        finished_time: text("finished_time"),
        ship_to_country: text("ship_to_country"),
        settled_currency: text("settled_currency"),
    }
}
