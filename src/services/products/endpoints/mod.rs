//! The endpoints of the service, a file each.
//!
//! Owns: the tables of routes, of the upstream's methods, and of what can be asked again. An endpoint's file holds its form, its question to the upstream, its
//! answer, its words in the OpenAPI document and what the watch for abuse sees of it.

pub mod categories;
pub mod details;
pub mod links;
pub mod orders;
mod pictures;
pub mod search;
pub mod smart_match;
mod smart_search;
#[cfg(test)]
mod tests;

use actix_web::web::ServiceConfig;

use super::aliexpress::Method;
use super::load::Restorable;
use crate::http::service::Route;

pub(super) const ROUTES: &[&[Route]] = &[
    search::ROUTES,
    smart_search::ROUTES,
    details::ROUTES,
    categories::ROUTES,
    links::ROUTES,
    smart_match::ROUTES,
    orders::ROUTES,
    pictures::ROUTES,
];

/// What the upstream is asked.
pub(super) const METHODS: [&Method; 7] = [
    &search::METHOD,
    &search::HOT_METHOD,
    &details::METHOD,
    &categories::METHOD,
    &links::METHOD,
    &smart_match::METHOD,
    &orders::METHOD,
];

/// Every kind of question that is stored beside its answer and can be asked again.
pub(super) const RESTORABLE: &[Restorable] = &[
    Restorable::of::<search::Search<false>>(),
    Restorable::of::<search::Search<true>>(),
    Restorable::of::<details::Details>(),
    Restorable::of::<categories::Categories>(),
    Restorable::of::<links::Link>(),
    Restorable::of::<smart_match::SmartMatch>(),
];

/// Puts what endpoints remember where they find it; once a worker.
pub(super) fn install(config: &mut ServiceConfig) {
    config.app_data(search::Memo::<false>::default());
    config.app_data(search::Memo::<true>::default());
}
