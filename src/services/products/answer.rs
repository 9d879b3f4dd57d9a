//! The `data` of every answer, as clients and the cache see it.
//!
//! Owns: the shapes. They are serialised once, stored as bytes and sent as bytes; smart search
//! and links read some of them back. Refuses nothing.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::dropped::Dropped;
use super::product::{AffiliateStatus, Product};

/// What became of an upstream's `result`.
#[derive(Debug, Clone, PartialEq)]
pub struct Digested<T> {
    /// The answer's `data`.
    pub data: T,
    /// What was left out of it, for the metric.
    pub dropped: Dropped,
    /// Whether it says "nothing there": a result, kept for the short negative life.
    pub empty: bool,
    /// What is second best about it, for the envelope's `degraded`.
    pub degraded: Vec<&'static str>,
}

/// In `degraded`: the products of this answer were not validated.
pub const DEGRADED_VALIDATION: &str = "validation";
/// In `degraded`: some products carry their plain address in place of an affiliate link.
pub const DEGRADED_LINKS: &str = "affiliate_links";

/// One page of products.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SearchData {
    /// The products, in the order asked for.
    pub products: Vec<Product>,
    /// Matches in all, as the upstream counts them; may be huge.
    pub total_record_count: u64,
    /// Page, from 1.
    pub current_page: u64,
    /// Products a page that were asked for.
    pub page_size: u32,
    /// Products of this page that were left out, by reason.
    #[serde(default, skip_serializing_if = "Dropped::is_empty")]
    pub dropped: Dropped,
}

/// One page of products, chosen and ranked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SmartSearchData {
    /// The products, best first unless an order was asked for.
    pub products: Vec<Product>,
    /// Matches in all, before any were left out.
    pub total_record_count: u64,
    /// Page, from 1.
    pub current_page: u64,
    /// Products a page that were asked for.
    pub page_size: u32,
    /// What the answer cost and what was left out.
    pub performance_metrics: PerformanceMetrics,
}

/// What a smart search cost and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PerformanceMetrics {
    /// Products whose link was made earlier.
    pub affiliate_links_cached: u64,
    /// Products whose link was made for this answer.
    pub affiliate_links_generated: u64,
    /// Upstream calls that the cache made unnecessary.
    pub api_calls_saved: u64,
    /// Products left out, by reason.
    pub dropped: Dropped,
}

/// Details of several products.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct DetailsData {
    /// The products found, in the order asked for; each as it is kept.
    #[schema(value_type = Vec<Product>)]
    pub products: Vec<Box<RawValue>>,
    /// Distinct ids asked for.
    pub requested_count: u64,
    /// Products found.
    pub returned_count: u64,
    /// Ids for which there is no product, in the order asked for.
    pub missing: Vec<String>,
    /// Ids that could not be asked for; they may exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unavailable: Vec<String>,
}

impl DetailsData {
    /// The same, with the ids that could not be asked for told apart from those that are missing.
    #[must_use]
    pub fn unavailable(mut self, ids: &[u64]) -> Self {
        self.unavailable = ids.iter().map(ToString::to_string).collect();
        self.missing.retain(|id| !self.unavailable.contains(id));
        self
    }
}

/// All categories of all levels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CategoriesData {
    /// The categories, in the upstream's order.
    pub categories: Vec<Category>,
    /// How many.
    pub total_count: u64,
}

/// The categories directly below one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChildrenData {
    /// The category above.
    pub parent_category_id: String,
    /// The categories below it; none for a lowest one.
    pub categories: Vec<Category>,
    /// How many.
    pub total_count: u64,
}

/// One category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Category {
    /// Id, digits.
    pub category_id: String,
    /// Name.
    pub category_name: String,
    /// The category above; none for a top one.
    pub parent_category_id: Option<String>,
}

/// Affiliate links, in the order asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinksData {
    /// One item for every address asked for.
    pub links: Vec<LinkData>,
    /// Addresses asked for.
    pub requested_count: u64,
    /// Links made earlier.
    pub cached_count: u64,
    /// Links made for this answer.
    pub generated_count: u64,
    /// Addresses without a link.
    pub failed_count: u64,
}

/// One affiliate link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkData {
    /// The address asked for, as it was sent.
    pub url: String,
    /// The affiliate link; the plain address when there is none.
    pub affiliate_url: String,
    /// How the link came about.
    pub status: AffiliateStatus,
}

/// Products like a given one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SmartMatchData {
    /// The product they are like.
    pub product_id: String,
    /// The products.
    pub products: Vec<Product>,
    /// How many.
    pub total_count: u64,
}

/// One page of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrdersData {
    /// The orders, in the upstream's order.
    pub orders: Vec<Order>,
    /// Orders in all.
    pub total_record_count: u64,
    /// Page, from 1.
    pub current_page: u64,
    /// Orders a page that were asked for.
    pub page_size: u32,
}

/// One order. Amounts and rates are as the upstream wrote them; times are in GMT+8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Order {
    /// Id, digits.
    pub order_id: String,
    /// Id of the part of the order for one product.
    pub sub_order_id: Option<String>,
    /// Order number.
    pub order_number: Option<String>,
    /// State.
    pub order_status: Option<String>,
    /// Tracking id that earned it.
    pub tracking_id: Option<String>,
    /// Product bought.
    pub product_id: Option<String>,
    /// Its title.
    pub product_title: Option<String>,
    /// How many of it.
    pub product_count: Option<u64>,
    /// Amount paid, in the upstream's unit.
    pub paid_amount: Option<String>,
    /// Commission rate.
    pub commission_rate: Option<String>,
    /// Commission expected at payment.
    pub estimated_paid_commission: Option<String>,
    /// Commission expected at completion.
    pub estimated_finished_commission: Option<String>,
    /// When it was placed.
    pub created_time: Option<String>,
    /// When it was paid.
    pub paid_time: Option<String>,
    /// When it was completed.
    pub finished_time: Option<String>,
    /// Country shipped to.
    pub ship_to_country: Option<String>,
    /// Currency of the settlement.
    pub settled_currency: Option<String>,
}

/// A length as a count.
pub(super) fn count_of(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
