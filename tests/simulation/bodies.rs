//! What the upstream's answers look like on the wire.
//!
//! Owns: statuses, content types and bodies, as the protocol has them.

use breakwater::origin::Answer;
use bytes::Bytes;

/// What the upstream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// A page of products.
    Products,
    /// There are none.
    NoProducts,
    /// Too many calls; come back after so many seconds.
    Wait(u64),
    /// The key is not known.
    UnknownKey,
    /// A status of a server that has no time.
    Unavailable,
    /// A web page by a proxy that reached nobody.
    WebPage,
    /// A page of products of which the end is missing.
    Cut,
    /// The gateway's own service took too long.
    ServiceTimeout,
}

const JSON: &str = "application/json";
const PRODUCTS: &str = r#"{"aliexpress_affiliate_product_query_response":{"resp_result":{"resp_code":200,"resp_msg":"Call succeeds","result":{"current_page_no":1,"current_record_count":1,"total_page_no":1,"total_record_count":1,"products":{"product":[{"product_id":3256812497109248,"product_title":"Wireless earbuds","product_detail_url":"https://www.aliexpress.com/item/3256812497109248.html","target_sale_price":"4.69","target_sale_price_currency":"USD","lastest_volume":"2000"}]}}},"request_id":"r"}}"#;
const NO_PRODUCTS: &str = r#"{"aliexpress_affiliate_product_query_response":{"resp_result":{"resp_code":405,"resp_msg":"The result is empty"}}}"#;
const UNKNOWN_KEY: &str = r#"{"error_response":{"type":"ISV","code":"InvalidAppKey","msg":"The specified App Key is invalid","request_id":"r"}}"#;
const SERVICE_TIMEOUT: &str = r#"{"error_response":{"type":"SYSTEM","code":"ServiceTimeout","msg":"Service timeout","request_id":"r"}}"#;
const WEB_PAGE: &str = "<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>";

impl Said {
    /// As it comes over the wire.
    pub(crate) fn on_the_wire(self) -> Answer {
        let (status, content_type, body) = match self {
            Self::Products => (200, JSON, fixed(PRODUCTS)),
            Self::NoProducts => (200, JSON, fixed(NO_PRODUCTS)),
            Self::Wait(seconds) => (200, JSON, wait(seconds).into()),
            Self::UnknownKey => (200, JSON, fixed(UNKNOWN_KEY)),
            Self::Unavailable => (503, "text/plain", fixed("no server is available")),
            Self::WebPage => (502, "text/html", fixed(WEB_PAGE)),
            Self::Cut => (200, JSON, fixed(&PRODUCTS[..300])),
            Self::ServiceTimeout => (200, JSON, fixed(SERVICE_TIMEOUT)),
        };
        let content_type = Bytes::from_static(content_type.as_bytes());
        Answer::new(status, vec![("content-type".to_owned(), content_type)], body)
    }
}

const fn fixed(body: &'static str) -> Bytes {
    Bytes::from_static(body.as_bytes())
}

fn wait(seconds: u64) -> String {
    let text =
        format!("Api access frequency exceeds the limit. this ban will last {seconds} seconds");
    format!(
        r#"{{"error_response":{{"type":"ISV","code":"ApiCallLimit","msg":"{text}","request_id":"r"}}}}"#
    )
}
