//! The key an answer is cached under: `{service}:{operation}:{hash}`.
//!
//! Owns: that two requests that mean the same have the same key, and that no others do. The hash
//! is over the upstream call that answers the request (method and sorted parameters, defaults
//! filled in, with language, currency, destination and tracking id), because queries are in
//! canonical form before a call is made of them: ids sorted, price bounds in the smallest unit,
//! white space folded, codes in upper case. Case of keywords is kept: nothing says that the
//! upstream ignores it. Refuses nothing.

use sha2::{Digest, Sha256};

use crate::services::products::aliexpress::methods::Request;
use crate::services::products::aliexpress::methods::{self, Target};

/// Service part of every key of this room.
pub const SERVICE: &str = "products";

/// Bytes of the digest that are kept: 128 bits are beyond accidental collision.
const KEPT: usize = 16;

/// Operation part of a key; also says which lifetime applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A page of a search.
    Search,
    /// A page of hot products.
    Hot,
    /// One product.
    Details,
    /// All categories.
    Categories,
    /// One affiliate link.
    Link,
    /// Products like one.
    SmartMatch,
    /// A page of orders.
    Orders,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Search,
        Self::Hot,
        Self::Details,
        Self::Categories,
        Self::Link,
        Self::SmartMatch,
        Self::Orders,
    ];

    /// As it stands in a key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Hot => "hot",
            Self::Details => "details",
            Self::Categories => "categories",
            Self::Link => "link",
            Self::SmartMatch => "smart-match",
            Self::Orders => "orders",
        }
    }
}

/// The key of the answer that `request` gives. Answers that were not validated are kept apart.
#[must_use]
pub fn key(operation: Operation, request: &Request, validate: bool) -> String {
    with_variant(operation, request, if validate { "" } else { "unvalidated" })
}

/// The key of one product's details, whether it was asked for alone or among others.
#[must_use]
pub fn details_key(product_id: u64, target: &Target, validate: bool) -> String {
    key(Operation::Details, &methods::product_detail(&[product_id], target), validate)
}

/// The key of one source's affiliate link, whoever asked for it.
#[must_use]
pub fn link_key(source: &str, tracking_id: &str, ship_to: Option<&str>) -> String {
    let request = methods::link_generate(&[source.to_owned()], tracking_id, ship_to);
    key(Operation::Link, &request, true)
}

/// Keys as there could be, some of every operation: what a pattern does to them is what it would do
/// to a full cache.
#[must_use]
pub fn sample() -> Vec<String> {
    let numbers = 0..16_u32;
    let keys = |number: u32| {
        let params = [("number", number.to_string())].into();
        let request = Request { method: "sample", params };
        Operation::ALL.map(|operation| key(operation, &request, true))
    };
    numbers.flat_map(keys).collect()
}

fn with_variant(operation: Operation, request: &Request, variant: &str) -> String {
    let mut hash = Sha256::new();
    part(&mut hash, request.method);
    for (name, value) in &request.params {
        part(&mut hash, name);
        part(&mut hash, value);
    }
    part(&mut hash, variant);
    let digest = hash.finalize();
    let (kept, _) = digest.split_at_checked(KEPT).unwrap_or((&digest, &[]));
    let number = kept.iter().fold(0_u128, |number, byte| (number << 8) | u128::from(*byte));
    format!("{SERVICE}:{}:{number:032x}", operation.name())
}

/// Adds a text and its length, so that no two lists of texts look the same.
fn part(hash: &mut Sha256, text: &str) {
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::services::products::fixtures::defaults;
    use crate::services::products::input::from_query;
    use crate::services::products::query;
    use crate::services::products::search::{self, Among};

    fn of(text: &str) -> String {
        let query = query::validate(&from_query(text).unwrap(), &defaults()).unwrap();
        key(Operation::Search, &search::request(&query, Among::All), true)
    }

    #[test]
    fn requests_that_mean_the_same_share_a_key() {
        let plain = of("keywords=usb+cable&category_ids=7,26&min_sale_price=5");
        for same in [
            "category_ids=26,7,7&keywords=++usb%09cable+&min_sale_price=5.00",
            "keywords=usb+cable&category_ids=26&category_ids=7&min_sale_price=5&page_no=1",
            "keywords=usb+cable&category_ids=7,26&min_sale_price=5&currency=usd&language=en",
            "keywords=usb+cable&category_ids=7,26&min_sale_price=4.999&page_size=20&sort=",
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
    }

    #[test]
    fn requests_that_differ_have_keys_of_their_own() {
        let texts = [
            "",
            "keywords=a",
            "keywords=A",
            "keywords=b",
            "keywords=a&page_no=2",
            "keywords=a&page_size=10",
            "keywords=a&currency=EUR",
            "keywords=a&language=DE",
            "keywords=a&ship_to_country=DE",
            "keywords=a&sort=SALE_PRICE_ASC",
            "keywords=a&min_sale_price=1",
            "keywords=a&max_sale_price=1",
            "category_ids=1",
        ];
        let keys: std::collections::HashSet<_> = texts.iter().map(|text| of(text)).collect();
        assert_eq!(keys.len(), texts.len());
    }

    #[test]
    fn a_key_names_service_and_operation() {
        let key = of("keywords=a");
        let parts: Vec<_> = key.split(':').collect();
        assert_eq!((parts[0], parts[1], parts[2].len()), ("products", "search", 32));
        assert!(parts[2].bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn links_are_kept_by_source_and_tracking_id() {
        let key = |source, tracking_id| link_key(source, tracking_id, None);
        assert_ne!(key("https://a.test/1", "a"), key("https://a.test/1", "b"));
        assert_ne!(key("https://a.test/1", "a"), key("https://a.test/2", "a"));
        assert_ne!(details_key(1, &defaults(), true), details_key(2, &defaults(), true));
    }

    #[test]
    fn validation_is_part_of_the_key() {
        let request = Request { method: "m", params: BTreeMap::new() };
        assert_ne!(key(Operation::Search, &request, true), key(Operation::Search, &request, false));
    }

    proptest! {
        #[test]
        fn equal_keys_mean_equal_requests(a in "[ab]{0,3}", b in "[ab]{0,3}", c in "[ab]{0,3}", d in "[ab]{0,3}") {
            let request = |x: &str, y: &str| Request {
                method: "m",
                params: BTreeMap::from([("x", x.to_owned()), ("y", y.to_owned())]),
            };
            let same = key(Operation::Hot, &request(&a, &b), true) == key(Operation::Hot, &request(&c, &d), true);
            prop_assert_eq!(same, a == c && b == d);
        }

        #[test]
        fn order_of_ids_and_spacing_do_not_matter(mut ids in prop::collection::vec(1_u64.., 1..6), pad in " {0,3}") {
            let text = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
            let one = of(&format!("category_ids={}&keywords={pad}x{pad}y", text(&ids)));
            ids.reverse();
            let other = of(&format!("keywords=x{pad}y&category_ids={}", text(&ids)));
            prop_assert_eq!(one, other);
        }
    }
}
