//! What a request asks for as a number: for whoever must know whether two are alike.
//!
//! Owns: [`Mark`], the same for all requests that mean the same, by whichever address they came.
//! Switches that only say how the answer is made (links, past the cache) are no part of it. The
//! numbers mean nothing outside this process. Refuses nothing and has no neighbours.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::details::DetailsQuery;
use super::links::LinkTarget;
use super::query::SearchQuery;
use super::search::Among;
use super::smart_match::SmartMatchQuery;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The whole of it.
    pub query: u64,
    /// All but the page; `None` for what has no pages.
    pub pages: Option<u64>,
    /// The page, from 1.
    pub page_no: u32,
}

impl Mark {
    /// Of a search.
    #[must_use]
    pub fn of_search(query: &SearchQuery, among: Among) -> Self {
        Self::of_pages(&(among == Among::Hot, "search"), query)
    }

    /// Of a smart search, by the search beneath it.
    #[must_use]
    pub fn of_smart_search(query: &SearchQuery) -> Self {
        Self::of_pages(&"smart-search", query)
    }

    /// Of the details of some products.
    #[must_use]
    pub fn of_details(query: &DetailsQuery) -> Self {
        Self::whole(&("details", &query.product_ids, &query.target))
    }

    /// Of products like one.
    #[must_use]
    pub fn of_match(query: &SmartMatchQuery) -> Self {
        Self::whole(&("smart-match", query.product_id, &query.target))
    }

    /// Of the links of some addresses.
    #[must_use]
    pub fn of_links(targets: &[LinkTarget]) -> Self {
        let sources: Vec<_> = targets.iter().map(|target| &target.source).collect();
        Self::whole(&("links", sources))
    }

    fn whole(what: &impl Hash) -> Self {
        Self { query: number(what), pages: None, page_no: 1 }
    }

    fn of_pages(kind: &impl Hash, query: &SearchQuery) -> Self {
        let SearchQuery {
            keywords,
            category_ids,
            min_sale_price,
            max_sale_price,
            page_no,
            page_size,
            sort,
            target,
        } = query;
        let bounds = (min_sale_price, max_sale_price);
        let pages = number(&(kind, keywords, category_ids, bounds, page_size, sort, target));
        Self { query: number(&(pages, page_no)), pages: Some(pages), page_no: *page_no }
    }
}

fn number(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::products::fixtures::{defaults, search_query};

    #[test]
    fn pages_of_one_search_are_alike_but_for_their_number() {
        let first = search_query();
        let second = SearchQuery { page_no: 2, ..first.clone() };
        let [one, two] = [&first, &second].map(|query| Mark::of_search(query, Among::All));
        assert_eq!(one.pages, two.pages);
        assert_ne!(one.query, two.query);
        assert_eq!((one.page_no, two.page_no), (1, 2));
        let other = SearchQuery { keywords: Some("other".to_owned()), ..first.clone() };
        assert_ne!(Mark::of_search(&other, Among::All).pages, one.pages);
    }

    #[test]
    fn places_to_search_are_told_apart() {
        let query = search_query();
        let marks = [
            Mark::of_search(&query, Among::All),
            Mark::of_search(&query, Among::Hot),
            Mark::of_smart_search(&query),
        ];
        assert!(marks[0].query != marks[1].query && marks[1].query != marks[2].query);
        assert_eq!(marks[0], Mark::of_search(&query.clone(), Among::All));
    }

    #[test]
    fn products_are_told_apart() {
        let details = |ids: &[u64]| {
            let query = DetailsQuery { product_ids: ids.to_vec(), target: defaults() };
            Mark::of_details(&query).query
        };
        assert_ne!(details(&[1]), details(&[2]));
        assert_ne!(details(&[1, 2]), details(&[12]));
        assert_eq!(details(&[1, 2]), details(&[1, 2]));
        let like = SmartMatchQuery { product_id: 1, target: defaults() };
        assert_ne!(Mark::of_match(&like).query, details(&[1]));
    }

    #[test]
    fn links_are_those_of_an_address_without_its_query() {
        let links = |url: &str| {
            let raw = super::super::links::RawLink { url: Some(url.into()) };
            Mark::of_links(&super::super::links::validate_one(&raw).unwrap()).query
        };
        assert_eq!(
            links("https://shop.test/item/1.html"),
            links("https://shop.test/item/1.html?a=1")
        );
        assert_ne!(links("https://shop.test/item/1.html"), links("https://shop.test/item/2.html"));
    }
}
