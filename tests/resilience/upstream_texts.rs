//! One bad record does not cost the page, and a page that is not served is an empty one.

use serde_json::json;

use crate::upstream_script::{Reply, Scripted, page, product, result};

#[test]
fn a_bad_title_costs_neither_its_page_nor_anything_else() {
    let titles: [&[u8]; 4] =
        [br"Gaming Headset \ud83d", b"Gaming\tHeadset", b"Gaming \x03Headset", b"Gaming \xB6\xFA"];
    let mut scripted = Scripted::start(move |asked| {
        let title = titles[(asked.number - 1) % titles.len()];
        let products = [product(1, "Wireless Earbuds"), product(2, title)];
        Reply::json(page(asked, &products))
    });
    for (number, want) in
        ["Gaming Headset \u{fffd}", "Gaming Headset", "Gaming Headset", "Gaming \u{fffd}\u{fffd}"]
            .into_iter()
            .enumerate()
    {
        // Once from the upstream, and once from memory.
        for tier in ["none", "memory"] {
            let (status, body) = scripted.search(&format!("headset{number}"));
            assert_eq!(status, 200, "{body}");
            let products = &body["data"]["products"];
            assert_eq!(products[0]["product_title"], "Wireless Earbuds", "{body}");
            assert_eq!(products[1]["product_title"], want, "{body}");
            assert_eq!(body["metadata"]["degraded"], json!(["repaired"]), "{body}");
            assert_eq!(body["metadata"]["cache_tier"], tier, "{body}");
        }
    }
    assert_eq!(scripted.calls("product.query"), titles.len(), "no answer is asked for twice");
    let (health, words) = scripted.health();
    assert_eq!(health, "healthy", "{words}");
    for (kind, count) in [("lone_surrogate", 1.0), ("control_character", 2.0), ("not_utf8", 2.0)] {
        let found = scripted.metric(&format!("upstream_repairs_total{{kind=\"{kind}\"}}"));
        assert!((found - count).abs() < 0.1, "{kind}: {found}");
    }
    scripted.stop();
}

#[test]
fn pages_that_are_promised_and_not_served_are_empty() {
    let mut scripted = Scripted::start(|asked| {
        let number = asked.form.split('&').find_map(|pair| pair.strip_prefix("page_no=")).unwrap();
        let counts = format!(
            "\"current_page_no\":{number},\"total_page_no\":1000,\
            \"total_record_count\":50000"
        );
        let products = if number == "1" { product(7, "A copper kettle") } else { Vec::new() };
        let products = String::from_utf8(products).unwrap();
        let text = format!("{{{counts},\"products\":{{\"product\":[{products}]}}}}");
        Reply::json(result(asked, text))
    });
    for number in [1, 201, 202, 203, 204, 205, 206] {
        let path = format!("/api/products/search?keywords=lamp&page_no={number}&page_size=50");
        let answer = scripted.get(&path);
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        let data = &body["data"];
        assert_eq!(data["products"].as_array().unwrap().len(), usize::from(number == 1), "{body}");
        assert_eq!(data["total_record_count"], 50_000, "{body}");
        assert_eq!(data["current_page"], number, "{body}");
    }
    assert_eq!(scripted.calls("product.query"), 7, "each is asked for once");
    assert_eq!(scripted.health().0, "healthy");
    scripted.stop();
}
