//! Orders of a span of time.
//!
//! Owns: the form and the call. Times are `yyyy-MM-dd HH:mm:ss` in GMT+8, as the upstream keeps
//! them. Refuses: times that no calendar has, an end before its start, unknown states. An order
//! without an id is left out and counted.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use utoipa::IntoParams;

use super::answer::{Digested, Order, OrdersData, count_of};
use super::check::Check;
use super::dropped::{DropReason, Dropped};
use super::input::RawForm;
use super::invalid::{InvalidField, shown};
use super::query::{codes, page};
use crate::services::products::aliexpress::methods;
use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::terms::OrderStatus;
use crate::services::products::aliexpress::wire;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// A request for orders as a client sends it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RawOrders {
    /// Start of the span, `yyyy-MM-dd HH:mm:ss` in GMT+8.
    #[param(value_type = String, example = "2026-01-01 00:00:00")]
    pub start_time: Option<Value>,
    /// End of the span, `yyyy-MM-dd HH:mm:ss` in GMT+8.
    #[param(value_type = String, example = "2026-01-02 00:00:00")]
    pub end_time: Option<Value>,
    /// State of the orders; `Payment Completed` when absent.
    #[param(value_type = Option<OrderStatus>, inline)]
    pub status: Option<Value>,
    /// Page, from 1.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 10_000, default = 1)]
    pub page_no: Option<Value>,
    /// Orders a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    pub page_size: Option<Value>,
}

impl RawForm for RawOrders {}

/// A valid request for orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdersQuery {
    /// Start of the span, `yyyy-MM-dd HH:mm:ss` in GMT+8.
    pub start_time: String,
    /// End of the span, not before the start.
    pub end_time: String,
    /// State of the orders.
    pub status: OrderStatus,
    /// Page, from 1.
    pub page_no: u32,
    /// Orders a page, 1..=50.
    pub page_size: u32,
}

/// Checks a request for orders.
///
/// # Errors
/// Every field that is not as allowed.
pub fn validate(raw: &RawOrders) -> Result<OrdersQuery, Vec<InvalidField>> {
    let mut check = Check::default();
    let start = moment(&mut check, "start_time", raw.start_time.as_ref());
    let end = moment(&mut check, "end_time", raw.end_time.as_ref());
    if let (Some((start, _)), Some((end, _))) = (&start, &end)
        && end < start
    {
        check.refuse("end_time", "is before start_time", "start_time or later");
    }
    let states = codes(OrderStatus::ALL, OrderStatus::code);
    let status = check.word("status", raw.status.as_ref(), OrderStatus::parse, &states);
    let (page_no, page_size) = page(&mut check, raw.page_no.as_ref(), raw.page_size.as_ref());
    check.finish(OrdersQuery {
        start_time: start.map(|(_, text)| text).unwrap_or_default(),
        end_time: end.map(|(_, text)| text).unwrap_or_default(),
        status: status.unwrap_or(OrderStatus::PaymentCompleted),
        page_no,
        page_size,
    })
}

fn moment(
    check: &mut Check,
    field: &str,
    value: Option<&Value>,
) -> Option<(PrimitiveDateTime, String)> {
    const ALLOWED: &str = "a time as yyyy-MM-dd HH:mm:ss in GMT+8";
    let before = check.mistakes();
    let Some(text) = check.scalar(field, value, ALLOWED) else {
        if check.mistakes() == before {
            check.refuse(field, "is missing", ALLOWED);
        }
        return None;
    };
    let time = PrimitiveDateTime::parse(&text, TIME).ok();
    if time.is_none() {
        check.refuse(field, format!("`{}` is not such a time", shown(&text)), ALLOWED);
    }
    Some((time?, text))
}

/// The call for the query's orders.
#[must_use]
pub fn request(query: &OrdersQuery) -> Request {
    methods::order_list(
        &query.start_time,
        &query.end_time,
        query.status,
        query.page_no,
        query.page_size,
    )
}

/// What the call's `result` says.
#[must_use]
pub fn digest(result: &Value, query: &OrdersQuery) -> Digested<OrdersData> {
    let page = wire::order_page(result);
    let empty = page.orders.is_empty();
    let mut dropped = Dropped::default();
    let mut orders = Vec::with_capacity(page.orders.len());
    for raw in page.orders {
        match raw.order_id {
            Some(id) => orders.push(order(id, raw)),
            None => dropped.count(DropReason::Unreadable),
        }
    }
    let data = OrdersData {
        total_record_count: page.total_record_count.unwrap_or_else(|| count_of(orders.len())),
        current_page: page.current_page_no.unwrap_or_else(|| u64::from(query.page_no)),
        page_size: query.page_size,
        orders,
    };
    Digested { data, dropped, empty, degraded: Vec::new() }
}

fn order(order_id: u64, raw: wire::Order) -> Order {
    Order {
        order_id: order_id.to_string(),
        sub_order_id: raw.sub_order_id.map(|id| id.to_string()),
        order_number: raw.order_number,
        order_status: raw.order_status,
        tracking_id: raw.tracking_id,
        product_id: raw.product_id.map(|id| id.to_string()),
        product_title: raw.product_title,
        product_count: raw.product_count,
        paid_amount: raw.paid_amount,
        commission_rate: raw.commission_rate,
        estimated_paid_commission: raw.estimated_paid_commission,
        estimated_finished_commission: raw.estimated_finished_commission,
        created_time: raw.created_time,
        paid_time: raw.paid_time,
        finished_time: raw.finished_time,
        ship_to_country: raw.ship_to_country,
        settled_currency: raw.settled_currency,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::services::products::input::from_query;

    const SPAN: &str = "start_time=2026-01-01+00:00:00&end_time=2026-01-02+00:00:00";

    fn checked(text: &str) -> Result<OrdersQuery, Vec<InvalidField>> {
        validate(&from_query(text).unwrap())
    }

    #[test]
    fn a_span_is_enough() {
        let query = checked(SPAN).unwrap();
        assert_eq!(query.status, OrderStatus::PaymentCompleted);
        assert_eq!(request(&query).params["start_time"], "2026-01-01 00:00:00");
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
        let digested = digest(&result, &checked(SPAN).unwrap());
        assert_eq!(digested.data.orders.len(), 1);
        assert_eq!((digested.dropped.total(), digested.data.current_page), (1, 1));
    }
}
