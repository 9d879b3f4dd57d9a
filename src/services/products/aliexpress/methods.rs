//! Every method the gateway calls, by name, and typed builders of the calls.
//!
//! Owns: which parameter carries what, in which unit. Refuses nothing: what comes in is already
//! valid. A builder leaves out what is not set, so equal questions are equal requests.

use std::collections::BTreeMap;

use super::terms::{Currency, Language, OrderStatus, Sort};

/// One question to the gateway: a method and its own parameters, without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: &'static str,
    /// The method's parameters; empty values are not sent.
    pub params: BTreeMap<&'static str, String>,
}

pub const PRODUCT_QUERY: &str = "aliexpress.affiliate.product.query";
/// Products with a raised commission.
pub const HOT_PRODUCT_QUERY: &str = "aliexpress.affiliate.hotproduct.query";
pub const PRODUCT_DETAIL: &str = "aliexpress.affiliate.productdetail.get";
pub const CATEGORY_GET: &str = "aliexpress.affiliate.category.get";
pub const LINK_GENERATE: &str = "aliexpress.affiliate.link.generate";
/// Products like a given one.
pub const SMART_MATCH: &str = "aliexpress.affiliate.product.smartmatch";
/// Orders of a span of time, by page.
pub const ORDER_LIST: &str = "aliexpress.affiliate.order.list";

/// Most links one [`LINK_GENERATE`] call may ask for.
pub const MAX_LINKS: usize = 50;

/// Language, currency and destination that most methods share, and who earns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Currency of the `target_*` prices.
    pub currency: Currency,
    pub language: Language,
    /// Two-letter country shipped to, upper case.
    pub ship_to: Option<String>,
    /// Tracking id; an unknown one gives an empty answer without any error.
    pub tracking_id: Option<String>,
}

/// A search, for [`PRODUCT_QUERY`] and [`HOT_PRODUCT_QUERY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductQuery<'a> {
    pub keywords: Option<&'a str>,
    /// Categories, any of which will do.
    pub category_ids: &'a [u64],
    /// Least price, in the smallest unit of the target's currency.
    pub min_sale_price: Option<u64>,
    /// Highest price, in the smallest unit of the target's currency.
    pub max_sale_price: Option<u64>,
    pub page_no: u32,
    /// Products a page, 1..=50.
    pub page_size: u32,
    /// Order; the upstream's own when `None`.
    pub sort: Option<Sort>,
    pub target: &'a Target,
}

pub fn product_query(query: &ProductQuery<'_>) -> Request {
    search(PRODUCT_QUERY, query)
}

pub fn hot_product_query(query: &ProductQuery<'_>) -> Request {
    search(HOT_PRODUCT_QUERY, query)
}

fn search(method: &'static str, query: &ProductQuery<'_>) -> Request {
    Parameters::of(method)
        .optional("keywords", query.keywords)
        .set("category_ids", csv(query.category_ids))
        .optional("min_sale_price", query.min_sale_price)
        .optional("max_sale_price", query.max_sale_price)
        .set("page_no", query.page_no)
        .set("page_size", query.page_size)
        .optional("sort", query.sort.map(Sort::code))
        .optional("ship_to_country", query.target.ship_to.as_deref())
        .target(query.target)
        .build()
}

pub fn product_detail(product_ids: &[u64], target: &Target) -> Request {
    Parameters::of(PRODUCT_DETAIL)
        .set("product_ids", csv(product_ids))
        .optional("country", target.ship_to.as_deref())
        .target(target)
        .build()
}

pub fn category_get() -> Request {
    Parameters::of(CATEGORY_GET).build()
}

/// Builds a call for affiliate links of at most [`MAX_LINKS`] `sources`, each as
/// [`link_source`] makes it.
pub fn link_generate(sources: &[String], tracking_id: &str, ship_to: Option<&str>) -> Request {
    Parameters::of(LINK_GENERATE)
        .set("promotion_link_type", 0)
        .set("source_values", sources.join(","))
        .set("tracking_id", tracking_id)
        .optional("ship_to_country", ship_to)
        .build()
}

/// Builds a call for products like `product_id`. `device_id` is required by the upstream.
pub fn smart_match(product_id: u64, device_id: &str, page_no: u32, target: &Target) -> Request {
    Parameters::of(SMART_MATCH)
        .set("device_id", device_id)
        .set("product_id", product_id)
        .set("page_no", page_no)
        .optional("country", target.ship_to.as_deref())
        .target(target)
        .build()
}

/// Builds a call for the orders of a span of time, both ends `yyyy-MM-dd HH:mm:ss` in GMT+8.
pub fn order_list(
    start_time: &str,
    end_time: &str,
    status: OrderStatus,
    page_no: u32,
    page_size: u32,
) -> Request {
    Parameters::of(ORDER_LIST)
        .set("start_time", start_time)
        .set("end_time", end_time)
        .set("status", status.code())
        .set("page_no", page_no)
        .set("page_size", page_size)
        .build()
}

