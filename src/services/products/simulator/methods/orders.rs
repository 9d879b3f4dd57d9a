//! `order.list`, `order.listbyindex` and `order.get`: orders that somebody's links led to.
//!
//! Owns: a stream of made-up orders, one every 37 minutes since 2025-01-01, each the same whenever
//! it is asked for; none lies in the future. An order's number in the stream is its cursor.
//! Refuses: windows that are not two times in order, unknown states.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Serialize;

use super::super::answer::Answer;
use super::super::refusal::Refusal;
use super::super::verify::{read_gateway_time, write_gateway_time};
use super::Call;
use super::products::Paging;
use crate::clock::Timestamp;
use crate::services::products::catalogue::money::Currency;
use crate::services::products::catalogue::{Price, Product};

/// 2025-01-01T00:00:00+08:00, when the first order came, in milliseconds.
const FIRST_MS: i64 = 1_735_660_800_000;
/// Time between two orders.
const EVERY_MS: i64 = 37 * 60 * 1000;
/// Number of the first order as a caller sees it.
const FIRST_ID: u64 = 8_100_000_000_000_000;
const STATES: [&str; 3] = ["Payment Completed", "Completed", "Invalid"];
/// How many ids one call may name.
const MOST_IDS: usize = 50;

/// An order; amounts are whole cents of `settled_currency`.
#[derive(Serialize)]
struct OrderView<'a> {
    order_id: u64,
    sub_order_id: u64,
    order_number: u64,
    order_status: &'static str,
    tracking_id: &'a str,
    product_id: u64,
    product_title: &'a str,
    product_detail_url: String,
    product_count: u64,
    paid_amount: u64,
    commission_rate: String,
    estimated_paid_commission: u64,
    estimated_finished_commission: u64,
    created_time: String,
    paid_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_time: Option<String>,
    ship_to_country: &'static str,
    settled_currency: &'static str,
}

#[derive(Serialize)]
struct OrderPage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    total_record_count: Option<usize>,
    current_record_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_page_no: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_page_no: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_query_index_id: Option<String>,
    orders: BTreeMap<&'static str, Vec<OrderView<'a>>>,
}

impl<'a> OrderPage<'a> {
    fn of(call: &'a Call<'_>, numbers: impl Iterator<Item = u64>) -> Self {
        let orders: Vec<_> = numbers.filter_map(|number| order(call, number)).collect();
        Self {
            total_record_count: None,
            current_record_count: orders.len(),
            total_page_no: None,
            current_page_no: None,
            next_query_index_id: None,
            orders: BTreeMap::from([("order", orders)]),
        }
    }

    fn answer(&self) -> Answer {
        if self.current_record_count == 0 { Answer::empty() } else { Answer::of(self) }
    }
}

/// `order.list`.
pub(crate) fn by_page(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = Paging::read(call.parameters)?;
    let found = matching(call)?;
    let numbers = found.iter().skip(paging.skip()).take(paging.page_size).copied();
    let page = OrderPage {
        total_record_count: Some(found.len()),
        total_page_no: Some(found.len().div_ceil(paging.page_size)),
        current_page_no: Some(paging.page_no),
        ..OrderPage::of(call, numbers)
    };
    Ok(page.answer())
}

/// `order.listbyindex`: starts behind `start_query_index_id` and says where to go on.
pub(crate) fn by_cursor(call: &Call<'_>) -> Result<Answer, Refusal> {
    const TIMES: [&str; 2] = ["Payment Completed Time", "Buyer Confirmed Receipt Time"];
    call.parameters.one_of("time_type", &TIMES)?;
    let paging = Paging::read(call.parameters)?;
    let cursor = call.parameters.get("start_query_index_id").unwrap_or("0");
    let behind: u64 = cursor
        .parse()
        .map_err(|_| Refusal::invalid("start_query_index_id", "an earlier next_query_index_id"))?;
    let found = matching(call)?;
    // A cursor is one more than an order's number, so that 0 is before every order.
    let left = found.into_iter().filter(|number| *number >= behind);
    let numbers: Vec<u64> = left.take(paging.page_size).collect();
    let next_query_index_id = numbers.last().map(|last| (last + 1).to_string());
    let page = OrderPage { next_query_index_id, ..OrderPage::of(call, numbers.into_iter()) };
    Ok(page.answer())
}

