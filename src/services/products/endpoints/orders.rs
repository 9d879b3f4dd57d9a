//! Orders of a span of time.
//!
//! Owns: the form and the page. Orders are money and change: they need a key, are asked for each
//! time and never stored. Times are `yyyy-MM-dd HH:mm:ss` in GMT+8, as the upstream keeps them.
//! Refuses: times that no calendar has, an end before its start, unknown states. An order without an
//! id is left out and counted.

use actix_web::web::to;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use utoipa::ToSchema;

use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField, shown};
use crate::http::service::Route;
use crate::limits::Class;
use crate::services::products::aliexpress::records::Records;
use crate::services::products::aliexpress::terms::OrderStatus;
use crate::services::products::aliexpress::{Method, Request, read};
use crate::services::products::ask::Products;
use crate::services::products::forms::{codes, count_of, page};
use crate::services::products::product::{DropReason, Dropped};
use crate::services::products::question::{Kind, Question, Read, loaded, reads};

pub const METHOD: Method = Method {
    name: "aliexpress.affiliate.order.list",
    records: Records { outer: "orders", inner: "order", ids: &["order_id"], texts: &[] },
    is_search: false,
};

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

pub(super) const ROUTES: &[Route] =
    &[Route::at("/api/orders", Class::General).get(|| to(handle)).says(|doc| {
        let details = "Needs a key, whether or not keys are required elsewhere.";
        doc.says("Orders", "listOrders", "Lists orders of a span of time.", details)
            .needs_key()
            .form::<OrdersForm>()
            .fetches::<OrdersData>("One page of orders.");
    })];

/// A request for orders as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
struct OrdersForm {
    /// Start of the span, `yyyy-MM-dd HH:mm:ss` in GMT+8.
    #[schema(value_type = String, example = "2026-01-01 00:00:00")]
    start_time: Option<Value>,
    /// End of the span, `yyyy-MM-dd HH:mm:ss` in GMT+8.
    #[schema(value_type = String, example = "2026-01-02 00:00:00")]
    end_time: Option<Value>,
    /// State of the orders; `Payment Completed` when absent.
    #[schema(value_type = Option<OrderStatus>)]
    status: Option<Value>,
    /// Page, from 1.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1)]
    page_no: Option<Value>,
    /// Orders a page.
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    page_size: Option<Value>,
}

impl OrdersForm {
    fn validate(&self) -> Result<Orders, Vec<InvalidField>> {
        let mut check = Check::default();
        let start = moment(&mut check, "start_time", self.start_time.as_ref());
        let end = moment(&mut check, "end_time", self.end_time.as_ref());
        if let (Some((start, _)), Some((end, _))) = (&start, &end)
            && end < start
        {
            check.refuse("end_time", "is before start_time", "start_time or later");
        }
        let states = codes(OrderStatus::ALL, OrderStatus::code);
        let status = check.word("status", self.status.as_ref(), OrderStatus::parse, &states);
        let (page_no, page_size) = page(&mut check, self.page_no.as_ref(), self.page_size.as_ref());
        check.finish(Orders {
            start_time: start.map(|(_, text)| text).unwrap_or_default(),
            end_time: end.map(|(_, text)| text).unwrap_or_default(),
            status: status.unwrap_or(OrderStatus::PaymentCompleted),
            page_no,
            page_size,
        })
    }
}

fn moment(
    check: &mut Check,
    field: &str,
    value: Option<&Value>,
) -> Option<(PrimitiveDateTime, String)> {
    const ALLOWED: &str = "a time as yyyy-MM-dd HH:mm:ss in GMT+8";
    let text = check.required(field, ALLOWED, |check| check.scalar(field, value, ALLOWED))?;
    let time = PrimitiveDateTime::parse(&text, TIME).ok();
    if time.is_none() {
        check.refuse(field, format!("`{}` is not such a time", shown(&text)), ALLOWED);
    }
    Some((time?, text))
}

/// One page of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct OrdersData {
    /// The orders, in the upstream's order.
    orders: Vec<Order>,
    /// Orders in all.
    total_record_count: u64,
    /// Page, from 1.
    current_page: u64,
    /// Orders a page.
    page_size: u32,
}

/// One order. Amounts and rates are as the upstream wrote them: amounts in the currency's smallest unit (cents),
/// `1589` for 15.89. Times are in GMT+8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct Order {
    /// Id, digits.
    #[schema(value_type = String)]
    order_id: Option<String>,
    /// Id of the part of the order for one product.
    sub_order_id: Option<String>,
    order_number: Option<String>,
    order_status: Option<String>,
    /// Tracking id that earned it.
    tracking_id: Option<String>,
    /// Product bought.
    product_id: Option<String>,
    product_title: Option<String>,
    product_count: Option<u64>,
    /// Amount paid, in the currency's smallest unit (cents).
    paid_amount: Option<String>,
    /// Share of the amount, with a percent sign: `7.0%`.
    commission_rate: Option<String>,
    /// Commission expected at payment, in the same unit.
    estimated_paid_commission: Option<String>,
    /// Commission expected at completion, in the same unit.
    estimated_finished_commission: Option<String>,
    created_time: Option<String>,
    paid_time: Option<String>,
    finished_time: Option<String>,
    ship_to_country: Option<String>,
    /// Currency of the settlement.
    settled_currency: Option<String>,
}

