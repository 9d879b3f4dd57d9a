//! What is found, in which order, on which page.

use super::money::Currency;
use super::*;

const LINES: &str = r#"
{"id": 1, "title": "Red usb cable", "price": "3.00", "category_path": ["Phones", "Cables"], "popularity": 50}
{"id": 2, "title": "Usb cable", "price": "5.00", "category_path": ["Phones", "Cables"], "popularity": 40}
{"id": 3, "title": "Usb lamp", "price": "9.99", "category_path": ["Home", "Lamps", "Desk"], "popularity": 30}
{"id": 4, "title": "Desk", "price": "1000", "currency": "JPY", "brand": "Aki", "category_path": ["Home"], "popularity": 20}
{"id": 5, "title": "Free usb thing", "price": null, "popularity": 10}
{"id": 6, "title": "Odd usb thing", "price": "call us", "popularity": 5}
"#;

fn catalogue() -> Catalogue {
    let mut categories = Categories::default();
    let lines = LINES.lines().filter(|line| !line.is_empty());
    let read = |line: &str| Product::read(line.as_bytes(), &mut categories).expect(line);
    let products = lines.map(read).collect();
    Catalogue::of(products, categories)
}

fn everything() -> Query {
    Query { take: 50, ..Query::default() }
}

fn ids(query: &Query) -> Vec<u64> {
    catalogue().search(query).products.iter().map(|product| product.id).collect()
}

fn category(catalogue: &Catalogue, name: &str) -> u64 {
    catalogue.categories().flat().iter().find(|one| one.name == name).expect(name).id
}

#[test]
fn words_are_found_in_title_brand_and_category() {
    let found = |keywords: &str| ids(&Query { keywords: keywords.to_owned(), ..everything() });
    assert_eq!(found("usb cables"), [1, 2]);
    assert_eq!(found("aki"), [4]);
    assert_eq!(found("home usb"), [3]);
    assert_eq!(found("lamp red"), [1, 3], "no product has both");
    assert!(found("zzz").is_empty());
    assert_eq!(found("").len(), 6);
}

#[test]
fn orders() {
    let sorted = |sort| ids(&Query { sort, ..everything() });
    assert_eq!(sorted(Sort::Shop), [1, 2, 3, 4, 5, 6]);
    assert_eq!(sorted(Sort::VolumeDown), [1, 2, 3, 4, 5, 6]);
    assert_eq!(sorted(Sort::VolumeUp), [6, 5, 4, 3, 2, 1]);
    assert_eq!(sorted(Sort::PriceUp), [1, 2, 4, 3, 5, 6], "1000 yen are less than 9.99 dollars");
    assert_eq!(sorted(Sort::PriceDown), [3, 4, 2, 1, 5, 6]);
}

#[test]
fn pages_are_windows_of_one_order() {
    for sort in [Sort::Shop, Sort::PriceUp, Sort::PriceDown, Sort::VolumeUp] {
        let whole = ids(&Query { sort, ..everything() });
        for (skip, take) in [(0, 2), (2, 2), (4, 4), (5, 1)] {
            let page = ids(&Query { sort, skip, take, ..Query::default() });
            assert_eq!(page, whole[skip..(skip + take).min(6)], "{sort:?} {skip} {take}");
        }
    }
    let beyond = catalogue();
    let beyond = beyond.search(&Query { skip: usize::MAX, take: 50, ..Query::default() });
    assert_eq!((beyond.products.len(), beyond.total), (0, 6));
}

#[test]
fn bounds_are_inclusive_and_follow_the_currency() {
    let within = |min, max, currency| {
        let bounds = Some(Bounds { min, max, currency });
        ids(&Query { bounds, ..everything() })
    };
    assert_eq!(within(300, 500, Currency::DOLLAR), [1, 2]);
    assert_eq!(within(1000, 1000, Currency::named("JPY").unwrap()), [4]);
    assert_eq!(within(0, u64::MAX, Currency::DOLLAR), [1, 2, 3, 4], "no price, no bounds");
    assert!(within(500, 300, Currency::DOLLAR).is_empty());
}

#[test]
fn a_category_holds_everything_below_it() {
    let catalogue = catalogue();
    let found = |categories: Vec<u64>, keywords: &str| {
        ids(&Query { categories, keywords: keywords.to_owned(), ..everything() })
    };
    assert_eq!(found(vec![category(&catalogue, "Home")], ""), [3, 4]);
    assert_eq!(found(vec![category(&catalogue, "Desk")], ""), [3]);
    let both = vec![category(&catalogue, "Home"), category(&catalogue, "Cables")];
    assert_eq!(found(both.clone(), ""), [1, 2, 3, 4]);
    assert_eq!(found(both, "usb lamp"), [3]);
    assert!(found(vec![7], "").is_empty());
}

#[test]
fn similar_products_leave_out_the_product_itself() {
    let catalogue = catalogue();
    let similar: Vec<u64> = catalogue.similar_to(5).iter().map(|product| product.id).collect();
    assert!(!similar.contains(&5));
    assert!(catalogue.similar_to(99).is_empty());
}

#[test]
fn only_the_most_sold() {
    assert_eq!(ids(&Query { among_first: Some(2), ..everything() }), [1, 2]);
}

#[test]
fn a_text_without_a_word_finds_nothing() {
    let found = |keywords: &str| ids(&Query { keywords: keywords.to_owned(), ..everything() });
    assert_eq!(found(" ").len(), 6);
    for nothing in ["🎧", "!!!", "-", "\u{200d}"] {
        assert!(found(nothing).is_empty(), "{nothing}");
    }
}

#[test]
fn titles_with_the_words_come_first_unless_an_order_is_asked_for() {
    let found = |sort| ids(&Query { keywords: "home desk".to_owned(), sort, ..everything() });
    assert_eq!(found(Sort::Shop), [4, 3]);
    assert_eq!(found(Sort::VolumeDown), [3, 4]);
    // No product has both: what is asked for is a lamp.
    let lamps = Query { keywords: "red lamps".to_owned(), ..everything() };
    assert_eq!(ids(&lamps), [3, 1]);
}