/// The address to ask a link for, and to join answers on: without query string and fragment,
/// host in lower case, commas escaped because the parameter is a comma-separated list.
/// `None` when `url` is no http(s) address with a host, or carries a name and password.
pub fn link_source(url: &str) -> Option<String> {
    let mut parsed = url::Url::parse(url.trim()).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https") && parsed.has_host();
    if !is_web || !parsed.username().is_empty() || parsed.password().is_some() {
        return None;
    }
    parsed.set_query(None);
    parsed.set_fragment(None);
    Some(String::from(parsed).replace(',', "%2C"))
}

fn csv(ids: &[u64]) -> String {
    ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// Collects parameters; empty ones are left out, as they would not be sent or signed either.
struct Parameters(Request);

impl Parameters {
    const fn of(method: &'static str) -> Self {
        Self(Request { method, params: BTreeMap::new() })
    }

    fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        let value = value.to_string();
        if !value.is_empty() {
            self.0.params.insert(name, value);
        }
        self
    }

    fn optional(self, name: &'static str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self,
        }
    }

    fn target(self, target: &Target) -> Self {
        self.set("target_currency", target.currency.code())
            .set("target_language", target.language.code())
            .optional("tracking_id", target.tracking_id.as_deref())
    }

    fn build(self) -> Request {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            currency: Currency::requestable("USD").unwrap(),
            language: Language::parse("EN").unwrap(),
            ship_to: Some("US".into()),
            tracking_id: Some("shop".into()),
        }
    }

    fn params(request: &Request) -> Vec<(&'static str, &str)> {
        request.params.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    #[test]
    fn a_search_carries_every_parameter() {
        let request = product_query(&ProductQuery {
            keywords: Some("usb cable"),
            category_ids: &[7, 26],
            min_sale_price: Some(3141),
            max_sale_price: Some(9900),
            page_no: 2,
            page_size: 20,
            sort: Some(Sort::SalePriceAsc),
            target: &target(),
        });
        assert_eq!(request.method, PRODUCT_QUERY);
        assert_eq!(
            params(&request),
            [
                ("category_ids", "7,26"),
                ("keywords", "usb cable"),
                ("max_sale_price", "9900"),
                ("min_sale_price", "3141"),
                ("page_no", "2"),
                ("page_size", "20"),
                ("ship_to_country", "US"),
                ("sort", "SALE_PRICE_ASC"),
                ("target_currency", "USD"),
                ("target_language", "EN"),
                ("tracking_id", "shop"),
            ]
        );
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        let request = hot_product_query(&ProductQuery {
            keywords: None,
            category_ids: &[],
            min_sale_price: None,
            max_sale_price: None,
            page_no: 1,
            page_size: 20,
            sort: None,
            target: &Target { ship_to: None, tracking_id: None, ..target() },
        });
        let names: Vec<_> = request.params.keys().copied().collect();
        assert_eq!(names, ["page_no", "page_size", "target_currency", "target_language"]);
    }

    #[test]
    fn details_and_matches_name_the_country_differently() {
        assert_eq!(product_detail(&[1, 2], &target()).params["product_ids"], "1,2");
        assert_eq!(product_detail(&[1], &target()).params["country"], "US");
        let matched = smart_match(9, "gateway", 1, &target());
        assert_eq!(matched.params["device_id"], "gateway");
        assert_eq!(matched.params["product_id"], "9");
    }

    #[test]
    fn sources_lose_query_fragment_and_commas() {
        let source = |url| link_source(url);
        assert_eq!(
            source(" https://WWW.AliExpress.com/item/1.html?a=1,2#x ").as_deref(),
            Some("https://www.aliexpress.com/item/1.html")
        );
        assert_eq!(source("http://shop.test/a,b").as_deref(), Some("http://shop.test/a%2Cb"));
        assert_eq!(source("ftp://shop.test/a"), None);
        assert_eq!(source("https://me:secret@shop.test/a"), None);
        assert_eq!(source("not an address"), None);
    }

    #[test]
    fn links_and_orders_are_asked_for_as_documented() {
        let links = link_generate(&["https://a/1".into(), "https://a/2".into()], "shop", None);
        assert_eq!(
            params(&links),
            [
                ("promotion_link_type", "0"),
                ("source_values", "https://a/1,https://a/2"),
                ("tracking_id", "shop")
            ]
        );
        let orders = order_list(
            "2024-10-28 00:00:00",
            "2024-10-29 00:00:00",
            OrderStatus::PaymentCompleted,
            1,
            50,
        );
        assert_eq!(orders.params["status"], "Payment Completed");
    }
}
