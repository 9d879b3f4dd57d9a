//! `docs/errors.md` names every route under the class that it is limited in.

use std::collections::BTreeSet;

use super::super::SERVICES;
use crate::http::route::AuthScope;
use crate::http::routes;
use crate::http::service::{Class, Route};

const PAGE: &str = include_str!("../../../docs/errors.md");

/// How the row of a route begins.
fn row_of(route: &Route) -> &'static str {
    match (route.class, AuthScope::of(route.template)) {
        (Class::Search, _) => "| `search` |",
        (Class::Recommendations, _) => "| `recommendations` |",
        (Class::Exempt, _) => "| `exempt` |",
        (Class::General, AuthScope::Admin) => "| `general`, and none",
        (Class::General, AuthScope::Clients | AuthScope::Open) => "| `general` |",
    }
}

#[test]
fn the_page_of_errors_names_every_route_in_its_class_and_no_other() {
    let routes: Vec<_> = routes::all(SERVICES.iter().map(|(surface, ..)| *surface)).collect();
    let mut named = 0;
    for route in &routes {
        let begin = row_of(route);
        let row = PAGE.lines().find(|line| line.starts_with(begin)).unwrap();
        let name = format!("`{}`", route.template);
        assert!(row.contains(&name), "{name} is not in the row {begin}");
        named += 1;
    }
    let (_, classes) = PAGE.split_once("## Classes of routes").unwrap();
    let listed: BTreeSet<_> = classes.split('`').filter(|text| text.starts_with('/')).collect();
    let known: BTreeSet<_> = routes.iter().map(|route| route.template).collect();
    assert_eq!((listed, named), (known, routes.len()));
}