/// One page of the orders of a span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Orders {
    /// `yyyy-MM-dd HH:mm:ss` in GMT+8.
    start_time: String,
    /// Not before the start.
    end_time: String,
    status: OrderStatus,
    page_no: u32,
    page_size: u32,
}

impl Orders {
    fn page(&self, result: &Value) -> (OrdersData, Dropped) {
        let mut dropped = Dropped::default();
        let records = METHOD.records.list(result).into_iter();
        let orders: Vec<_> = records
            .filter_map(|record| {
                let order = order(record);
                if order.is_none() {
                    dropped.count(DropReason::Unreadable);
                }
                order
            })
            .collect();
        let total = read::count(result, "total_record_count");
        let page = read::id(result, "current_page_no");
        let data = OrdersData {
            total_record_count: total.unwrap_or_else(|| count_of(orders.len())),
            current_page: page.unwrap_or_else(|| u64::from(self.page_no)),
            page_size: self.page_size,
            orders,
        };
        (data, dropped)
    }
}

impl Question for Orders {
    const KIND: Kind = Kind {
        operation: "orders",
        label: "orders",
        is_answer: reads::<OrdersData>,
        fresh: |ttls| ttls.cache.default_ttl,
        is_validated: true,
        is_tracked: false,
        at_once: 1,
    };

    fn request(&self, _: &[Self]) -> Request {
        Request::of(&METHOD)
            .set("start_time", &self.start_time)
            .set("end_time", &self.end_time)
            .set("status", self.status.code())
            .set("page_no", self.page_no)
            .set("page_size", self.page_size)
    }

    fn read(&self, _: &[Self], result: &Value, _: bool) -> Read {
        let (page, dropped) = self.page(result);
        (vec![loaded(self, &page, page.orders.is_empty(), [])], dropped)
    }
}

/// `None` for an order without an id.
fn order(record: &Value) -> Option<Order> {
    let text = |name| read::text(record, name);
    let id = |name| read::id(record, name).map(|id| id.to_string());
    Some(Order {
        order_id: Some(id("order_id")?),
        sub_order_id: id("sub_order_id"),
        order_number: text("order_number"),
        order_status: text("order_status"),
        tracking_id: text("tracking_id"),
        product_id: id("product_id"),
        product_title: text("product_title").map(|title| read::prose(&title)),
        product_count: read::count(record, "product_count"),
        paid_amount: text("paid_amount"),
        commission_rate: text("commission_rate"),
        estimated_paid_commission: text("estimated_paid_commission"),
        estimated_finished_commission: text("estimated_finished_commission"),
        created_time: text("created_time"),
        paid_time: text("paid_time"),
        finished_time: text("finished_time"),
        ship_to_country: text("ship_to_country"),
        settled_currency: text("settled_currency"),
    })
}

async fn handle(call: Call) -> Answer {
    call.needs_key()?;
    let products: &Products = call.service()?;
    let orders = call.form::<OrdersForm>().await?.read(|form| form.validate())?;
    Ok(call.answer(products.ask_live(&call, &orders).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::forms::from_query;

    const SPAN: &str = "start_time=2026-01-01+00:00:00&end_time=2026-01-02+00:00:00";

    fn checked(text: &str) -> Result<Orders, Vec<InvalidField>> {
        from_query::<OrdersForm>(text).read(|form| form.validate())
    }

    #[test]
    fn a_span_is_enough() {
        let query = checked(SPAN).unwrap();
        assert_eq!(query.status, OrderStatus::PaymentCompleted);
        assert_eq!(query.request(&[]).params["start_time"], "2026-01-01 00:00:00");
        let completed = checked(&format!("{SPAN}&status=completed&page_no=2")).unwrap();
        assert_eq!((completed.status, completed.page_no), (OrderStatus::Completed, 2));
    }

    #[test]
    fn every_mistake_is_named() {
        let mistakes = checked("start_time=2026-02-30+00:00:00&status=x&page_size=0").unwrap_err();
        let fields: Vec<_> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
        assert_eq!(fields, ["start_time", "end_time", "status", "page_size"]);
    }

    #[test]
    fn a_span_does_not_run_backwards() {
        let text = "start_time=2026-01-02+00:00:00&end_time=2026-01-01+23:59:59";
        assert_eq!(checked(text).unwrap_err()[0].field, "end_time");
    }

    #[test]
    fn orders_without_an_id_are_counted() {
        let result =
            json!({"orders": {"order": [{"order_id": "81"}, {"order_status": "Invalid"}]}});
        let (data, dropped) = checked(SPAN).unwrap().page(&result);
        assert_eq!((data.orders.len(), dropped.total(), data.current_page), (1, 1, 1));
    }

    #[test]
    fn orders_keep_ids_and_amounts_exact() {
        let result = json!({"total_record_count": 1, "orders": {"order":
            {"order_id": 8_195_000_000_000_123_u64, "paid_amount": 12.5, "product_count": "2"}}});
        let order = &checked(SPAN).unwrap().page(&result).0.orders[0];
        assert_eq!(order.order_id.as_deref(), Some("8195000000000123"));
        assert_eq!((order.paid_amount.as_deref(), order.product_count), (Some("12.5"), Some(2)));
    }
}
