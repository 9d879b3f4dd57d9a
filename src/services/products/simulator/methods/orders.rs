//! `order.list`: orders that somebody's links led to.
//!
//! Owns: a stream of made-up orders, one every 37 minutes since 2025-01-01, each the same whenever
//! it is asked for; none lies in the future.
//! Refuses: windows that are not two times in order, unknown states.

use serde_json::{Value, json};

use super::super::refusal::Refusal;
use super::super::verify::{read_gateway_time, write_gateway_time};
use super::product_view::percent;
use super::products::Paging;
use super::{Answer, Call, Method};
use crate::clock::Timestamp;
use crate::services::products::catalogue::Product;
use crate::services::products::catalogue::money::Currency;

/// 2025-01-01T00:00:00+08:00, when the first order came, in milliseconds.
const FIRST_MS: i64 = 1_735_660_800_000;
const EVERY_MS: i64 = 37 * 60 * 1000;
/// Number of the first order as a caller sees it.
const FIRST_ID: u64 = 8_100_000_000_000_000;
const STATES: [&str; 4] = ["Payment Completed", "Buyer Confirmed Receipt", "Completed", "Invalid"];

pub(super) const METHODS: &[Method] =
    &[Method { name: "aliexpress.affiliate.order.list", answer: page }];

fn page(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = Paging::read(call.parameters)?;
    let found = matching(call)?;
    let numbers = found.iter().skip(paging.skip()).take(paging.page_size);
    let orders: Vec<Value> = numbers.filter_map(|number| order(call, *number)).collect();
    if found.is_empty() {
        return Ok(Answer::EMPTY);
    }
    Ok(Answer::Result(json!({
        "total_record_count": found.len(),
        "total_page_no": found.len().div_ceil(paging.page_size),
        "current_page_no": paging.page_no,
        "current_record_count": orders.len(),
        "orders": {"order": orders},
    })))
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
    let window = first_from(start)..up_to(end).min(up_to(call.now));
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
    match fastrand::Rng::with_seed(number).usize(..10) {
        0..=4 => "Payment Completed",
        5..=6 => "Buyer Confirmed Receipt",
        7..=8 => "Completed",
        _ => "Invalid",
    }
}

/// The order with this number, amounts in whole cents; none if the catalogue has nothing to buy.
fn order(call: &Call<'_>, number: u64) -> Option<Value> {
    let mut chance = fastrand::Rng::with_seed(!number);
    let products = call.catalogue.products();
    let product = products.get(chance.usize(..products.len().max(1)))?;
    let count = chance.u64(1..=3);
    let paid = cents(product) * count;
    let permille = product.commission_permille.unwrap_or(0);
    let commission = paid * permille / 1000;
    let id = FIRST_ID + number;
    let since_first = EVERY_MS.saturating_mul(i64::try_from(number).unwrap_or(i64::MAX));
    let created = FIRST_MS.saturating_add(since_first);
    let time = |later_minutes: i64| {
        write_gateway_time(Timestamp::from_millis(created + later_minutes * 60_000))
    };
    let status = state(number);
    let mut order = json!({
        "order_id": id,
        "sub_order_id": id,
        "order_number": id,
        "order_status": status,
        "tracking_id": call.tracking_id,
        "product_id": product.id,
        "product_title": product.title,
        "product_detail_url": format!("https://www.aliexpress.com/item/{}.html", product.id),
        "product_count": count,
        "paid_amount": paid,
        "commission_rate": percent(permille),
        "estimated_paid_commission": commission,
        "estimated_finished_commission": 0,
        "created_time": time(0),
        "paid_time": time(2),
        "ship_to_country": chance.choice(["US", "DE", "FR", "BR", "KR", "PL"]),
        "settled_currency": "USD",
    });
    if let Some(fields) = order.as_object_mut().filter(|_| status == "Completed") {
        fields.insert("estimated_finished_commission".to_owned(), commission.into());
        fields.insert("finished_time".to_owned(), time(14 * 24 * 60).into());
    }
    Some(order)
}

fn cents(product: &Product) -> u64 {
    let dollars = product.price.known().map(|price| price.to(Currency::DOLLAR));
    dollars.map_or(999, |price| price.minor().min(100_000_000))
}
