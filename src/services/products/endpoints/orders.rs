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

use super::search::page;
use crate::failure::Failure;
use crate::http::error::{ApiError, ErrorCode};
use crate::http::extract::{Answer, Call};
use crate::http::forms::{Check, InvalidField, RawForm, shown};
use crate::http::openapi::failures::{BAD_INPUT, UPSTREAM};
use crate::http::service::{Operation, Route};
use crate::limits::Class;
use crate::services::products::aliexpress::methods::{self, Request, Target};
use crate::services::products::aliexpress::terms::OrderStatus;
use crate::services::products::aliexpress::wire;
use crate::services::products::ask::{Kind, Question, Read, Reading};
use crate::services::products::dropped::{DropReason, Dropped};
use crate::services::products::target::codes;
use crate::services::products::{Products, count_of};

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

pub(super) const ROUTES: &[Route] = &[Route::new(
    "/api/orders",
    Class::General,
    &[Operation::get(
        || to(handle),
        |doc| {
            let details = "Needs a key, whether or not keys are required elsewhere.";
            doc.says("Orders", "listOrders", "Lists orders of a span of time.", details)
                .needs_key()
                .form::<OrdersForm>()
                .fetches::<OrdersData>("One page of orders.")
                .fails(BAD_INPUT)
                .fails(UPSTREAM);
        },
    )],
)];

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

impl RawForm for OrdersForm {}

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

/// One page of orders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct OrdersData {
    /// The orders, in the upstream's order.
    orders: Vec<wire::Order>,
    /// Orders in all.
    total_record_count: u64,
    /// Page, from 1.
    current_page: u64,
    /// Orders a page.
    page_size: u32,
}

/// One page of the orders of a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    fn digest(&self, result: &Value) -> Reading<OrdersData> {
        let page = wire::order_page(result);
        let is_empty = page.orders.is_empty();
        let mut dropped = Dropped::default();
        let mut orders = page.orders;
        orders.retain(|order| {
            if order.order_id.is_none() {
                dropped.count(DropReason::Unreadable);
            }
            order.order_id.is_some()
        });
        let data = OrdersData {
            total_record_count: page.total_record_count.unwrap_or_else(|| count_of(orders.len())),
            current_page: page.current_page_no.unwrap_or_else(|| u64::from(self.page_no)),
            page_size: self.page_size,
            orders,
        };
        Reading { data, dropped, is_empty }
    }
}

impl Question for Orders {
    const KIND: Kind = Kind {
        operation: "orders",
        label: "orders",
        fresh: |setup| setup.cache.default_ttl,
        is_validated: true,
        at_once: 1,
    };

    fn request(&self, _: &[Self]) -> Request {
        let Self { start_time, end_time, status, page_no, page_size } = self;
        methods::order_list(start_time, end_time, *status, *page_no, *page_size)
    }

    fn read(&self, _: &[Self], result: &Value, _: bool) -> Result<Read, Failure> {
        self.digest(result).loaded(|_| Vec::new())
    }

    fn form(&self) -> Option<Value> {
        None
    }

    fn from_form(_: Value, _: &Target) -> Option<Self> {
        None
    }
}

async fn handle(call: Call) -> Answer {
    if !call.has_key() {
        return Err(ApiError::new(ErrorCode::KeyRequired));
    }
    let products: &Products = call.service()?;
    let form: OrdersForm = call.form().await?;
    Ok(call.answer(products.ask_live(&call, form.validate()?).await?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::forms::from_query;

    const SPAN: &str = "start_time=2026-01-01+00:00:00&end_time=2026-01-02+00:00:00";

    fn checked(text: &str) -> Result<Orders, Vec<InvalidField>> {
        let form: OrdersForm = from_query(text).unwrap();
        form.validate()
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
        let digested = checked(SPAN).unwrap().digest(&result);
        assert_eq!(digested.data.orders.len(), 1);
        assert_eq!((digested.dropped.total(), digested.data.current_page), (1, 1));
    }
}