/// `order.get`: unknown ids are left out.
pub(crate) fn by_id(call: &Call<'_>) -> Result<Answer, Refusal> {
    call.parameters.required("order_ids")?;
    let ids = call.parameters.identifiers("order_ids")?;
    if ids.len() > MOST_IDS {
        return Err(Refusal::invalid("order_ids", "at most 50 ids"));
    }
    let placed = up_to(call.now);
    let numbers = ids.into_iter().filter_map(|id| id.checked_sub(FIRST_ID));
    Ok(OrderPage::of(call, numbers.filter(|number| *number < placed)).answer())
}

/// Numbers of the orders in the asked window and state, oldest first.
fn matching(call: &Call<'_>) -> Result<Vec<u64>, Refusal> {
    let start = required_time(call, "start_time")?;
    let end = required_time(call, "end_time")?;
    if end < start {
        return Err(Refusal::invalid("end_time", "a time after start_time"));
    }
    call.parameters.required("status")?;
    let status = call.parameters.one_of("status", &STATES)?.unwrap_or_default();
    let window: Range<u64> = first_from(start)..up_to(end).min(up_to(call.now));
    Ok(window.filter(|number| state(*number) == status).collect())
}

fn required_time(call: &Call<'_>, name: &str) -> Result<Timestamp, Refusal> {
    let text = call.parameters.required(name)?;
    read_gateway_time(text).ok_or_else(|| Refusal::invalid(name, "yyyy-MM-dd HH:mm:ss"))
}

/// Number of the first order at or after `at`.
fn first_from(at: Timestamp) -> u64 {
    let since = at.as_millis().saturating_sub(FIRST_MS).max(0);
    u64::try_from((since + EVERY_MS - 1) / EVERY_MS).unwrap_or(0)
}

/// How many orders there were up to and with `at`.
fn up_to(at: Timestamp) -> u64 {
    let since = at.as_millis().saturating_sub(FIRST_MS);
    u64::try_from(since.div_euclid(EVERY_MS) + 1).unwrap_or(0)
}

fn state(number: u64) -> &'static str {
    let place = fastrand::Rng::with_seed(number).usize(..10);
    match place {
        0..=4 => "Payment Completed",
        5..=8 => "Completed",
        _ => "Invalid",
    }
}

/// The order with this number; none if the catalogue has nothing to buy.
fn order<'a>(call: &'a Call<'_>, number: u64) -> Option<OrderView<'a>> {
    let mut chance = fastrand::Rng::with_seed(!number);
    let products = call.catalogue.products();
    let product = products.get(chance.usize(..products.len().max(1)))?;
    let product_count = chance.u64(1..=3);
    let paid_amount = cents(product) * product_count;
    let permille = product.commission_permille.unwrap_or(0);
    let estimated_paid_commission = paid_amount * permille / 1000;
    let id = FIRST_ID + number;
    let since_first = EVERY_MS.saturating_mul(i64::try_from(number).unwrap_or(i64::MAX));
    let created = FIRST_MS.saturating_add(since_first);
    let status = state(number);
    let time = |later_minutes: i64| {
        write_gateway_time(Timestamp::from_millis(created + later_minutes * 60_000))
    };
    Some(OrderView {
        order_id: id,
        sub_order_id: id,
        order_number: id,
        order_status: status,
        tracking_id: call.tracking_id,
        product_id: product.id,
        product_title: &product.title,
        product_detail_url: format!("https://www.aliexpress.com/item/{}.html", product.id),
        product_count,
        paid_amount,
        commission_rate: format!("{}.{}%", permille / 10, permille % 10),
        estimated_paid_commission,
        estimated_finished_commission: if status == "Completed" {
            estimated_paid_commission
        } else {
            0
        },
        created_time: time(0),
        paid_time: time(2),
        finished_time: (status == "Completed").then(|| time(14 * 24 * 60)),
        ship_to_country: chance.choice(["US", "DE", "FR", "BR", "KR", "PL"]).unwrap_or("US"),
        settled_currency: "USD",
    })
}

fn cents(product: &Product) -> u64 {
    match product.price {
        Price::Known(price) => price.to(Currency::dollar()).minor.min(100_000_000),
        Price::Missing | Price::Odd { .. } => 999,
    }
}
